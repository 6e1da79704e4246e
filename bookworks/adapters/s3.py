"""Object store (S3 API): boto3 client, pyarrow file system, and the few operations the steps share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pyarrow.fs as pafs
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from bookworks.errors import TerminalError, TransientError
from bookworks.settings import Settings


def connect(settings: Settings) -> Any:
    """A boto3 S3 client; no request is made yet."""
    return boto3.client(
        "s3",
        endpoint_url=settings.s3_url,
        region_name=settings.s3_region,
        aws_access_key_id=settings.s3_access_key,
        aws_secret_access_key=settings.s3_secret_key.get_secret_value(),
        config=Config(
            connect_timeout=3,
            read_timeout=60,
            retries={"max_attempts": 4, "mode": "standard"},
            s3={"addressing_style": "path"},
        ),
    )


def filesystem(settings: Settings) -> pafs.S3FileSystem:
    """A pyarrow file system on the same store; paths are `bucket/key`."""
    scheme, _, host = settings.s3_url.partition("://")
    return pafs.S3FileSystem(
        access_key=settings.s3_access_key,
        secret_key=settings.s3_secret_key.get_secret_value(),
        endpoint_override=host,
        scheme=scheme,
        region=settings.s3_region,
        connect_timeout=3,
        request_timeout=60,
        allow_bucket_creation=False,
    )


def ensure_buckets(settings: Settings) -> None:
    """Make the platform's buckets where they are missing."""
    client = connect(settings)
    wanted = (settings.lake_bucket, settings.bundles_bucket, settings.mlflow_bucket, settings.dvc_bucket)
    try:
        present = {b["Name"] for b in client.list_buckets()["Buckets"]}
        for name in wanted:
            if name not in present:
                client.create_bucket(Bucket=name)
    except (ClientError, BotoCoreError) as error:
        raise translate(error, settings) from error


def list_keys(settings: Settings, bucket: str, prefix: str) -> Iterator[str]:
    """Keys under `prefix`, in order."""
    try:
        pages = connect(settings).get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        for page in pages:
            yield from (item["Key"] for item in page.get("Contents", []))
    except (ClientError, BotoCoreError) as error:
        raise translate(error, settings) from error


def put(settings: Settings, bucket: str, key: str, body: bytes) -> None:
    """Store one object; readers see all of it or nothing."""
    try:
        connect(settings).put_object(Bucket=bucket, Key=key, Body=body)
    except (ClientError, BotoCoreError) as error:
        raise translate(error, settings) from error


@contextmanager
def opened(settings: Settings, store: pafs.S3FileSystem, path: str) -> Iterator[pafs.NativeFile]:
    """One object for random reading; `path` is `bucket/key`.

    Raises:
        TransientError: it is not there, or the store does not answer.
    """
    try:
        with store.open_input_file(path) as file:
            yield file
    except OSError as error:
        raise TransientError(
            f"The object {path} cannot be read", received=error, todo=f"check the object store at {settings.s3_url}."
        ) from error


def upload_folder(settings: Settings, folder: Path, bucket: str, prefix: str, last: str | None = None) -> None:
    """Copy the files of `folder`; the file named `last` goes last, as the mark that all is there."""
    client = connect(settings)
    files = sorted(folder.rglob("*"), key=lambda path: (path.name == last, str(path)))
    try:
        for path in files:
            if path.is_file():
                client.upload_file(str(path), bucket, prefix + path.relative_to(folder).as_posix())
    except (ClientError, BotoCoreError) as error:
        raise translate(error, settings) from error


def download_folder(settings: Settings, bucket: str, prefix: str, folder: Path) -> None:
    """Copy everything under `prefix` into `folder`."""
    client = connect(settings)
    try:
        for key in list_keys(settings, bucket, prefix):
            target = folder / key[len(prefix) :]
            target.parent.mkdir(parents=True, exist_ok=True)
            client.download_file(bucket, key, str(target))
    except (ClientError, BotoCoreError) as error:
        raise translate(error, settings) from error


def translate(error: Exception, settings: Settings) -> TransientError | TerminalError:
    """Our error for a vendor's: refused by the store is terminal, no answer is transient."""
    if isinstance(error, ClientError):
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code in {"SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout"}:
            return TransientError("The object store is busy", received=code, todo="try again.")
        return TerminalError(
            "The object store refused the request",
            received=error,
            todo="check BOOKWORKS_S3_ACCESS_KEY, BOOKWORKS_S3_SECRET_KEY and the bucket settings.",
        )
    return TransientError(
        f"The object store does not answer at {settings.s3_url}",
        received=error,
        todo="check `bookworks status` and BOOKWORKS_S3_ENDPOINT_URL.",
    )

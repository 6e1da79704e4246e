"""models, blend, ranker, evaluation -> bundle/<version>/. Run: `python -m training.bundle` in a workspace.

Commit and MLflow run come from the workspace's run.json, which `training.repro` writes.
"""

from __future__ import annotations

import shutil
from typing import Any

from pydantic import Field

from bookworks.cli.entry import run
from bookworks.models.bundle import Bundle
from bookworks.models.bundle_files import Origin, read_ranker, write_bundle
from training.assemble import assemble
from training.dataset import load_dataset
from training.files import BLEND, BUNDLE, EVALUATION, METRICS, RANKER, SERVED, SNAPSHOT, read_json, write_json
from training.origin import data_version, load_origin
from training.params import Params, load_params


class BundleParams(Params):
    """Section `bundle`."""

    max_per_author: int = Field(0, ge=0, description="Works of one author in a list; 0 for no limit.")


def served_metrics(evaluation: dict[str, Any]) -> dict[str, float]:
    """The metrics of what is served over all test readers, for the manifest."""
    rows = [row for row in evaluation["rows"] if row["model"] == SERVED and row["slice"] == "all"]
    return {f"{row['metric']}_at_{row['k']}": row["value"] for row in rows}


def main() -> None:
    """Stage `bundle`."""
    params = load_params("bundle", BundleParams)
    content = assemble(load_dataset(), read_json(BLEND), read_ranker(RANKER), params.max_per_author)
    made_by = load_origin()
    origin = Origin(
        git_commit=made_by.git_commit,
        data_version=data_version(),
        snapshot_id=read_json(SNAPSHOT / "id.json")["snapshot_id"],
        mlflow_run_id=made_by.mlflow_run_id,
    )
    shutil.rmtree(BUNDLE, ignore_errors=True)
    folder = write_bundle(BUNDLE, content, origin, served_metrics(read_json(EVALUATION)))
    bundle = Bundle.load(folder)
    size = sum(part.bytes for part in bundle.manifest.parts.values())
    write_json(METRICS / "bundle.json", {"bytes": size, "n_works": len(bundle), "n_users": len(bundle.users)})


if __name__ == "__main__":
    run(main)

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from serving.app import make_app
from serving.middleware import entrance
from tests.serving.fakes import KEY, FakePlatform, served
from tests.support.bundles import make_tiny_bundle


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_bundle(tmp_path_factory.mktemp("bundles"), n_works=120, max_per_author=2, ranker=True)


@pytest.fixture
def platform(tiny_bundle: Path) -> FakePlatform:
    return FakePlatform(served(tiny_bundle))


@pytest.fixture
def client(platform: FakePlatform) -> TestClient:
    return TestClient(entrance(make_app(platform), 0), raise_server_exceptions=False)


@pytest.fixture
def key() -> dict[str, str]:
    return {"X-API-Key": KEY}

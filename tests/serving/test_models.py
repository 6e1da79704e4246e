"""What serves now, as it is told."""

from bookworks.contracts.bundle import FORMAT_VERSION
from tests.serving.test_api import bearer, is_problem


def test_the_bundle_tells_what_it_is_made_of(client, platform, key):
    bundle = platform.bundles.current.bundle
    body = client.get("/v1/models/current", headers=key).json()
    assert (body["version"], body["format_version"]) == (bundle.manifest.version, FORMAT_VERSION)
    assert (body["n_works"], body["n_users"], body["vector_index"]) == (120, 40, True)
    assert body["created_at"] == "2026-01-01T00:00:00Z"
    models = {model["name"]: model for model in body["models"]}
    assert list(models) == ["item_filter", "same_author", "vectors", "popularity", "tastes"]
    assert models["item_filter"]["weights"] == {"warm": 1.0, "session": 1.0}
    assert models["popularity"]["weights"] == {"warm": 0.2, "session": 0.2, "tastes": 0.3, "cold": 1.0}
    parts = bundle.manifest.parts
    assert models["item_filter"]["bytes"] == sum(
        parts[f"item_item_item_filter.{array}.npy"].bytes for array in ("data", "indices", "indptr")
    )
    assert models["vectors"]["bytes"] == parts["item_vectors.npy"].bytes + parts["user_encoder.onnx"].bytes
    assert body["ranker"]["features"] == bundle.feature_names
    assert (body["ranker"]["candidates"], body["ranker"]["boosters"]) == (20, 1)
    assert body["rules"] == {"max_per_author": 2}
    assert body["bytes"] == sum(part.bytes for part in parts.values())


def test_a_reader_is_not_told(client, platform):
    refused = client.get("/v1/models/current", headers=bearer(platform, "r001"))
    is_problem(refused, 403, allowed="X-API-Key")


def test_a_bundle_without_vectors_or_ranker_says_so(client, platform, key):
    served = platform.bundles.current
    bare = served.bundle.with_blend(served.bundle.blend)
    platform.bundles.current = type(served)(bare, served.catalogue, served.rules, None)
    body = client.get("/v1/models/current", headers=key).json()
    assert (body["ranker"], body["vector_index"]) == (None, False)

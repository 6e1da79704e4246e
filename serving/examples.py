"""An example of each answer, for the OpenAPI page, which leaves out what is None; a test holds each to its schema."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict

_WHO = {"user_id": "r001"}
_BUNDLE = {"bundle_version": "20260101-000000-06bad4c6"}
_AT = "2026-01-01T12:00:00Z"
_BOOK = {"work_id": "w026", "title": "The Left Hand of Darkness", "author": "Ursula K. Le Guin"}
_READ = {"work_id": "w011", "title": "The Dispossessed"}
_IMAGE = {"image_url": "https://example.org/covers/w026.jpg"}
_EXPLANATION = {"probability": 0.21, "ranker_score": 0.9, "contributions": {"base": 0.6, "item_filter": 0.3}}
_SOURCES = {"sources": {"vectors": 0.5, "popularity": 0.041489}}
_SCORE = {"score": 0.541489}

RECOMMENDATIONS = {
    "decision_id": "01a1fce4-c843-7036-af27-c83081538f7a",
    **_WHO, **_BUNDLE, "tier": "warm", "fallbacks": [], "relaxed": [],
    "notes": [{"field": "body.filters.authors.1", "received": "Nobody", "detail": "No book has this value"}],
    "items": [
        {
            "position": 0, **_BOOK, "year": 1969, **_IMAGE, **_SCORE, "reasons": ["vectors", "popularity"], **_SOURCES,
            "propensity": 1.0, "explanation": _EXPLANATION,
            "paths": [{"relation": "same_author", **_READ, "weight": 0.9, "rating": 9}],
        }
    ],
    "next": "pEzPFqoLwYn1u0m",
}  # fmt: skip
DECISION = {
    "answer": RECOMMENDATIONS, "occurred_at": _AT, "request": {**_WHO, "n": 1, "explain": True},
    "rules": {"limits": {"author": 2}, "blocked": []}, "features": {"w026": {"item_filter": 0.4, "age": 35.0}},
    "explanations": {"w026": _EXPLANATION},
}  # fmt: skip
WHY_NOT = {
    "book": "9780441478125", **_WHO, **_BUNDLE, "fallbacks": [], "work_id": "w026", "title": _BOOK["title"],
    "shown": False,
    "reasons": [{"step": "rules", "rule": "author", "detail": "The slate has its 2 of this author"}],
    "rank": 7, **_SCORE, **_SOURCES, "candidate": True, "relaxed": [],
}  # fmt: skip
BOOK = {
    **_BOOK, "author_id": "a11", "series": "Hainish Cycle", "series_number": 4.0, "publisher": "Ace Books",
    "year": 1969, "language": "en", "subjects": ["science fiction"], **_IMAGE,
    "editions": ["9780441478125", "w026-e0"], "former_ids": ["w126"], **_BUNDLE,
}  # fmt: skip
SIMILAR = {
    "work_id": "w011", "kind": "all", **_BUNDLE, "fallbacks": [],
    "items": [{**_BOOK, "score": 0.032, "reasons": ["item_filter", "author"]}],
}  # fmt: skip
SEARCH = {
    "query": "9780441478125", **_BUNDLE, "personalised": False, "fallbacks": [], "notes": [],
    "isbn": {"received": "9780441478125", "isbn13": "9780441478125", "valid": True, "detail": "This book."},
    "items": [{**_BOOK, "year": 1969, "language": "en", **_IMAGE, "score": 1.0, "reasons": ["isbn"]}],
}  # fmt: skip
INTERACTIONS = {"accepted": 1, "event_ids": ["01a1fce4-d000-7000-8000-000000000001"], "fallbacks": []}
TOKEN = {
    **_WHO, "access_token": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJyMDAxIn0.c2lnbmF0dXJl",
    "refresh_token": "0f8e6c1d2b3a4958a7b6c5d4e3f20190.dGhlIHNlY3JldA", "token_type": "bearer", "expires_in": 3600,
}  # fmt: skip
SIGNUP = {**TOKEN, "unknown_books": ["9780441478126"], "fallbacks": []}
_HISTORY_BOOK = {**_READ, "weight": 0.9, "author": _BOOK["author"], "at": _AT, "read": True, "rating": 9}
HISTORY = {**_WHO, "total": 2, "items": [_HISTORY_BOOK], "next": 1}
EXPORT = {
    **_WHO, "exported_at": _AT,
    "account": {
        "username": "ada", "country": "DE", "birth_year": 1990, "tastes": ["science fiction"], "created_at": _AT,
    },
    "profile": {"country": "DE", "birth_year": 1990, "tastes": ["science fiction"]}, "in_model": True,
    "history": [_HISTORY_BOOK], "kept_books": ["w011-e0/w011"], "dismissed_books": [], "dismissed_authors": ["a07"],
}  # fmt: skip
USER = {
    **_WHO, "username": "ada", "created_at": _AT, "country": "DE", "age_bin": "35-44", "tastes": ["science fiction"],
    "history": [{**_READ, "weight": 0.9}], "seen": 1, "dismissed": 0, "dismissed_authors": ["a07"], "tier": "warm",
    "fallbacks": [],
}  # fmt: skip
CURRENT_MODELS = {
    "version": _BUNDLE["bundle_version"], "format_version": 4, "created_at": _AT, "git_commit": "0" * 40,
    "data_version": "5d41402a", "snapshot_id": "7", "mlflow_run_id": "", "n_works": 120, "n_users": 40,
    "embedding_dim": 8, "vector_index": True,
    "models": [{"name": "item_filter", "weights": {"warm": 1.0, "session": 1.0}, "bytes": 21000}],
    "ranker": {"candidates": 200, "boosters": 1, "features": ["item_filter", "age"], "bytes": 9000},
    "history_share": {"warm": 0.4, "session": 0.9}, "rules": {"max_per_author": 2},
    "metrics": {"recall_at_10": 0.21}, "bytes": 64000,
}  # fmt: skip
HEALTH = {"status": "ok"}
READY = {"status": "ready", **_BUNDLE, "vector_index": True}


def example(answer: dict[str, Any]) -> ConfigDict:
    """Settings of a model whose example this is."""
    return ConfigDict(json_schema_extra={"examples": [answer]})

"""Countries: one meaning for training and for the service."""

from __future__ import annotations

import pytest

from bookworks.countries import country_code


@pytest.mark.parametrize(
    ("country", "location", "code"),
    [
        ("Germany", None, "DE"),
        (' usa"', None, "US"),
        ("gb", None, "GB"),
        (None, "london, england, united kingdom", "GB"),
        (None, "vancouver, british columbia, canada", "CA"),
        ("atlantis", None, None),
        (None, "n/a, n/a, ", None),
        (None, None, None),
    ],
)
def test_country_code(country: str | None, location: str | None, code: str | None) -> None:
    assert country_code(country, location) == code

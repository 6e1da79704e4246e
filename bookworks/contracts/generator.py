"""How large a generated world may be: asked for by `bookworks demo`, made by `bookworks simulate`."""

from __future__ import annotations

WORKS = (50, 10**6)
READERS = (1, 10**6)
EVENTS = (1, 10**8)
DAYS = (1, 36_500)
DIRT = (0, 0.5)
SEED = (0, 2**63 - 1)

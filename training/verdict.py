"""What the gate says: one line a condition, slices of readers, and the whole as text and JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from pydantic import Field

from bookworks.contracts.verdict import FAILS, HOLDS, PASSED, REFUSED, headline
from bookworks.metrics.bootstrap import Interval
from training.params import Params


class GateParams(Params):
    """Section `gate`."""

    k: int = Field(10, ge=1)
    tolerance: float = Field(0.05, ge=0, le=1, description="Most that may be lost, as a share of the champion's NDCG.")
    slice_tolerance: float = Field(0.1, ge=0, le=1, description="The same for a slice of the readers, beyond chance.")
    min_slice: int = Field(30, ge=2, description="Readers that a slice needs to be judged.")
    min_coverage: float = Field(0.01, ge=0, le=1)
    max_readers: int = Field(4000, ge=1)
    floors: dict[str, dict[str, Any]] = Field({}, description="Learned floors, each with its config.")
    min_readers_to_beat: int = Field(500, ge=1, description="Test readers from which one of these must be beaten.")
    floor_tolerance: float = Field(0.02, ge=0, le=1, description="Share of a learned floor's NDCG that may be missed.")
    max_ease_works: int = Field(20000, ge=1, description="Works above which EASE is left out.")
    latency_readers: int = Field(300, ge=1, description="Test readers whose lists are timed.")
    max_median_ms: float = Field(50.0, gt=0)
    max_p99_ms: float = Field(250.0, gt=0)
    max_mib: float = Field(2048.0, gt=0, description="Most that the bundle's files may take.")
    leak_readers: int = Field(1000, ge=1, description="Readers that each source is tried on alone.")
    max_ndcg: float = Field(0.8, gt=0, le=1, description="More than this is not believed.")
    max_shuffled: float = Field(0.25, ge=0, le=1, description="Share of the NDCG that shuffled labels may leave.")
    max_over_valid: float = Field(1.5, ge=1, description="Most that a source may rank test better than validation.")
    ranker_tolerance: float = Field(0.05, ge=0, description="Share of the blend's NDCG trees may gain unexplained.")
    max_over_floor: float = Field(3.0, ge=1, description="Most that a source may rank better than the best floor.")


@dataclass(frozen=True)
class Line:
    """One condition: what it says in words, with numbers, and whether it holds.

    Attributes:
        name: short, one word.
        passed: it holds.
        text: in words.
        difference: the interval it was judged by, if that is a difference of NDCG.
    """

    name: str
    passed: bool
    text: str
    difference: Interval | None = None


@dataclass(frozen=True)
class Slice:
    """One part of the readers: NDCG of the challenger, and what it gains on the champion, if there is one."""

    name: str
    readers: int
    ndcg: float
    gain: Interval | None = None
    champion: float | None = None


@dataclass(frozen=True)
class Unreadable:
    """A champion that serves, or should, and whose bundle cannot be read: which one, and why."""

    version: str
    why: str


@dataclass(frozen=True)
class Verdict:
    """The gate's answer."""

    challenger: str
    champion: str | None
    readers: int
    lines: list[Line]
    slices: list[Slice] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """All conditions hold."""
        return all(line.passed for line in self.lines)

    @property
    def ordered(self) -> list[Line]:
        """Failed lines first."""
        return sorted(self.lines, key=lambda line: line.passed)

    @property
    def headline(self) -> str:
        """Which bundle, passed or refused, on how many readers."""
        return headline(self.challenger, PASSED if self.passed else REFUSED, self.readers)

    def text(self) -> str:
        """The verdict in words, failed lines first."""
        return "\n".join([self.headline, *(f"{HOLDS if line.passed else FAILS}{line.text}" for line in self.ordered)])

    def to_json(self) -> dict[str, Any]:
        """The verdict for programs."""
        return asdict(self) | {"passed": self.passed}


def shown(interval: Interval) -> str:
    """A difference with its bounds."""
    return f"{interval.value:+.4f} [{interval.low:+.4f}, {interval.high:+.4f}]"

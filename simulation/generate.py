"""`bookworks simulate generate`: a world, its readers' events, and the truth behind them, as files.

The same arguments give the same bytes.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bookworks.contracts.generator import DAYS, DIRT, EVENTS, READERS, SEED, WORKS
from bookworks.contracts.records import uuid7_of
from bookworks.errors import SettingError
from simulation import behaviour, words
from simulation.dirt import Dirt
from simulation.text import edition_record
from simulation.world import Editions, Readers, Works, make_editions, make_readers, make_works

SOURCE = "simulate"


@dataclass(frozen=True)
class Options:
    """What to generate.

    Attributes:
        works, readers: how many.
        events: exact number of good lines in interactions.jsonl; dirty lines come on top.
        dirt: share of broken lines added to each file, 0 to 0.5.
        start, days: the period, UTC.
    """

    works: int = 3_000
    readers: int = 2_000
    events: int = 100_000
    seed: int = 1
    dirt: float = 0.0
    start: date = date(2025, 7, 1)
    days: int = 184

    def check(self) -> None:
        """Raises SettingError where a value makes no world."""
        limits = {"works": WORKS, "readers": READERS, "events": EVENTS, "days": DAYS, "dirt": DIRT, "seed": SEED}
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise SettingError(
                    f"--{name} is out of range", received=value, allowed=f"{low} to {high}", todo="give another value."
                )

    @property
    def begin(self) -> datetime:
        """Start of the period."""
        return datetime(self.start.year, self.start.month, self.start.day, tzinfo=UTC)


def generate(options: Options, out: Path) -> dict[str, int]:
    """Write catalogue.jsonl, readers.jsonl, interactions.jsonl and truth/ into `out`.

    Returns:
        Good lines of each file.

    Raises:
        SettingError: a value is out of range.
    """
    options.check()
    seeds = np.random.SeedSequence(options.seed).spawn(6)
    rngs = [np.random.default_rng(seed) for seed in seeds]
    works = make_works(options.works, rngs[0])
    editions = make_editions(works, rngs[1])
    readers = make_readers(options.readers, rngs[2])
    columns = _in_order(_simulate(works, readers, options, rngs[3]), options.events)
    _make_folder(out / "truth")
    dirt = Dirt(options.dirt, rngs[5])
    counts = {
        "catalogue": dirt.write(out / "catalogue.jsonl", _catalogue(works, editions, options, rngs[4])),
        "readers": dirt.write(out / "readers.jsonl", _readers(readers, options)),
        "interactions": dirt.write(
            out / "interactions.jsonl", _events(columns, works, editions, readers, options=options, rng=rngs[4])
        ),
    }
    _write_truth(out / "truth", works, editions, readers, options=options, dirt=dirt)
    return counts


AUTHORS_A_WORK = 50  # in a catalogue; nearly all of them come not at all
RECORD = ("edition_id", "title", "author", "isbn", "publisher", "year", "language", "series", "format")


def write_catalogue(options: Options, out: Path) -> int:
    """Write `RECORD` of each edition to records.csv, and its work to truth.csv; returns how many.

    There are as many authors to the works as in real catalogues, most of them with one: no reader needs to know them.

    Raises:
        SettingError: a value is out of range.
    """
    options.check()
    made, varied = (np.random.default_rng(seed) for seed in np.random.SeedSequence(options.seed).spawn(2))
    works = make_works(options.works, made, n_authors=AUTHORS_A_WORK * options.works)
    editions = make_editions(works, made)
    _make_folder(out)
    count = len(editions.work)
    records = (edition_record(works, editions, e, varied) for e in range(count))
    _csv(out / "records.csv", RECORD, ([record[name] for name in RECORD] for record in records))
    truth = ([editions.edition_ids[e], works.work_id(int(editions.work[e]))] for e in range(count))
    _csv(out / "truth.csv", ["record_id", "work"], truth)
    return count


AIM_HIGHER = (1.25, 1.6, 2.5)  # what chance and busy readers' limits took away is asked for again


def _simulate(works: Works, readers: Readers, options: Options, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
    """Columns of enough events, if they can be had."""
    columns = behaviour.simulate(works, readers, options.events, rng)
    for factor in AIM_HIGHER:
        if len(columns["at"]) >= options.events:
            break
        columns = behaviour.simulate(works, readers, int(options.events * factor), rng)
    return columns


def _in_order(columns: dict[str, NDArray[Any]], n: int) -> dict[str, NDArray[Any]]:
    """The first `n` events by time.

    Raises:
        SettingError: so many events cannot be made by so few readers and works.
    """
    if len(columns["at"]) < n:
        raise SettingError(
            "So few readers and works do not make so many events",
            received=f"{len(columns['at'])} of {n} events",
            todo="ask for fewer --events, or for more --readers or --works.",
        )
    order = np.argsort(columns["at"], kind="stable")[:n]
    return {name: values[order] for name, values in columns.items()}


def _common(at: str) -> dict[str, object]:
    return {"schema_version": 1, "source": SOURCE, "received_at": at}


def _catalogue(
    works: Works, editions: Editions, options: Options, rng: np.random.Generator
) -> Iterator[dict[str, object]]:
    at = _iso(options.begin)
    for e in range(len(editions.work)):
        yield _common(at) | edition_record(works, editions, e, rng)


def _readers(readers: Readers, options: Options) -> Iterator[dict[str, object]]:
    at = _iso(options.begin)
    for i in range(len(readers)):
        country = words.COUNTRIES[int(readers.country[i])][0]
        yield _common(at) | {
            "user_id": readers.user_id(i),
            "country": country,
            "location": f"{words.CITIES[i % len(words.CITIES)]}, {country}",
            "age": int(readers.age[i]) if readers.age_known[i] else None,
        }


def _iso(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _events(
    columns: dict[str, NDArray[Any]], works: Works, editions: Editions, readers: Readers, *, options: Options,
    rng: np.random.Generator,
) -> Iterator[dict[str, object]]:  # fmt: skip
    """Event records in order of time."""
    begin, seconds = options.begin, options.days * 86_400
    edition = _pick_editions(columns, editions, readers, rng)
    rows = zip(*(columns[n].tolist() for n in ("reader", "kind", "value", "at", "slate", "position", "surface",
                                               "session")), edition.tolist(), strict=True)  # fmt: skip
    users = [readers.user_id(i) for i in range(len(readers))]
    for reader, kind, value, share, slate, position, surface, session, e in rows:
        at = begin + timedelta(milliseconds=int(min(max(share, 0.0), 1.0) * seconds * 1000))
        stamp = _iso(at)
        key = f"{options.seed}:{reader}:{e}:{kind}:{slate}:{position}:{stamp}"
        yield _common(stamp) | {
            "event_id": uuid7_of(f"simulate:{key}", at),
            "kind": behaviour.KINDS[kind],
            "user_id": users[reader],
            "edition_id": editions.edition_ids[e],
            "value": value if value == value else None,  # noqa: PLR0124 - NaN
            "occurred_at": stamp,
            "session_id": f"sim-s{session:x}",
            "surface": behaviour.SURFACES[surface] if surface >= 0 else "search",
            "decision_id": uuid7_of(f"simulate:{options.seed}:slate:{slate}", begin) if slate >= 0 else None,
            "position": position if position >= 0 else None,
        }


def _pick_editions(
    columns: dict[str, NDArray[Any]], editions: Editions, readers: Readers, rng: np.random.Generator
) -> NDArray[np.int64]:
    """The edition that each event is about: in the reader's language where there is one, else any."""
    work = columns["work"]
    low, high = editions.first[work], editions.first[work + 1]
    any_edition = low + (rng.random(len(work)) ** 2 * (high - low)).astype(np.int64)
    spoken = np.array([words.LANGUAGES.index(c[1]) for c in words.COUNTRIES])[readers.country[columns["reader"]]]
    second = low + (rng.random(len(work)) * (high - low)).astype(np.int64)
    fits = (editions.language[second] == spoken) & (editions.language[any_edition] != spoken)
    return np.where(fits, second, any_edition)


def _write_truth(
    folder: Path, works: Works, editions: Editions, readers: Readers, *, options: Options, dirt: Dirt
) -> None:
    genres = [f"g{i}" for i in range(len(words.GENRES))]
    _csv(folder / "works.csv",
         ["work_id", "title", "author", "language", "year", "series", "volume", "quality", "log_popularity", *genres],
         ([works.work_id(i), works.title(i), works.author_names[int(works.author[i])],
           words.LANGUAGES[int(works.language[i])], int(works.year[i]), works.series_name(i) or "",
           int(works.volume[i]), *_round(works.quality[i], works.log_popularity[i], *works.vectors[i])]
          for i in range(len(works))))  # fmt: skip
    _csv(folder / "editions.csv", ["edition_id", "work_id", "variants"],
         ([editions.edition_ids[e], works.work_id(int(editions.work[e])), " ".join(editions.variants[e])]
          for e in range(len(editions.work))))  # fmt: skip
    _csv(folder / "readers.csv", ["user_id", "age", "country", "bias", *(f"start_{g}" for g in genres),
                                  *(f"end_{g}" for g in genres)],
         ([readers.user_id(i), int(readers.age[i]), words.COUNTRIES[int(readers.country[i])][0],
           *_round(readers.bias[i], *readers.taste_start[i], *readers.taste_end[i])]
          for i in range(len(readers))))  # fmt: skip
    positions = np.arange(behaviour.SLATE_LENGTH)
    _csv(folder / "position_bias.csv", ["position", "examination"],
         zip(positions.tolist(), _round(*behaviour.examination(positions)), strict=True))  # fmt: skip
    _csv(folder / "dirt.csv", ["file", "line", "reason"], dirt.truth)
    names = ("AFFINITY_GAIN", "POPULARITY_GAIN", "QUALITY_GAIN", "AUTHOR_LOYALTY", "NEXT_VOLUME", "CLICK_GAIN",
             "CLICK_THRESHOLD", "SURFACE_BIAS", "SEGMENTS", "SLATE_LENGTH")  # fmt: skip
    params = {name.lower(): getattr(behaviour, name) for name in names} | {"genres": list(words.GENRES)}
    text = json.dumps({"options": asdict(options), "behaviour": params}, indent=1, default=str)
    (folder / "params.json").write_text(text + "\n", encoding="utf-8")


def _round(*values: float) -> list[float]:
    return [round(float(v), 4) for v in values]


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        received = f"{folder}: {error.strerror}"
        raise SettingError("--out is no folder that can be written", received=received, todo="name another.") from None


def _csv(path: Path, header: Sequence[str], rows: Iterable[Iterable[object]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)

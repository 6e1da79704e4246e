"""All sources by name, and which of them a folder holds."""

from __future__ import annotations

from pathlib import Path

from bookworks.errors import TerminalError
from ingestion.rows import FileKind, Source
from ingestion.sources import book_crossing, book_crossing_comma, goodbooks_10k, library_loans, simulate

SOURCES: dict[str, Source] = {
    module.NAME: module.SOURCE
    for module in (simulate, book_crossing, book_crossing_comma, goodbooks_10k, library_loans)
}


def choose(path: Path, name: str) -> Source:
    """The source called `name`, or with `auto` the one whose files are in the folder.

    Raises:
        TerminalError: no such folder, no such source, or files that no source knows.
    """
    if not path.is_dir():
        raise TerminalError(
            "--path is no folder", received=path, allowed="a folder with the files of one source",
            todo="give the folder that holds the files, not one of them.",
        )  # fmt: skip
    if name != "auto":
        return _complete(_by_name(name), path)
    fitting = [source for source in SOURCES.values() if source.fits(path)]
    if len(fitting) == 1:
        return fitting[0]
    raise TerminalError(
        "The folder holds no source that is known" if not fitting else "The folder holds several sources",
        received=", ".join(sorted(p.name for p in path.iterdir())[:20]) or "an empty folder",
        allowed="; ".join(f"{s.name}: {_files(s)}" for s in (fitting or SOURCES.values())),
        todo="give another --path, or name the --source to learn what is wrong with its files.",
    )


def _by_name(name: str) -> Source:
    if name not in SOURCES:
        raise TerminalError(
            "There is no such source", received=name, allowed=", ".join(["auto", *SOURCES]), todo="give one of these."
        )
    return SOURCES[name]


def _complete(source: Source, path: Path) -> Source:
    missing = [kind.names[0] for kind in source.kinds if kind.required and kind.find(path) is None]
    if missing:
        raise TerminalError(
            f"Files of {source.name} are missing in {path}",
            received=", ".join(sorted(p.name for p in path.iterdir())[:20]) or "an empty folder",
            allowed=f"{', '.join(missing)} (each plain or with .gz)",
            todo="put the missing files there, or give another --source.",
        )
    return source


def _files(source: Source) -> str:
    return ", ".join(kind.names[0] for kind in source.kinds if kind.required)


def kind_of(source_name: str, kind_name: str) -> FileKind | None:
    """The kind of file by the names that a dead letter carries, or None."""
    source = SOURCES.get(source_name)
    return next((kind for kind in source.kinds if kind.name == kind_name), None) if source else None


def needs_lookups(source_name: str, kind_name: str) -> bool:
    """Whether a row of this kind is of use only beside the look-up files of its folder, or is a row of one."""
    source = SOURCES.get(source_name)
    if source is None:
        return False
    helped = {lookup.topic for lookup in source.lookups}
    return any(kind.name == kind_name and kind.topic in helped for kind in (*source.lookups, *source.kinds))


def not_loaded(source: Source, path: Path) -> list[str]:
    """Files of the folder that belong to no kind of the source, or to look-up files that are not all there."""
    used = {kind.find(path) for kind in (*source.lookups_in(path), *source.kinds)}
    return sorted(str(p.relative_to(path)) for p in path.rglob("*") if p.is_file() and p not in used)

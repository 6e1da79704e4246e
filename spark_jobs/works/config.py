"""The bounds within which works are found."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from bookworks.settings import Settings
from spark_jobs.works.aliases import Alias, load_aliases


@dataclass(frozen=True)
class MatchConfig:
    """How works are found.

    Attributes:
        threshold: least mean probability at which two clusters are one work.
        floor: pairs below this probability are as if never compared.
        block_size: most nodes of one author that are compared pair by pair.
        key_block_size: most nodes with one title, co-author or ISBN that are compared; larger blocks are left out.
        component_size: most nodes of a component that are clustered at once; larger ones are cut at weak edges.
        isbn_probability: least probability of a pair that shares an ISBN.
        bucket_rows: rows of blocks that one Python call gets.
        most_changed: share of changed rows up to which a clustering starts from the one before.
        aliases: names that are another's, `load_aliases`.
    """

    threshold: float = 0.42
    floor: float = 0.05
    block_size: int = 600
    key_block_size: int = 150
    component_size: int = 2500
    isbn_probability: float = 0.9
    bucket_rows: int = 10_000
    most_changed: float = 0.2
    aliases: tuple[Alias, ...] = field(default_factory=load_aliases)

    @classmethod
    def of(cls, settings: Settings, aliases: Path | None = None, threshold: float = threshold) -> MatchConfig:
        """The bounds with the authors' further names of a file, by default that of the settings.

        Raises:
            SettingError: the file cannot be read, or a line has a fault.
        """
        return cls(threshold=threshold, aliases=load_aliases(aliases or settings.author_aliases))

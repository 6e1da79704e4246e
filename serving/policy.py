"""The rules of the slate as an operator writes them: one YAML file, checked strictly. What they mean is said in it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from bookworks.errors import SettingError

SHIPPED = Path(__file__).with_name("rules.yaml")
Soft = Literal["subject", "publisher", "series", "author", "series_in_order"]
Count = Annotated[int, Field(strict=True, ge=0, le=1000)]
Share = Annotated[float, Field(strict=True, ge=0, le=1)]
Positive = Annotated[float, Field(strict=True, gt=0)]
Text = Annotated[str, StringConstraints(strict=True, strip_whitespace=True, min_length=1, max_length=200)]
Country = Annotated[str, StringConstraints(strict=True, pattern=r"^[A-Z]{2}$")]


class _Part(BaseModel):
    """Frozen; a misspelt name is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Limits(_Part):
    """At most so many of one author, series, publisher, subject in a slate; 0: no limit, None: as the bundle says."""

    author: Count | None = None
    series: Count | None = None
    publisher: Count = 0
    subject: Count = 0


class RecentlyShown(_Part):
    """A book just shown stands `places` further back, half as many after each `half_life_hours`; 0: not at all."""

    places: Count = 0
    half_life_hours: Positive = 24.0


class Freshness(_Part):
    """A book of this year stands `places` further ahead, half as many for each `half_life_years` of age."""

    places: Count = 0
    half_life_years: Positive = 2.0


class BlockList(_Part):
    """Books that some readers, or all, are never shown.

    Attributes:
        name: by which `why-not` tells of it.
        books: work ids, edition ids or ISBNs; other books of the same title and author are meant too.
        authors: names or ids.
        subjects: as the catalogue names them.
        countries: of the readers who are not shown them; empty: all countries.
        countries_except: of the readers who are shown them; all others are not.
        under_age: for readers younger than so many years; None: of every age.
        when_unknown: what holds for a reader whose country or age is not known.
    """

    name: Text
    books: tuple[Text, ...] = ()
    authors: tuple[Text, ...] = ()
    subjects: tuple[Text, ...] = ()
    countries: tuple[Country, ...] = ()
    countries_except: tuple[Country, ...] = ()
    under_age: Annotated[int, Field(strict=True, ge=1, le=125)] | None = None
    when_unknown: Literal["block", "show"] = "block"

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not (self.books or self.authors or self.subjects):
            raise ValueError("a list needs books, authors or subjects")
        if self.countries and self.countries_except:
            raise ValueError("countries or countries_except, not both")
        return self

    def holds_for(self, country: str | None, age: int | None) -> bool:
        """Whether a reader of this country (ISO 3166-1) and age in years is not shown these books."""
        unknown = self.when_unknown == "block"
        here = True
        if self.countries:
            here = unknown if country is None else country in self.countries
        elif self.countries_except:
            here = unknown if country is None else country not in self.countries_except
        if not here or self.under_age is None:
            return here
        return unknown if age is None else age < self.under_age


class Promoted(_Part):
    """Books that are put forward until they are `share` of a slate, rounded down."""

    books: tuple[Text, ...] = ()
    share: Share = 0.0


class Exploration(_Part):
    """The last `share` of a slate, rounded down, is drawn from the `pool` books that would come next."""

    share: Share = 0.0
    pool: Annotated[int, Field(strict=True, ge=1, le=400)] = 50


class Policy(_Part):
    """All rules of the slate; `relax` names those that may be broken where too few books are left, the first first."""

    limits: Limits = Limits()
    series_in_order: Annotated[bool, Field(strict=True)] = False
    recently_shown: RecentlyShown = RecentlyShown()
    freshness: Freshness = Freshness()
    blocked: tuple[BlockList, ...] = ()
    promoted: Promoted = Promoted()
    exploration: Exploration = Exploration()
    relax: tuple[Soft, ...] = ("subject", "publisher", "series", "author")

    @model_validator(mode="after")
    def _check(self) -> Self:
        for what, names in (("relax", self.relax), ("blocked", [one.name for one in self.blocked])):
            if len(set(names)) < len(names):
                raise ValueError(f"{what} names one twice")
        if self.promoted.share + self.exploration.share > 1:
            raise ValueError("promoted.share and exploration.share are more than the slate together")
        return self


class _Loader(yaml.SafeLoader):
    """Refuses a name that stands twice, where YAML would take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [self.construct_object(key, deep=True) for key, _ in node.value]  # type: ignore[no-untyped-call]
        for place, name in enumerate(names):
            if name in names[:place]:
                raise yaml.MarkedYAMLError(
                    problem=f"{name!r} stands twice", problem_mark=node.value[place][0].start_mark
                )
        return super().construct_mapping(node, deep)


def load(path: Path | None = None) -> Policy:
    """The rules of a file; None: the shipped ones.

    Raises:
        SettingError: the file cannot be read, is no YAML, or says something that is not allowed.
    """
    path = path or SHIPPED
    todo = f"mend {path}, or set BOOKWORKS_RULES_FILE to another file."
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506 - a SafeLoader
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingError("The rules of the slate cannot be read", received=error, allowed="YAML", todo=todo) from None
    try:
        return Policy.model_validate(content if content is not None else {})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise SettingError(
            f"The rules of the slate are wrong at {where}",
            received=repr(first["input"])[:200],
            allowed=first["msg"],
            todo=todo,
        ) from None

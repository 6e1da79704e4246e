"""Every recommender by its name; loaded only when asked for, so that torch stays out where nobody needs it."""

from __future__ import annotations

import importlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bookworks.errors import SettingError
from training.dataset import VALID, Dataset
from training.memory import peak_memory
from training.params import Options, check_params
from training.recommenders.base import Recommender
from training.split_files import hold_out

_PLACES = {
    "random": ("floors", "RandomRecommender"),
    "popularity": ("floors", "PopularityRecommender"),
    "item_knn": ("item_item", "ItemKnnRecommender"),
    "item_filter": ("item_item", "ItemFilterRecommender"),
    "ease": ("item_item", "EaseRecommender"),
    "co_occurrence": ("item_item", "CoOccurrenceRecommender"),
    "two_hop": ("item_item", "TwoHopRecommender"),
    "reader_knn": ("reader_knn", "ReaderKnnRecommender"),
    "als": ("als", "AlsRecommender"),
    "als_small": ("als", "SmallAlsRecommender"),
    "same_author": ("content", "SameAuthorRecommender"),
    "same_series": ("content", "SameSeriesRecommender"),
    "same_publisher": ("content", "SamePublisherRecommender"),
    "content_ease": ("content", "ContentEaseRecommender"),
    "next_in_series": ("content", "NextInSeriesRecommender"),
    "title_text": ("content", "TitleTextRecommender"),
    "gnn": ("gnn", "GnnRecommender"),
    "two_tower": ("two_tower", "TwoTowerRecommender"),
    "blend": ("blend", "Blend"),
    "ranker": ("ranker", "Ranker"),
}
NAMES = tuple(_PLACES)
HELD_OUT = 0.1  # share of the rows that tell how many epochs are best


def model_class(name: str) -> type[Recommender]:
    """The class of the recommender called `name`.

    Raises:
        SettingError: there is none of that name.
    """
    if name not in _PLACES:
        raise SettingError("There is no such model", received=name, allowed=", ".join(NAMES), todo="give one of these.")
    module, attribute = _PLACES[name]
    found: type[Recommender] = getattr(importlib.import_module(f"training.recommenders.{module}"), attribute)
    return found


def load_member(name: str, folder: Path) -> Recommender:
    """The recommender called `name` that was saved in `folder`."""
    return model_class(name).load(folder)


Key = tuple[str, int]


@dataclass(frozen=True)
class Cost:
    """What a model costs to fit, a composite with all of its sources, also with those that were there already.

    Attributes:
        seconds: wall time; of a source that was there already, that of its own fit.
        mib: peak of the process over what was there before; a source that was there already counts as what it holds.
        held_mib: what stayed in memory.
    """

    seconds: float
    mib: float
    held_mib: float


@dataclass
class _Sources:
    """What a fit in progress has asked for: known models count with what they cost, once each."""

    seen: set[Key] = field(default_factory=set)
    known: list[Cost] = field(default_factory=list)


class Fitter:
    """Fits recommenders by name, each once for a dataset, and keeps what that cost.

    Args:
        options: seed and threads.
        configs: of some models, values that take the place of the defaults.
    """

    def __init__(self, options: Options, configs: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        self.options = options
        self.configs = dict(configs or {})
        self._fitted: dict[Key, tuple[Dataset, Recommender, Cost]] = {}
        self._running: list[_Sources] = []

    def config(self, name: str) -> Any:
        """The config of a model.

        Raises:
            SettingError: a value is wrong or a name unknown.
        """
        return check_params(name, model_class(name).Config, dict(self.configs.get(name, {})))

    def fit(self, name: str, data: Dataset) -> Recommender:
        """The model fitted to the training rows of `data`; the second time the same one.

        A model that trains in epochs, of which neither a part `valid` nor the config says how many, is fitted to nine
        tenths of the rows first: so many epochs as were best there are trained on all.
        """
        key = (name, id(data))
        if key not in self._fitted:
            self._fitted[key] = data, *self._first_fit(name, data)
        else:
            self._borrowed(key)
        for outer in self._running:
            outer.seen.add(key)
        return self._fitted[key][1]

    def cost(self, name: str, data: Dataset) -> Cost:
        """What the first fit of a model to `data` cost; it must not be dropped yet."""
        return self._fitted[name, id(data)][2]

    def _first_fit(self, name: str, data: Dataset) -> tuple[Recommender, Cost]:
        cls, sources, started = model_class(name), _Sources(), time.monotonic()
        more = {"fitter": self} if cls.composite else {}
        self._running.append(sources)
        try:
            with peak_memory() as memory:
                model = cls.fit(data, with_epochs(cls, data, self.config(name), self.options), self.options, **more)
        finally:
            self._running.pop()
        held = sum(known.held_mib for known in sources.known)
        seconds = time.monotonic() - started + sum(known.seconds for known in sources.known)
        return model, Cost(seconds, memory.added + held, memory.held + held)

    def _borrowed(self, key: Key) -> None:
        for outer in self._running:
            if key not in outer.seen:
                outer.known.append(self._fitted[key][2])

    def drop(self, name: str, data: Dataset) -> None:
        """Let go of one model."""
        self._fitted.pop((name, id(data)), None)

    def forget(self, data: Dataset) -> None:
        """Let go of what was fitted to `data`."""
        self._fitted = {key: value for key, value in self._fitted.items() if value[0] is not data}


def with_epochs(cls: type[Recommender], data: Dataset, config: Any, options: Options) -> Any:
    """The config with as many epochs as are best on held-out training rows; as it is where these are known or found."""
    trains = "epochs" in type(config).model_fields and "epochs" not in config.model_fields_set
    if not trains or data.rows(VALID).num_rows:
        return config
    inner: Any = cls.fit(hold_out(data, HELD_OUT, options.seed), config, options)
    return config.model_copy(update={"epochs": inner.summary()["epochs"]})

"""Every recommender by its name; loaded only when asked for, so that torch stays out where nobody needs it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bookworks.errors import SettingError
from training.dataset import VALID, Dataset
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


class Fitter:
    """Fits recommenders by name, each once for a dataset.

    Args:
        options: seed and threads.
        configs: of some models, values that take the place of the defaults.
    """

    def __init__(self, options: Options, configs: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        self.options = options
        self.configs = dict(configs or {})
        self._fitted: dict[tuple[str, int], tuple[Dataset, Recommender]] = {}

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
            cls, more = model_class(name), {}
            if cls.composite:
                more = {"fitter": self}
            config = with_epochs(cls, data, self.config(name), self.options)
            self._fitted[key] = data, cls.fit(data, config, self.options, **more)
        return self._fitted[key][1]

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

"""Parameters: each stage reads the section of `params.yaml` that has its name."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bookworks.errors import SettingError
from training.files import PARAMS


class Params(BaseModel):
    """Base of a stage's parameters; an unknown name is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Options(Params):
    """What all stages share."""

    seed: int = 42
    threads: int = Field(2, ge=1, description="Threads of torch, BLAS and implicit.")


P = TypeVar("P", bound=Params)


def load_params(section: str, model: type[P], path: Path = PARAMS) -> P:
    """The section called `section`, checked.

    Raises:
        SettingError: a value is wrong or a name unknown; the message names it.
    """
    return check_params(section, model, yaml.safe_load(path.read_text(encoding="utf-8")).get(section) or {})


def check_params(section: str, model: type[P], values: object) -> P:
    """Values of one section as their typed form.

    Raises:
        SettingError: a value is wrong or a name unknown; the message names it.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join([section, *map(str, first["loc"])])
        raise SettingError(
            f"The parameter {name} is not usable: {first['msg']}",
            received=repr(first.get("input")),
            todo="change it in params.yaml or with --set.",
        ) from None

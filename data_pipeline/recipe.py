"""The recipe of a build: which quality stages run, with which parameters members voted on."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from data_pipeline.stages.stage import Parameters
from data_pipeline.stages.table import STAGES
from governance_hooks.errors import BadInput

__all__ = ["DEFAULT", "Recipe"]


@dataclass(frozen=True)
class Recipe:
    """Stages by name with their parameters, in the order they run."""

    stages: Mapping[str, Parameters]

    @classmethod
    def parse(cls, document: Mapping[str, Mapping[str, Any]], *, source: str = "recipe") -> Recipe:
        """Return the recipe of {stage: {parameter: whole number}}; what is not said has its default.

        Raises:
            BadInput: an unknown stage or parameter, or a value out of range.
        """
        for name in document:
            if name not in STAGES:
                near = difflib.get_close_matches(str(name), STAGES, n=1)
                raise BadInput(f"{source}: unknown stage", value=name, allowed=", ".join(STAGES) + (f"; did you mean {near[0]}?" if near else ""))
        made: dict[str, Parameters] = {}
        for name, stage in STAGES.items():
            if name not in document:
                continue
            try:
                made[name] = stage.parameters.model_validate(document[name] or {})
            except ValidationError as error:
                first = error.errors()[0]
                where = ".".join([name, *map(str, first["loc"])])
                allowed = ", ".join(stage.parameters.model_fields) or "none"
                raise BadInput(f"{source}: {where}: {first['msg']}", value=first.get("input"), allowed=f"parameters of {name}: {allowed}") from error
        return cls(made)

    def as_dict(self) -> dict[str, dict[str, int]]:
        """Return {stage: {parameter: whole number}}, defaults written out, as a manifest or the bylaws hold it."""
        return {name: parameters.model_dump() for name, parameters in self.stages.items()}


DEFAULT: Final = Recipe.parse({name: {} for name in STAGES})
"""Every stage with its defaults."""

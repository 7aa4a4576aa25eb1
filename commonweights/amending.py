"""Amendments: the bylaws in force with the changes of a YAML file, and what differs, in lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from governance_hooks.bylaws import KINDS, Bylaws
from governance_hooks.errors import BadInput
from governance_hooks.plan import explain_validation
from governance_hooks.register import Register

__all__ = ["amended", "differences", "in_full"]


def in_full(bylaws: Bylaws) -> dict[str, Any]:
    """Return bylaws as a document in which the rules of every kind stand, defaults too."""
    return bylaws.model_dump(mode="json") | {"kinds": {kind: bylaws.rules(kind).model_dump(mode="json") for kind in KINDS}}


def amended(register: Register, path: Path) -> Bylaws:
    """Return the bylaws in force with the changes of a YAML file, as their next version.

    A mapping in the file changes the keys it names, at any depth; lists and values are replaced.

    Raises:
        BadInput: no YAML, an unknown field (with the nearest name), or bylaws nobody could follow.
    """
    try:
        changes = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} is not YAML: {error}") from error
    if not isinstance(changes, dict) or not changes:
        raise BadInput(f"{path} names nothing to change", allowed="fields of the bylaws: coop bylaws")
    made = _merge(in_full(register.bylaws), changes) | {"version": register.bylaws.version + 1}
    try:
        bylaws = Bylaws.model_validate(made)
        if bylaws.stages:  # the fold only compares them: a stage nobody has would make every build impossible
            from data_pipeline.recipe import Recipe

            Recipe.parse(bylaws.stages, source=str(path))
        return bylaws
    except ValidationError as error:
        raise explain_validation(error, Bylaws, str(path)) from error


def _merge(old: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(old)
    for name, value in changes.items():
        merged[name] = _merge(old[name], value) if isinstance(value, dict) and isinstance(old.get(name), dict) else value
    return merged


def differences(old: Bylaws, new: Bylaws) -> list[str]:
    """Return one line for each field that changes, `kinds.run.quorum_percent: 50 -> 60`."""
    before, after = _flat(in_full(old)), _flat(in_full(new))
    return [f"{name}: {before.get(name)} -> {after.get(name)}" for name in sorted(before | after) if before.get(name) != after.get(name)]


def _flat(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, inner in value.items():
        flat |= _flat(inner, f"{prefix}{name}.") if isinstance(inner, dict) else {f"{prefix}{name}": inner}
    return flat

"""Checks of records that other rooms own, found when they are needed: a release may hold records this version knows no check for."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from governance_hooks.report import StepUnknown

__all__ = ["checker"]


def checker(module: str, name: str) -> Any:
    """Return a function of another module.

    Raises:
        StepUnknown: this version has no such module: what it would check is unknown, never a pass.
    """
    try:
        return getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        if error.name is None or not module.startswith(error.name):
            raise StepUnknown(f"needs the package {error.name}", todo=f"install {error.name}, and verify again") from error
        raise StepUnknown("this version of commonweights cannot check it", todo="install the version the cooperative used, and verify again") from error

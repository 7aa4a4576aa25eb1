"""Options that several verbs share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

__all__ = ["draft_option", "key_option", "session"]

F = TypeVar("F", bound=Callable[..., Any])

session = click.pass_obj
"""Passes the Session as first argument."""


def key_option(function: F) -> F:
    """Add --key: the member's own OpenSSH key."""
    return click.option(
        "--key",
        type=click.Path(path_type=Path),
        help="Your OpenSSH ed25519 key, or with --draft the .pub of any key of yours [default: $COOP_KEY, else ~/.ssh/id_ed25519].",
    )(function)


def draft_option(function: F) -> F:
    """Add --draft: write the statement to a file, to be signed elsewhere."""
    return click.option(
        "--draft",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Write the unsigned statement here instead, for `coop sign` or `ssh-keygen -Y sign` on another machine.",
    )(function)

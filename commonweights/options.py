"""Options that several verbs share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from governance_hooks.errors import BadInput

__all__ = ["draft_option", "key_option", "language_code", "session"]

F = TypeVar("F", bound=Callable[..., Any])

session = click.pass_obj
"""Passes the Session as first argument."""


def language_code(text: str, where: str) -> str:
    """Return the ISO 639-3 code of a code or BCP 47 tag; raise BadInput for a tag that says more than a language, which a code would widen."""
    if len(text) == 3 and text.isascii() and text.islower() and text.isalpha():
        return text  # without the table of languages, which a member who only consents need not have
    from data_pipeline.language import parse_tag

    code, tag = parse_tag(text, where=where)
    if tag:
        raise BadInput(f"{where}: this goes by language, not by script or region", value=text, allowed=code)
    return code


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

"""Secrets and private paths: a release is refused if one of its records holds any, for what is published cannot be taken back."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from governance_hooks.errors import BadInput

__all__ = ["check_no_leaks"]

_SECRETS = {
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    "a Hugging Face token": re.compile(r"\bhf_[A-Za-z0-9]{30,}"),
    "a GitHub token": re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{50,})"),
    "a cloud access key": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "an API key": re.compile(r"\bsk-[A-Za-z0-9_-]{20,}"),
    "a chat token": re.compile(r"\bxox[abprs]-[A-Za-z0-9-]{10,}"),
    "a bearer token": re.compile(r"\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{5,}"),
    "a password in an address": re.compile(r"\b[a-z][a-z0-9+.-]*://[^/\s:@]+:[^/\s:@]+@"),
}
_PATH = re.compile(r"^(?:~?/|[A-Za-z]:[\\/]|\\\\|file:)|(?:^|[\s'\"=:(])/(?:home|root|Users|tmp|var|mnt|scratch|etc|opt|srv)/")


def _texts(value: Any, where: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield where, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield f"{where}/{key}", str(key)
            yield from _texts(item, f"{where}/{key}")
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _texts(item, f"{where}/{number}")


def check_no_leaks(path: str, document: Any, *, free_text: tuple[str, ...] = (), anywhere: bool = False) -> None:
    """Refuse a record that holds a secret, or a path of the machine it was made on (BadInput names the field, never the secret).

    Args:
        path: name of the record, for the message.
        document: its parsed JSON.
        free_text: top-level fields with model output, in which a path is no leak; a secret always is one.
        anywhere: model output may stand in every field.
    """
    for where, text in _texts(document, ""):
        for what, pattern in _SECRETS.items():
            if pattern.search(text):
                raise BadInput(
                    f"{path}: field {where} holds {what}", allowed="records without secrets", next="revoke it, then make the record again without it"
                )
        if not anywhere and _PATH.search(text) and not where.startswith(tuple(f"/{name}/" for name in free_text)):
            raise BadInput(f"{path}: field {where} holds a path of this machine", value=text, allowed="relative names", next="make the record again without it")

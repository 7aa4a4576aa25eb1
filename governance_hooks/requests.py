"""Requests to join or for a new key, as a log that outsiders read may name them: by a salted digest that says nothing without its salt."""

from __future__ import annotations

import secrets
from typing import Annotated, Final, Literal, get_args

from pydantic import StringConstraints, ValidationError

from governance_hooks.canonical import dumps, loads, sha256
from governance_hooks.errors import BadInput
from governance_hooks.fields import Digest, Strict
from governance_hooks.payloads.membership import Decline

__all__ = ["ABOUT", "REASONS", "Opening", "new_salt"]

About = Literal["admission", "recovery"]
ABOUT: Final[dict[str, About]] = {"coop.admission/v1": "admission", "coop.recovery/v1": "recovery"}
"""Type of a request -> what the statement that declines it calls it."""
REASONS: Final[tuple[str, ...]] = get_args(Decline.model_fields["reason"].annotation)
"""Why a request may be declined."""


class Opening(Strict):
    """What shows which request a decline is about; whoever asked gets it, and nobody else needs it."""

    salt: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    statement: Digest
    """The request, as it was to be signed."""

    def dumps(self) -> bytes:
        """Return its canonical bytes."""
        return dumps(self.model_dump())

    @property
    def digest(self) -> str:
        """What the log names the request by."""
        return sha256(self.dumps())

    @classmethod
    def parse(cls, data: bytes, *, source: str = "opening") -> Opening:
        """Read an opening; raise BadInput for anything else."""
        value = loads(data, source=source)
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            raise BadInput(f"{source} does not open a request", allowed='{"salt": 64 hexadecimal digits, "statement": DIGEST}') from error


def new_salt() -> str:
    """Return 256 random bits: a request cannot be found by trying."""
    return secrets.token_hex(32)

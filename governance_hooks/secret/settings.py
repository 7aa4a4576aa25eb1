"""The public folder of a secret poll: its settings, and the files that the roles of the ceremony pass on to each other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints, ValidationError, model_validator

from governance_hooks.atomic import write_bytes
from governance_hooks.bylaws import MemberId
from governance_hooks.canonical import dumps, loads
from governance_hooks.errors import BadInput, Refused
from governance_hooks.fields import Digest, Instant, Strict

__all__ = ["PollFolder", "Settings"]

_MAX_FILE = 4 * 1024 * 1024
"""Bytes of a file of the ceremony; the public credentials of 50,000 members fit."""


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("it has characters that cannot be printed")
    return text


Words = Annotated[str, StringConstraints(min_length=1, max_length=300, strip_whitespace=True), AfterValidator(_printable)]


class Settings(Strict):
    """What the operator sets, and everybody with a part in the ceremony reads before they take it."""

    format: Literal["coop.secret-settings/v1"] = "coop.secret-settings/v1"
    coop: Digest
    uuid: Annotated[str, StringConstraints(pattern=r"^[1-9A-HJ-NP-Za-km-z]{14,22}$")]
    subject: Digest
    question: Words
    answers: Annotated[list[Words], Field(min_length=2, max_length=16)]
    roll: Annotated[list[MemberId], Field(min_length=1)]
    """Sorted; one credential each."""
    credential_authority: MemberId
    trustees: Annotated[list[MemberId], Field(min_length=2, max_length=16)]
    """Trustee 1, 2, ..."""
    threshold: Annotated[int, Field(ge=2, le=16)]
    minimum_ballots: Annotated[int, Field(ge=2)]
    closes: Instant

    @model_validator(mode="after")
    def _sensible(self) -> Settings:
        if len(set(self.answers)) != len(self.answers):
            raise ValueError("two answers are the same")
        if len(set(self.trustees)) != len(self.trustees) or self.credential_authority in self.trustees:
            raise ValueError("trustees and credential authority are distinct members")
        if not len(self.trustees) < 2 * self.threshold <= 2 * len(self.trustees):
            raise ValueError("the threshold is more than half of the trustees")
        if self.roll != sorted(set(self.roll)):
            raise ValueError("the roll is not sorted")
        return self

    def number(self, member: str) -> int:
        """Return which trustee a member is, from 1; raise BadInput if they are none."""
        if member not in self.trustees:
            raise BadInput("you are no trustee of this poll", value=member, allowed=", ".join(self.trustees))
        return self.trustees.index(member) + 1

    def template(self) -> dict[str, Any]:
        """Return the election template belenios-tool makes the election file from: one question, exactly one answer."""
        value = {"answers": self.answers, "blank": False, "min": 1, "max": 1, "question": self.question}
        return {
            "description": self.subject,
            "name": self.question,
            "questions": [{"type": "Homomorphic", "value": value}],
            "administrator": "operator",
            "credential_authority": self.credential_authority,
        }


@dataclass(frozen=True, slots=True)
class PollFolder:
    """A poll's public folder; nothing in it is secret, and whoever holds a role copies it to and from their own machine."""

    root: Path

    def settings(self) -> Settings:
        """Read the settings; raise BadInput if there are none."""
        try:
            return Settings.model_validate(loads(self.read("poll.json"), source="poll.json"))
        except ValidationError as error:
            first = error.errors()[0]
            raise BadInput(f"{self.root / 'poll.json'}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error

    def write_settings(self, settings: Settings) -> None:
        """Write the settings of a new poll; refuse to change those of another."""
        if self.has("poll.json"):
            raise BadInput(f"{self.root} holds a poll already", next="coop secret setup FOLDER, without options, goes on with it")
        self.write("poll.json", dumps(settings.model_dump()))

    def has(self, name: str) -> bool:
        """Tell whether a file is there."""
        return (self.root / name).is_file()

    def read(self, name: str) -> bytes:
        """Read a file somebody else may have written; raise BadInput if it is missing or too long."""
        path = self.root / name
        try:
            with path.open("rb") as file:
                data = file.read(_MAX_FILE + 1)
        except OSError as error:
            raise BadInput(f"cannot read {path}: {error.strerror}", next="copy the poll's folder from whoever ran the last step") from error
        if len(data) > _MAX_FILE:
            raise Refused(f"{path} is too long", value=len(data), allowed=f"{_MAX_FILE} bytes")
        return data

    def line(self, name: str) -> bytes:
        """Read a file of exactly one line, as the tool's intermediate files are: a second line could speak for somebody else."""
        data = self.read(name)
        if not data.endswith(b"\n") or data.count(b"\n") != 1:
            raise Refused(f"{self.root / name} is not one line")
        return data

    def write(self, name: str, data: bytes) -> None:
        """Write a file whole or not at all."""
        write_bytes(self.root / name, data)

    def missing(self, kind: str, count: int) -> list[int]:
        """Return the numbers from 1 to `count` whose file of a kind is not there."""
        return [number for number in range(1, count + 1) if not self.has(f"{kind}/{number}.json")]

    def all_of(self, kind: str, count: int) -> bytes:
        """Return the lines of all trustees' files of a kind, in order."""
        return b"".join(self.line(f"{kind}/{number}.json") for number in range(1, count + 1))

    def archive(self) -> Path:
        """Return the path of the election's archive."""
        return self.root / f"{self.settings().uuid}.bel"

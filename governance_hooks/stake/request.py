"""An outsider's request for data, as members vote on it, and the terms that follow from it word for word.

Who asks stands here by a salted digest: the name is in the private store, and the outsider can show that it is theirs.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, ValidationError, model_validator

from governance_hooks.canonical import digest_of_texts, loads
from governance_hooks.consent import Form, Licence, Outsider, Purpose
from governance_hooks.errors import BadInput
from governance_hooks.fields import Digest, Instant, Language, Slug, Strict
from governance_hooks.money import Currency, show_amount
from governance_hooks.vocabulary import OUTSIDE_FORMS, WORDS

__all__ = ["AccessRequest", "Price", "Query", "read_request", "request_words", "requester_commitment", "terms"]

Query = Literal["members-by-language", "records-by-language"]
"""What can be counted: declared beforehand, so that no two questions can be subtracted from each other."""

SMALLEST: Final = 5
"""Fewer members than this are never told apart."""


class Price(Strict):
    """What the outsider pays."""

    amount: Annotated[int, Field(ge=0, lt=2**53)]
    """Minor units; 0 if it is given for nothing."""
    currency: Currency


class AccessRequest(Strict):
    """All that members vote on; its digest is the subject of the vote."""

    format: Literal["coop.access/v1"] = "coop.access/v1"
    coop: Digest
    name: Slug
    requester: Digest
    """Salted digest of who asks."""
    recipient: Outsider
    purpose: Purpose
    licence: Licence
    """Under which the data may be used, and what comes of it."""
    build: Digest
    """Manifest of the build it is taken from."""
    form: Form
    query: Query | None
    """With form aggregate."""
    languages: Annotated[list[Language], Field(min_length=1, max_length=256)] | None
    """Only these; null for all."""
    price: Price
    minimum_members: Annotated[int, Field(ge=SMALLEST, le=10_000)] = SMALLEST
    """A language of fewer consenting members is left out."""
    until: Instant
    """When the outsider must have deleted all of it."""

    @model_validator(mode="after")
    def _coherent(self) -> AccessRequest:
        if (self.query is None) == (self.form == "aggregate"):
            raise ValueError("an aggregate answers a query, and an extract answers none")
        if self.languages is not None and self.languages != sorted(set(self.languages)):
            raise ValueError("languages are listed once each, sorted")
        return self


def requester_commitment(name: str, salt: str) -> str:
    """Return the digest that stands for who asks."""
    return digest_of_texts({"name": name, "salt": salt})


def read_request(data: bytes, *, source: str = "request.json") -> AccessRequest:
    """Read canonical bytes strictly; raise BadInput for anything else."""
    loads(data, source=source)
    try:
        return AccessRequest.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        raise BadInput(f"{source}: {'.'.join(map(str, first['loc']))}: {first['msg']}", value=first.get("input")) from error


def request_words(request: AccessRequest) -> list[str]:
    """Return a request as lines members can read before they vote."""
    what = {
        "extract": "the texts themselves, without names",
        "aggregate": f"an answer counted over the texts ({request.query}), rounded down to fives",
    }[request.form]
    languages = "every language" if request.languages is None else ", ".join(request.languages)
    return [
        f"Request {request.name!r}: one of the {WORDS[request.recipient]} asks for {what}; {languages}, from dataset {request.build[:19]}.",
        f"What for: {WORDS[request.purpose]}. Licence: {request.licence}. Until: {request.until}.",
        f"Price: {show_amount(request.price.amount, request.price.currency) if request.price.amount else 'none'}.",
        f"Only texts of members whose consent allows {WORDS[OUTSIDE_FORMS[request.form]]} to {WORDS[request.recipient]} for this, at the moment it is delivered.",
        f"Languages with fewer than {request.minimum_members} such members are left out.",
    ]


def terms(request: AccessRequest) -> bytes:
    """Return the terms the outsider gets with the data; they follow from the request alone."""
    lines = [
        f"# Terms of delivery {request.name}",
        "",
        f"Cooperative {request.coop}",
        f"Recipient {request.requester}, one of: {WORDS[request.recipient]}",
        "",
        f"1. You may use this for {WORDS[request.purpose]} ({request.purpose}), under {request.licence}, and for nothing else.",
        "2. You do not pass it on, and do not publish texts of it.",
        "3. You do not try to find out who wrote a text, and do not join it with other data to do so.",
        "4. Members can withdraw. When a signed list of deletions reaches you, delete what it names within 30 days, copies and derived data sets included.",
        f"5. Delete all of it by {request.until}.",
        "6. Check what you got, offline: coop access check FOLDER",
        "",
    ]
    return "\n".join(lines).encode()

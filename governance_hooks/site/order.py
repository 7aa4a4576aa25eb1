"""Orders: the operator's signed instruction to a site to run exactly one batch script under an approval."""

from __future__ import annotations

from typing import Annotated, Final, Literal, cast

from pydantic import Field, StringConstraints, model_validator

from governance_hooks.errors import Refused
from governance_hooks.fields import Digest, Instant, SiteName, Slug, Strict
from governance_hooks.register import Register
from governance_hooks.site.document import read_document, sign_document
from governance_hooks.sshsig import PublicKey, Signer
from governance_hooks.statement import OPERATOR, Statement

__all__ = ["TYPE", "Order", "order_of", "read_order", "sign_order"]

TYPE: Final = "coop.order/v1"


class Order(Strict):
    """What a site is to run: the bytes of one batch script, for whom, and how much it may take."""

    site: SiteName
    kind: Literal["train", "eval", "card", "build"]
    run: Slug
    """Name of the run, or of the build."""
    plan: Digest | None
    proposal: Digest | None
    """The run proposal whose approval it uses; like the plan null for a build, which needs consents and no vote."""
    script: Digest
    """Of the batch script, byte for byte."""
    user: Annotated[int, Field(ge=0, lt=2**32)]
    """Whose job it is: the site's user number."""
    nodes: Annotated[int, Field(ge=1)]
    devices: Annotated[int, Field(ge=0)]
    """All together; 0 for a job on processors alone."""
    minutes: Annotated[int, Field(ge=1)]
    array: Annotated[str, StringConstraints(pattern=r"^(1-[1-9][0-9]{0,3}%1|0-[0-9]{1,4}(%[1-9][0-9]{0,3})?)$")] | None
    """In SLURM's words: a chain of starts, one after the other (1-3%1), or the tasks of a build, any number at a time (0-6); null for a single job."""
    expires: Instant

    @model_validator(mode="after")
    def _plan_fits_kind(self) -> Order:
        if (self.kind == "build") != (self.plan is None) or (self.plan is None) != (self.proposal is None):
            raise ValueError("train, eval and card name a plan and its approval, a build neither")
        if self.array is not None and (self.kind == "build") != self.array.startswith("0"):
            raise ValueError("an array is a chain (1-3%1), a build's the numbers of its tasks (0-6)")
        return self


def sign_order(order: Order, *, coop: str, key: Signer, issued: str | None = None) -> bytes:
    """Return an order signed with the operator's key."""
    return sign_document(TYPE, order, coop=coop, author=OPERATOR, key=key, issued=issued)


def read_order(data: bytes, register: Register, *, at: str) -> Statement:
    """Return an order, its `id` being what jobs name it by.

    Raises:
        Refused, BadInput: not of its form, of another cooperative, not signed by the operator in force alone, for an unknown or retired site, or expired.
    """
    statement = read_document(data, {TYPE: Order}, source="this order")
    if statement.coop != register.coop:
        raise Refused("this order is of another cooperative", value=statement.coop, allowed=register.coop)
    if statement.author != OPERATOR or statement.signers != {register.operator}:
        raise Refused("this order is not signed by the operator's key alone", allowed=PublicKey.from_raw(register.operator).fingerprint)
    order = order_of(statement)
    site = register.sites.get(order.site)
    if site is None or site.key is None:
        raise Refused(
            "this order is for no site of the cooperative", value=order.site, allowed=", ".join(register.sites) or "none is known yet", next="coop site add"
        )
    if at >= order.expires:
        raise Refused("this order has expired", value=at, allowed=f"before {order.expires}", next="coop submit again")
    return statement


def order_of(statement: Statement) -> Order:
    """Return what an order says."""
    return cast(Order, statement.payload)

"""What is known of a run whose loop keeps no run record: the hooks' own word on how it ended."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from governance_hooks.fields import Digest, Instant, Slug, Strict

__all__ = ["RunOutline"]


class RunOutline(Strict):
    """`run.json` as the end-of-run hook writes it for a loop of transformers, Accelerate or nobody's."""

    format: Literal["coop.run-outline/v1"]
    run: Slug
    coop: Digest
    plan: Digest
    proposal: Digest | None
    status: Literal["completed", "halted", "failed"]
    reason: Annotated[str, StringConstraints(max_length=1000)] | None
    steps: Annotated[int, Field(ge=0)] | None
    unreleasable: Annotated[str, StringConstraints(max_length=1000)] | None
    ended: Instant

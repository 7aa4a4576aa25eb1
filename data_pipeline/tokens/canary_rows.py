"""Canaries as rows of an artefact: made again from a secret seed, trained on beside the members' rows and never counted among them."""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path

from data_pipeline.reader import Row
from governance_hooks.canaries import PREFIX, SEED_BYTES, canaries, commitment
from governance_hooks.errors import BadInput, CoopError
from governance_hooks.plan import CANARY_LANGUAGE, Canaries

__all__ = ["canary_rows", "canary_words", "check_member_row", "create_seed", "sealed"]


def create_seed(path: Path) -> None:
    """Write 32 random bytes that only the owner may read; a seed that is there is kept (CoopError if the disk refuses)."""
    if path.exists():
        return
    temporary: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent)  # of mode 0600
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(SEED_BYTES))
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)  # unlike a rename it replaces nothing
    except FileExistsError:  # another process was first
        pass
    except OSError as error:
        raise CoopError(f"cannot write {path}: {error.strerror or error}", next="free space, then run the same command again") from error
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def sealed(count: int, seed: Path) -> Canaries | None:
    """Return what a plan says about so many canaries of a seed file, or None for none; raise BadInput if the file is missing or no seed."""
    return Canaries(count=count, commitment=commitment(_read(seed, "the canaries of this config"))) if count else None


def canary_rows(wanted: Canaries | None, seed: Path | None) -> list[Row]:
    """Return the included canaries as rows without an author, in the order of their ids.

    Raises:
        BadInput: the seed is missing, or is not the one committed to; names the commitment and where the seed was looked for.
    """
    if wanted is None:
        return []
    what = f"canaries of commitment {wanted.commitment}"
    if seed is None:
        raise BadInput(f"the {what} need their secret seed", value="no file was named", next="run this where the plan was made")
    secret = _read(seed, what)
    if commitment(secret) != wanted.commitment:
        raise BadInput(f"{seed} is not the seed of the plan's canaries", value=commitment(secret), allowed=wanted.commitment, next="restore the plan's seed")
    return [Row(one.canary, one.inputs, one.targets, CANARY_LANGUAGE, ()) for one in canaries(secret, wanted.count) if one.included]


def _read(seed: Path, what: str) -> bytes:
    try:
        with seed.open("rb") as file:
            found = file.read(SEED_BYTES + 1)
    except OSError as error:
        raise BadInput(
            f"the seed of {what} is not at {seed}: {error.strerror}", next="coop plan CONFIG makes one for a new plan; of a voted one, restore the file"
        ) from error
    if len(found) != SEED_BYTES:
        raise BadInput(f"{seed} is no canary seed", value=f"{len(found)} bytes or more", allowed=f"{SEED_BYTES} random bytes", next="restore the file")
    return found


def check_member_row(record: str, language: str, wanted: Canaries | None) -> None:
    """Raise BadInput for a row of a build that could be taken for a canary, and so escape the trace of the run."""
    if language == CANARY_LANGUAGE or (wanted is not None and record.startswith(PREFIX)):
        raise BadInput(
            "a member's row calls itself a canary",
            value=record,
            allowed=f"ids that do not begin with {PREFIX}",
            next="build again without it, or plan without canaries",
        )


def canary_words(wanted: Canaries) -> str:
    """Return in plain words what members vote on."""
    return (
        f"Canaries: {wanted.count} lines of random syllables that no member wrote. A secret coin puts about half of them into training, so that it can be "
        f"tested later how much the weights give away. Whoever holds the seed knows which. Commitment: {wanted.commitment}"
    )

"""The card of a run in the cooperative's own folder: members' words and the release before are put beside the run, then all pages are rendered."""

from __future__ import annotations

from pathlib import Path

from commonweights.card_statements import write_statements
from commonweights.end_of_run import no_record, write_card
from commonweights.run_inputs import find_build
from commonweights.workspace import Workspace
from governance_hooks.atomic import write_bytes
from governance_hooks.canonical import sha256
from governance_hooks.errors import BadInput
from governance_hooks.plan import read_plan

__all__ = ["emit_card", "prepare_card"]


def _put_previous(space: Workspace, run: str) -> None:
    """Put the newest release of the log that is not of this run, and whose folder is here, beside the run."""
    register, folder = space.coop.register, space.run(run) / "previous"
    if folder.is_symlink():
        raise BadInput(f"{folder} is a link", next="remove it")
    out = {digest: position for other in register.runs.values() if other.id != run for digest, position in other.releases.items()}
    found = []
    for path in sorted((space.root / "releases").glob("*/release.json")):
        digest = sha256(path.read_bytes())
        if digest in out and (path.parent / "card.json").is_file():
            found.append((out[digest], path.parent))
    if not found:
        return
    newest = max(found)[1]
    for name in ("release.json", "card.json"):
        write_bytes(folder / name, (newest / name).read_bytes())


def prepare_card(space: Workspace, run: str) -> list[str]:
    """Put members' words and the release before beside a run; return the ids of statements whose text is not in this folder."""
    missing = write_statements(space, run)
    _put_previous(space, run)
    return missing


def emit_card(space: Workspace, run: str) -> Path:
    """Render the card of a run and all pages made of it; return where they are.

    Raises:
        BadInput: the run has no record yet, or a record is not its own.
    """
    folder = space.run(run)
    if not (folder / "run.json").is_file():
        raise no_record(space, run)
    prepare_card(space, run)
    return write_card(space.coop.register, run, folder, find_build(space, read_plan((folder / "plan.json").read_bytes())))

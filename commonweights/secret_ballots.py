"""What the verbs of `coop secret` share: the settings of a new poll, and the statement everybody with a part in it signs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from commonweights import drafts

if TYPE_CHECKING:
    from commonweights.workspace import Workspace
    from governance_hooks.secret.settings import Settings
    from governance_hooks.secret.tool import Tool
    from governance_hooks.sshsig import Signer

__all__ = ["RESULT", "STATEMENT", "ended", "new_settings", "opened_poll", "sign_part"]

STATEMENT, RESULT = "poll-statement.json", "result-statement.json"


def opened_poll(space: Workspace, folder: Path) -> str | None:
    """Return the poll's id if its statement is in the log already."""
    setup = drafts.read_body(folder / STATEMENT)["payload"]["setup"]
    return next((poll.id for poll in space.coop.register.secret_polls.values() if poll.events[0][1] == setup), None)


def ended(space: Workspace, folder: Path) -> bool:
    """Tell whether the encrypted count of an open poll is anchored in the log."""
    poll = space.coop.register.secret_polls[opened_poll(space, folder) or ""]
    return any(kind == "EncryptedTally" for kind, _ in poll.events)


def new_settings(space: Workspace, tool: Tool, question: str, answers: tuple[str, ...], options: dict[str, Any]) -> Settings:
    """Return the settings of a new poll from the command line; raise BadInput for what is missing or cannot be."""
    from pydantic import ValidationError

    from governance_hooks.canonical import sha256
    from governance_hooks.errors import BadInput
    from governance_hooks.secret.ceremony import new_uuid
    from governance_hooks.secret.settings import Settings
    from governance_hooks.statement import shift

    missing = [f"--{name}" for name in ("subject", "threshold", "authority") if options[name] is None] + ([] if options["trustees"] else ["--trustee"])
    if missing:
        raise BadInput("a new poll needs more", value=missing, next="coop secret setup --help")
    register = space.coop.register
    try:
        return Settings(
            coop=register.coop,
            uuid=new_uuid(tool),
            subject=sha256(options["subject"].read_bytes()),
            question=question,
            answers=list(answers or ("yes", "no", "abstain")),
            roll=register.active(),
            credential_authority=options["authority"],
            trustees=list(options["trustees"]),
            threshold=options["threshold"],
            minimum_ballots=options["minimum_ballots"] or register.bylaws.secret_minimum_ballots,
            closes=shift(space.coop.clock(), options["period_s"]),
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise BadInput(f"{'.'.join(map(str, first['loc'])) or 'the poll'}: {first['msg']}", value=first.get("input")) from error


def sign_part(space: Workspace, folder: Path, private: Path, member: str, own: Signer, tool: Tool) -> str:
    """Check the drafted statement as a trustee or the credential authority, sign exactly what was checked, and return the signature's file.

    Raises:
        Refused: it is not the statement of this folder's poll, or this member's part is not in it.
    """
    from governance_hooks.atomic import write_bytes
    from governance_hooks.canonical import dumps
    from governance_hooks.secret.ceremony import check_part
    from governance_hooks.secret.settings import PollFolder

    path = folder / STATEMENT
    body = drafts.read_body(path)
    check_part(PollFolder(folder), private, member, space.coop.register.coop, body, tool)
    target = path.with_name(f"{path.name}.{own.public.raw.hex()[:8]}.sig")
    write_bytes(target, own.sign(dumps(body)).encode())
    return target.name

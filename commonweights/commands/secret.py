"""`coop secret`: secret ballots by Belenios; every role's steps, with files between them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from commonweights import drafts
from commonweights.cli import Session
from commonweights.options import key_option
from commonweights.secret_ballots import RESULT, STATEMENT, ended, new_settings, opened_poll, sign_part
from commonweights.table import finish
from commonweights.workspace import load_key, member_of, open_workspace

if TYPE_CHECKING:
    from governance_hooks.secret.settings import PollFolder

__all__ = ["secret"]

folder_argument = click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
private_option = click.option("--private", type=click.Path(path_type=Path, file_okay=False), required=True, help="Your own folder, where your secrets stay.")


def _poll(folder: Path) -> PollFolder:
    from governance_hooks.secret.settings import PollFolder

    return PollFolder(folder)


@click.group()
def secret() -> None:
    """Secret ballots (Belenios): advice to the cooperative, never the approval of a run or a release.

    \b
    operator               coop secret setup FOLDER ...   again and again, until the poll is open
    each trustee           coop secret trustee FOLDER     again and again: key, signature, decryption
    credential authority   coop secret credentials FOLDER
    voter                  coop secret ballot FOLDER --credential FILE --choice ANSWER
    operator               coop secret add, close, tally
    everybody              coop secret audit FOLDER/UUID.bel

    FOLDER is public: roles on other machines copy it to and fro. Each role's --private folder never leaves its machine.
    """


@secret.command()
@folder_argument
@click.option("--question", help="What is asked; printed on every ballot.")
@click.option("--answer", "answers", multiple=True, help="An answer; give it several times [default: yes, no, abstain].")
@click.option(
    "--subject", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="The document the question is about; its digest goes into the log."
)
@click.option("--trustee", "trustees", multiple=True, help="A member who holds a share of the key; give it several times.")
@click.option("--threshold", type=int, help="So many trustees together decrypt.")
@click.option("--authority", help="The member who makes the credentials; no trustee.")
@click.option("--period", "period_s", type=int, default=7 * 86_400, show_default=True, help="How long members can vote, seconds from now.")
@click.option("--minimum-ballots", type=int, help="With fewer voters nothing is decrypted [default: the bylaws' minimum].")
@click.pass_obj
def setup(session: Session, /, folder: Path, question: str | None, answers: tuple[str, ...], **options: Any) -> None:
    """Set up a poll (operator): with --question a new one; without, go on with what the others have put into FOLDER."""
    from governance_hooks.secret.archive import read_archive
    from governance_hooks.secret.ceremony import advance, poll_payload
    from governance_hooks.secret.tool import Tool
    from governance_hooks.sshsig import load_private_key
    from governance_hooks.statement import body

    tool, poll = Tool.find(), _poll(folder)
    with open_workspace(session.folder) as space:
        if question is not None:
            poll.write_settings(new_settings(space, tool, question, answers, options))
        settings = poll.settings()
        waiting = advance(poll, tool)
        if waiting is None and not poll.has(STATEMENT):
            archive = read_archive(poll.archive().read_bytes())
            drafts.write_draft(
                folder / STATEMENT,
                body("coop.secret-poll/v1", poll_payload(settings, archive), coop=space.coop.register.coop, author=settings.credential_authority),
            )
            drafts.add_signature(folder / STATEMENT, load_private_key(space.coop.paths.operator_key))
        if waiting is None:
            signed = len(drafts.signatures(folder / STATEMENT))
            needed = len(settings.trustees) + 2
            waiting = None if signed >= needed else f"signatures of trustees and credential authority: {signed} of {needed} are there"
        opened = None
        if waiting is None:
            opened = opened_poll(space, folder) or drafts.finish(space.coop, folder / STATEMENT).id
    text = (
        f"waiting for: {waiting}"
        if waiting
        else f"poll {opened} is open until {settings.closes}\nnext: coop secret ballot {folder} --credential FILE --choice ANSWER"
    )
    session.show({"poll": opened, "waiting": waiting, "closes": settings.closes}, text)


@secret.command()
@folder_argument
@private_option
@key_option
@click.pass_obj
def trustee(session: Session, folder: Path, private: Path, key: Path | None) -> None:
    """Do your next step as a trustee: make your share, check and sign the poll, or decrypt the count.

    Before it signs, it rehearses a decryption; before it decrypts, it audits the whole archive against the log.
    """
    from governance_hooks.secret.ceremony import trustee_turn
    from governance_hooks.secret.election import decrypt
    from governance_hooks.secret.tool import Tool

    tool, poll, own = Tool.find(), _poll(folder), load_key(key)
    with open_workspace(session.folder, read_only=True) as space:
        member = member_of(space.coop, own)
        number = poll.settings().number(member)
        done = trustee_turn(poll, private, number, tool)
        if done is None and poll.has(STATEMENT):
            if opened_poll(space, folder) is None:
                done = sign_part(space, folder, private, member, own, tool)
            elif not poll.has(f"decryption/{number}.json") and ended(space, folder):
                decrypt(poll, private, number, space.coop, tool)
                done = f"decryption/{number}.json"
    session.show({"trustee": number, "wrote": done}, f"trustee {number}: " + (f"wrote {done}; give it to the operator" if done else "nothing to do yet"))


@secret.command()
@folder_argument
@private_option
@key_option
@click.pass_obj
def credentials(session: Session, folder: Path, private: Path, key: Path | None) -> None:
    """Make the credentials (credential authority), and later check and sign the poll.

    PRIVATE gets one file a member: hand each over in person or by a channel the operator does not read, then delete them.
    """
    from governance_hooks.errors import BadInput
    from governance_hooks.secret.ceremony import make_credentials
    from governance_hooks.secret.tool import Tool

    tool, poll, own = Tool.find(), _poll(folder), load_key(key)
    settings = poll.settings()
    with open_workspace(session.folder, read_only=True) as space:
        member = member_of(space.coop, own)
        if member != settings.credential_authority:
            raise BadInput("you are not the credential authority of this poll", value=member, allowed=settings.credential_authority)
        done = None
        if not poll.has("public_credentials.json"):
            make_credentials(poll, private, tool)
            done = "public_credentials.json"
        elif poll.has(STATEMENT) and opened_poll(space, folder) is None:
            done = sign_part(space, folder, private, member, own, tool)
    session.show({"credentials": len(settings.roll), "wrote": done}, f"wrote {done}; give it to the operator" if done else "nothing to do yet")


@secret.command()
@folder_argument
@click.option("--credential", type=click.Path(path_type=Path, exists=True, dir_okay=False), required=True, help="The file the credential authority gave you.")
@click.option("--choice", required=True, help="One of the poll's answers.")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), default=Path("ballot.json"), show_default=True, help="Where to write the encrypted ballot."
)
@click.pass_obj
def ballot(session: Session, folder: Path, credential: Path, choice: str, out: Path) -> None:
    """Encrypt your vote on your own machine. Send the file to the operator; keep the tracking number."""
    from governance_hooks.atomic import write_bytes
    from governance_hooks.canonical import sha256
    from governance_hooks.secret.election import make_ballot, read_file
    from governance_hooks.secret.tool import Tool

    with open_workspace(session.folder, read_only=True) as space:
        data = make_ballot(_poll(folder), space.coop.register, read_file(credential, 4096), choice, Tool.find())
    write_bytes(out, data, mode=0o600)
    tracker = sha256(data.strip())
    session.show(
        {"ballot": str(out), "tracker": tracker},
        f"{out}: send it to the operator\ntracking number {tracker}\ncheck it later: coop secret audit ARCHIVE --tracker {tracker}",
    )


@secret.command()
@folder_argument
@click.argument("ballot_file", metavar="BALLOT", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.pass_obj
def add(session: Session, folder: Path, ballot_file: Path) -> None:
    """Check a ballot on a scratch copy, anchor it in the log, and put it into the box (operator)."""
    from governance_hooks.secret.election import MAX_BALLOT, Box, read_file
    from governance_hooks.secret.tool import Tool

    with open_workspace(session.folder) as space:
        box = Box(_poll(folder), space.coop, Tool.find())
        tracker = box.add(read_file(ballot_file, MAX_BALLOT + 2))
        count = len(box.archive.of("Ballot"))
    session.show({"tracker": f"sha256:{tracker}", "ballots": count}, f"ballot {count} is in: sha256:{tracker}")


@secret.command()
@folder_argument
@click.pass_obj
def close(session: Session, folder: Path) -> None:
    """End a poll whose time is over and add up the ballots, still encrypted (operator)."""
    from governance_hooks.secret.election import Box
    from governance_hooks.secret.tool import Tool

    with open_workspace(session.folder) as space:
        box = Box(_poll(folder), space.coop, Tool.find())
        box.close()
        ballots, needed = len(box.archive.of("Ballot")), box.poll.threshold
    session.show({"ballots": ballots, "threshold": needed}, f"{ballots} ballots are in and added up; next: {needed} trustees run coop secret trustee {folder}")


@secret.command()
@folder_argument
@click.pass_obj
def tally(session: Session, folder: Path) -> None:
    """Combine the trustees' decryptions, audit the archive, and draft the result for the registrars to sign (operator)."""
    from governance_hooks.canonical import sha256
    from governance_hooks.secret.auditor import audit_secret
    from governance_hooks.secret.election import Box
    from governance_hooks.secret.tool import Tool
    from governance_hooks.statement import body

    tool, poll = Tool.find(), _poll(folder)
    with open_workspace(session.folder) as space:
        box = Box(poll, space.coop, tool)
        counts = box.count()
        register = space.coop.register
        if counts is not None:
            audit_secret(box.data, register, tool).require()
            if not poll.has(RESULT):
                payload = {"poll": box.poll.id, "counts": counts, "archive": sha256(box.data)}
                drafts.write_draft(folder / RESULT, body("coop.secret-result/v1", payload, coop=register.coop, author=register.bylaws.registrars[0]))
        missing = poll.missing("decryption", len(box.poll.trustees))
        answers = poll.settings().answers
    if counts is None:
        session.show({"counts": None, "missing": missing}, f"waiting for decryptions; none of trustee {', '.join(map(str, missing))} is there")
        return
    text = "\n".join(f"  {count:>6}  {answer}" for answer, count in zip(answers, counts, strict=True))
    text += f"\nnext: {register.bylaws.registrars_required} registrars run  coop secret audit {box.path}  and  coop sign {folder / RESULT}\nthen: coop append {folder / RESULT}"
    session.show({"counts": dict(zip(answers, counts, strict=True)), "draft": str(folder / RESULT)}, text)


@secret.command()
@click.argument("archive", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--proof",
    "proof_file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A proof of the log (coop proof) instead of a cooperative's folder.",
)
@click.option("--pin", help="With --proof: digest of the founding statement of the cooperative you trust (sha256:...).")
@click.option("--tracker", help="Tracking number of your ballot: also check that it is in and is your last.")
@click.pass_obj
def audit(session: Session, archive: Path, proof_file: Path | None, pin: str | None, tracker: str | None) -> None:
    """Replay an archive against the log: order, anchors, credentials, duplicates, count, and Belenios' own proofs."""
    from governance_hooks.errors import BadInput
    from governance_hooks.proof import read_proof
    from governance_hooks.secret.auditor import audit_secret
    from governance_hooks.secret.election import read_file
    from governance_hooks.secret.tool import Tool

    data = read_file(archive)
    try:
        tool = Tool.find()
    except BadInput as error:
        tool = None
        click.echo(f"note: {error.what}", err=True)
    if proof_file:
        register = read_proof(proof_file.read_bytes()).replay(pin).register
    else:
        with open_workspace(session.folder, read_only=True) as space:
            register = space.coop.register
    finish(session, audit_secret(data, register, tool, tracker=tracker), good="The poll holds.", bad="The poll does NOT hold.")

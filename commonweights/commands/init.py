"""`coop init`: found a cooperative."""

from __future__ import annotations

from pathlib import Path

import click
from sqlalchemy.engine import URL

from commonweights import drafts
from commonweights.cli import Session
from commonweights.founding import default_bylaws, found, founding_body, new_member_id, operator_keys
from commonweights.workspace import load_key
from governance_hooks.bylaws import Bylaws
from governance_hooks.database import parse_url
from governance_hooks.errors import BadInput
from governance_hooks.sshsig import load_public_key
from governance_hooks.statement import sign

__all__ = ["init"]


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--name", required=True, help="Short name, lower-case letters, digits and dashes.")
@click.option("--founder", "founders", multiple=True, type=click.Path(path_type=Path), help="A founder's OpenSSH ed25519 key: private to sign here, or .pub.")
@click.option(
    "--bylaws",
    "bylaws_file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Bylaws as YAML; member ids are written @1, @2 in founders' order.",
)
@click.option("--period", "period_s", default=86_400, show_default=True, help="Minimum voting period of the default bylaws, seconds.")
@click.option("--log-url", help="Keep the log in PostgreSQL: postgresql://USER@HOST/DATABASE. A password goes into COOP_LOG_URL or ~/.pgpass.")
@click.pass_obj
def init(session: Session, folder: Path, name: str, founders: tuple[Path, ...], bylaws_file: Path | None, period_s: int, log_url: str | None) -> None:
    """Found a cooperative in FOLDER.

    Everybody who founds it signs the first statement. With private keys that happens at once. With .pub files a draft
    is written; each founder signs it (`coop sign FOLDER/founding.json`, or ssh-keygen), then run the same command again.

    \b
    coop init grain --name grain --founder ~/.ssh/id_ed25519 --founder anna.key
    """
    log = _log_url(log_url) if log_url else None
    draft = folder / "founding.json"
    log_key, operator = operator_keys(folder, name)
    if draft.is_file():
        made = drafts.read_body(draft)
        signed = drafts.signatures(draft)
    else:
        if not founders:
            raise BadInput("a cooperative needs founders", next="give each with --founder KEY")
        keys = {new_member_id(): path for path in founders}
        public = {member: load_public_key(path) if path.suffix == ".pub" else load_key(path).public for member, path in keys.items()}
        made = founding_body(name, log_key, operator, public, _bylaws(bylaws_file, list(keys), period_s))
        waiting = [path for path in founders if path.suffix == ".pub"]
        signed = [sign(made, load_key(path)) for path in founders if path.suffix != ".pub"]
        if waiting:
            drafts.write_draft(draft, made)
            for path in founders:
                if path.suffix != ".pub":
                    drafts.add_signature(draft, load_key(path))
            lines = [f"drafted {draft}; it still needs the signatures of:", *(f"  {path}" for path in waiting)]
            lines += [f"each runs:  ssh-keygen -Y sign -n coop-statement@v1 -f THEIR_KEY {draft}", "then run this command again"]
            session.show({"draft": str(draft), "waiting": [str(path) for path in waiting]}, "\n".join(lines))
            return
    identity = found(folder, made, log_key, operator, signed, log=log)
    members = [founder["member"] for founder in made["payload"]["founders"]]
    text = f"founded {name} in {folder}\n  identity  {identity}\n  members   {', '.join(members)}\nGive the identity to everybody who will verify: coop verify DIR --pin {identity}"
    session.show({"coop": identity, "name": name, "folder": str(folder), "members": members}, text)


def _log_url(text: str) -> URL:
    url = parse_url(text)
    if url.password:
        raise BadInput("a password on the command line is seen by everybody on this machine", next="put the URL with it into COOP_LOG_URL, without --log-url")
    return url


def _bylaws(path: Path | None, members: list[str], period_s: int) -> Bylaws:
    if path is None:
        return default_bylaws(members, period_s=period_s)
    import yaml
    from pydantic import ValidationError

    from governance_hooks.plan import explain_validation

    text = path.read_text(encoding="utf-8")
    for number in range(len(members), 0, -1):
        text = text.replace(f"@{number}", members[number - 1])
    try:
        return Bylaws.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise BadInput(f"{path} is not YAML: {error}") from error
    except ValidationError as error:
        raise explain_validation(error, Bylaws, str(path)) from error

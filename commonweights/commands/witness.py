"""`coop witness`: watch the log of another cooperative, cosign its checkpoints, keep evidence of what it should not have signed."""

from __future__ import annotations

from pathlib import Path

import click

from commonweights.cli import Session
from governance_hooks.checkpoint import NoteVerifier
from governance_hooks.errors import BadInput, Refused
from governance_hooks.statement import timestamp

__all__ = ["witness"]

_folder = click.argument("folder", type=click.Path(path_type=Path, file_okay=False))


@click.group()
def witness() -> None:
    """Be a witness of other cooperatives' logs: cosign their checkpoints if they only grow, keep evidence if not.

    \b
    coop witness init DIR --name our.example/witness     once; its verifier key goes into their bylaws
    coop witness trust DIR LOG                           their log: its verifier key, or a proof of theirs
    coop witness serve DIR                               answer over HTTP; or, by files: coop witness cosign DIR FILE
    """


@witness.command()
@_folder
@click.option("--name", required=True, help="Name of the witness: best a domain of yours and a path, without https://.")
@click.option("--key-type", type=click.Choice(["ed25519", "ml-dsa-44"]), default="ed25519", show_default=True, help="ml-dsa-44 withstands quantum computers.")
@click.pass_obj
def init(session: Session, folder: Path, name: str, key_type: str) -> None:
    """Make a witness in FOLDER, with a new key. Never use this key, or this folder, for anything else."""
    from governance_hooks.witness.state import Witness

    made = Witness.create(folder, name, key_type)
    key = made.key.cosigner.text
    session.show({"folder": str(folder), "key": key}, f"{key}\nnext: coop witness trust {folder} LOG; the line above goes into the bylaws of that log")


@witness.command()
@_folder
@click.pass_obj
def show(session: Session, folder: Path) -> None:
    """Print the witness' verifier key, the logs it watches, and how much evidence there is."""
    from governance_hooks.witness.state import Witness

    found = Witness.open(folder)
    rows = []
    for known in found.logs():
        size = known.checkpoint.size if known.checkpoint else None
        rows.append({"log": known.log.text, "size": size, "cosigned": _moment(known.cosigned) if known.cosigned else None})
    kept = sorted(str(path) for path in (folder / "evidence").glob("*"))
    lines = [f"{r['log']}\n  " + (f"{r['size']} entries, cosigned at {r['cosigned']}" if r["cosigned"] else "nothing cosigned yet") for r in rows]
    text = [found.key.cosigner.text, *lines, *(["evidence, see coop witness evidence:", *(f"  {path}" for path in kept)] if kept else [])]
    session.show({"key": found.key.cosigner.text, "logs": rows, "evidence": kept}, "\n".join(text))


@witness.command()
@_folder
@click.argument("log")
@click.pass_obj
def trust(session: Session, folder: Path, log: str) -> None:
    """Watch LOG from now on: its verifier key (see coop log witnesses), or a file with it, or a proof of the cooperative.

    Compare the key with one that members gave you, not only the operator. What the log was before your first cosignature you cannot vouch for.
    """
    from governance_hooks.witness.state import Witness

    verifier, source = _read_log(log)
    Witness.open(folder).trust(verifier)
    session.show({"log": verifier.text, "from": source}, f"watching {verifier.name} from now on ({source})\n  {verifier.text}")


@witness.command()
@_folder
@click.option("--listen", default="127.0.0.1:8790", show_default=True, help="HOST:PORT; port 0 takes a free one.")
@click.option("--quiet", is_flag=True, help="Do not print a line a request.")
@click.pass_obj
def serve(session: Session, folder: Path, listen: str, quiet: bool) -> None:
    """Answer logs over HTTP (C2SP tlog-witness) until stopped. For the internet, put a web server with TLS before it."""
    from governance_hooks.witness.server import WitnessServer
    from governance_hooks.witness.state import Witness

    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65_535:
        raise BadInput("not an address to listen at", value=listen, allowed="HOST:PORT, such as 127.0.0.1:8790")
    found = Witness.open(folder)
    found.logs()  # a state that does not hold is said now, not to strangers later
    try:
        server = WitnessServer((host, int(port)), found, None if quiet else lambda line: click.echo(line, err=True))
    except OSError as error:
        raise BadInput(f"cannot listen at {listen}: {error.strerror}", next="choose another --listen") from error
    with server:
        url = f"http://{host}:{server.server_port}"
        session.show({"name": found.key.name, "url": url}, f"{found.key.name} answers at {url}; Ctrl-C stops it")
        server.serve_forever()


@witness.command()
@_folder
@click.argument("request", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="Where the cosigned checkpoint goes; send it back.")
@click.pass_obj
def cosign(session: Session, folder: Path, request: Path, out: Path) -> None:
    """Cosign the REQUEST a cooperative sent as a file (coop log cosign --request), if its log only grew."""
    from governance_hooks.atomic import write_bytes
    from governance_hooks.witness.protocol import MAX_REQUEST
    from governance_hooks.witness.state import Witness

    with request.open("rb") as file:
        data = file.read(MAX_REQUEST + 1)
    answer = Witness.open(folder).add_checkpoint(data)
    if answer.size is not None:
        next_ = f"tell the operator: coop log cosign --witness NAME --request FILE --old {answer.size}"
        raise Refused(f"this witness has cosigned {answer.size} entries of this log, and the request starts from another size", next=next_)
    if answer.status != 200:
        raise Refused(f"not cosigned: {answer.body.strip()}", next=f"coop witness show {folder}, and whether there is evidence")
    text = data.decode().partition("\n\n")[2].partition("\n\n")[0] + "\n\n" + answer.body
    write_bytes(out, text.encode())
    session.show({"answer": str(out)}, f"{out}: send it back; they run: coop log cosign --answer {out.name}")


@witness.command()
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option("--log", help="The log it must be about: its verifier key, a file with it, or a proof of the cooperative.")
@click.pass_obj
def evidence(session: Session, folders: tuple[Path, ...], log: str | None) -> None:
    """Check FOLDERS of evidence, or folders of them, and say who signed what. Exit code 1 if one of them proves nothing."""
    from governance_hooks.witness.evidence import Evidence

    expected = _read_log(log)[0] if log else None
    places = [place for folder in folders for place in ([folder] if (folder / "log.vkey").is_file() else sorted(p.parent for p in folder.glob("*/log.vkey")))]
    if not places:
        raise BadInput("there is no evidence", value=str(folders[0]), allowed="a folder with log.vkey and two .checkpoint files, or a folder of such")
    rows = []
    for place in places:
        found = Evidence.read(place)
        if expected is not None and found.log != expected:
            raise Refused(f"{place} is about another log", value=found.log.text, allowed=expected.text)
        verdict = found.judge()
        rows.append({"folder": str(place), "log": found.log.text, "kind": verdict.kind, "proven": verdict.proven, "words": verdict.words})
    hint = "" if expected else "\nThe keys are those the evidence names: compare them with the log you know, or give it with --log."
    session.show({"evidence": rows}, "\n".join(f"{r['folder']}\n  {r['words']}" for r in rows) + hint)
    if not all(row["proven"] for row in rows):
        raise click.exceptions.Exit(1)


def _read_log(given: str) -> tuple[NoteVerifier, str]:
    """Return a log's key, given as text, as a file with that text, or as a proof; and where it is from."""
    from governance_hooks.proof import read_proof

    if "+" in given and not Path(given).is_file():
        return NoteVerifier.parse(given.strip()), "the key you gave"
    try:
        data = Path(given).read_bytes()
    except OSError as error:
        raise BadInput(f"cannot read {given}: {error.strerror}", allowed="a verifier key name+id+base64, a file with it, or a proof") from error
    if data.startswith(b"\x1f\x8b"):  # gzip
        register = read_proof(data).fold(1)
        return register.log_key, f"the founding statement {register.coop}: compare it with the pin you know"
    return NoteVerifier.parse(data[:4096].decode("utf-8", "replace").strip()), f"the file {given}"


def _moment(second: int) -> str:
    from datetime import UTC, datetime

    return timestamp(datetime.fromtimestamp(second, UTC))

"""The ceremony before a secret poll: trustees make a shared key, the credential authority makes credentials, the operator puts them together.

```
operator   poll.json ──────────► certs.jsons ─────────► vinput/i ──────► threshold.json ──► UUID.bel, poll-statement.json
trustee i        certs/i ──► ─┘    polynomials/i ──► ─┘   voutput/i ──► ─┘                    └─► checked, rehearsed, signed
credential authority                       public_credentials.json (one a member) ──────────► ─┘  └─► checked, signed
```

Each call does what can be done with the files that are there, and says what it waits for. All cryptography is belenios-tool's
(setup generate-trustee-key-threshold, steps 1 to 6; setup generate-credentials).
"""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Any

from governance_hooks.atomic import write_bytes
from governance_hooks.canonical import digest, sha256
from governance_hooks.errors import BadInput, Refused
from governance_hooks.secret.archive import Archive, read_archive, strict_json
from governance_hooks.secret.settings import PollFolder, Settings
from governance_hooks.secret.tool import GROUP, Tool, scratch
from governance_hooks.tally import roll_root

__all__ = ["advance", "check_part", "make_credentials", "new_uuid", "poll_payload", "private_key", "trustee_turn"]

_STEP = ("setup", "generate-trustee-key-threshold", "--group", GROUP, "--step")


def new_uuid(tool: Tool) -> str:
    """Return the identifier of a new election."""
    with scratch({}) as folder:
        return tool.output("setup", "generate-token", folder=folder).decode().strip()


def advance(folder: PollFolder, tool: Tool) -> str | None:
    """Do the operator's next steps; return what is waited for, or None when the archive stands."""
    settings = folder.settings()
    trustees = len(settings.trustees)
    if folder.archive().is_file():
        return None
    for kind, made, step in (
        ("certs", "certs.jsons", _certificates),
        ("polynomials", "polynomials.jsons", _polynomials),
        ("voutput", "threshold.json", _threshold),
    ):
        if not folder.has(made):
            missing = folder.missing(kind, trustees)
            if missing:
                return f"{kind} of trustee {', '.join(map(str, missing))}"
            step(folder, tool, folder.all_of(kind, trustees))
    if not folder.has("public_credentials.json"):
        return "public_credentials.json of the credential authority"
    _election(folder, settings, tool)
    return None


def _certificates(folder: PollFolder, tool: Tool, certs: bytes) -> None:
    with scratch({"certs.jsons": certs}) as at:
        tool.output(*_STEP, "2", "--certs", "certs.jsons", folder=at)
    folder.write("certs.jsons", certs)


def _polynomials(folder: PollFolder, tool: Tool, polynomials: bytes) -> None:
    settings, certs = folder.settings(), folder.read("certs.jsons")
    with scratch({"certs.jsons": certs, "polynomials.jsons": polynomials}) as at:
        tool.output(*_STEP, "4", "--certs", "certs.jsons", "--polynomials", "polynomials.jsons", folder=at)
        for number, name in enumerate(_identifiers(certs, settings), start=1):
            folder.write(f"vinput/{number}.json", (at / f"{name}.vinput").read_bytes())
    folder.write("polynomials.jsons", polynomials)


def _threshold(folder: PollFolder, tool: Tool, voutputs: bytes) -> None:
    settings, certs = folder.settings(), folder.read("certs.jsons")
    with scratch({"certs.jsons": certs, "polynomials.jsons": folder.read("polynomials.jsons")}) as at:
        made = tool.output(*_STEP, "6", "--certs", "certs.jsons", "--polynomials", "polynomials.jsons", folder=at, stdin=voutputs)
        for number, name in enumerate(_identifiers(certs, settings), start=1):
            folder.write(f"dkey/{number}.json", (at / f"{name}.dkey").read_bytes())
    folder.write("threshold.json", made)


def _identifiers(certs: bytes, settings: Settings) -> list[str]:
    """Return the tool's names of the trustees: the SHA-256 of each certificate's message."""
    names = [sha256(strict_json(line)["message"].encode()).removeprefix("sha256:") for line in certs.splitlines()]
    if len(names) != len(settings.trustees):
        raise Refused("there is not one certificate a trustee", value=len(names), allowed=str(len(settings.trustees)))
    return names


def _election(folder: PollFolder, settings: Settings, tool: Tool) -> None:
    """Make the election file and the archive with its setup."""
    files = {
        "threshold.json": folder.read("threshold.json"),
        "public_keys.jsons": b"",  # no key of the operator's beside the trustees': its loss would lose the result
        "public_creds.json": folder.read("public_credentials.json"),
        "template.json": json.dumps(settings.template()).encode(),
    }
    with scratch(files) as at:
        tool.output("setup", "make-trustees", folder=at)
        tool.output("setup", "make-election", "--uuid", settings.uuid, "--group", GROUP, "--template", "template.json", folder=at)
        tool.output("archive", "init", folder=at)
        write_bytes(folder.archive(), (at / f"{settings.uuid}.bel").read_bytes())


def make_credentials(folder: PollFolder, private: Path, tool: Tool) -> None:
    """Make one credential a member of the roll (the credential authority's step): secret ones into `private`, public ones into the folder.

    Which member has which public credential is nowhere written: the secret ones are dealt out by lot, the public ones sorted.
    """
    settings = folder.settings()
    with scratch({}) as at:
        tool.output("setup", "generate-credentials", "--uuid", settings.uuid, "--group", GROUP, "--count", str(len(settings.roll)), folder=at)
        secret_ones = list(strict_json(next(at.glob("*.privcreds")).read_bytes()).values())
        public_ones = strict_json(next(at.glob("*.pubcreds")).read_bytes())
    secrets.SystemRandom().shuffle(secret_ones)
    private.mkdir(parents=True, exist_ok=True, mode=0o700)
    for member, secret in zip(settings.roll, secret_ones, strict=True):
        write_bytes(private / f"{member}.credential", secret.encode() + b"\n", mode=0o600)
    # The tool writes `key,weight,name`; a name, or an order, would tell whose ballot is whose.
    made = json.dumps(sorted(line.split(",")[0] for line in public_ones), separators=(",", ":")).encode()
    write_bytes(private / "public_credentials.json", made, mode=0o600)
    folder.write("public_credentials.json", made)


def trustee_turn(folder: PollFolder, private: Path, number: int, tool: Tool) -> str | None:
    """Do a trustee's next step of the key ceremony; return what it was, or None if it is not their turn.

    Args:
        folder: the poll's public folder.
        private: where this trustee's key stays; nobody else ever needs it.
        number: which trustee, from 1.
        tool: belenios-tool.

    Raises:
        Refused: the certificates changed under the trustee, or the tool found somebody's part wrong.
    """
    settings, context = folder.settings(), f"{number}/{folder.settings().threshold}/{len(folder.settings().trustees)}"
    if not (private / "key").is_file():
        with scratch({}) as at:
            tool.output(*_STEP, "1", "--threshold-context", context, folder=at)
            private.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_bytes(private / "certificate", next(at.glob("*.cert")).read_bytes(), mode=0o600)
            write_bytes(private / "key", next(at.glob("*.key")).read_bytes(), mode=0o600)
    if not folder.has(f"certs/{number}.json"):
        folder.write(f"certs/{number}.json", (private / "certificate").read_bytes())
        return f"certs/{number}.json"
    if folder.has("certs.jsons") and not folder.has(f"polynomials/{number}.json"):
        certs = _own_certificates(folder, private, number, settings)
        with scratch({"certs.jsons": certs, "key": (private / "key").read_bytes()}) as at:
            made = tool.output(*_STEP, "3", "--certs", "certs.jsons", "--threshold-context", context, "--key", "key", folder=at)
        folder.write(f"polynomials/{number}.json", made)
        return f"polynomials/{number}.json"
    if folder.has(f"vinput/{number}.json") and not folder.has(f"voutput/{number}.json"):
        certs = _own_certificates(folder, private, number, settings)
        with scratch({"certs.jsons": certs, "key": (private / "key").read_bytes()}) as at:
            made = tool.output(*_STEP, "5", "--certs", "certs.jsons", "--key", "key", folder=at, stdin=folder.line(f"vinput/{number}.json"))
        folder.write(f"voutput/{number}.json", made)
        return f"voutput/{number}.json"
    return None


def _own_certificates(folder: PollFolder, private: Path, number: int, settings: Settings) -> bytes:
    """Return everybody's certificates, once this trustee's own is among them and they are those of the step before."""
    certs = folder.read("certs.jsons")
    lines = certs.splitlines(keepends=True)
    if len(lines) != len(settings.trustees) or lines[number - 1] != (private / "certificate").read_bytes():
        raise Refused("the operator's list of certificates does not have yours in your place", value=number)
    seen = private / "certificates"
    if seen.is_file() and seen.read_bytes() != certs:
        raise Refused("the operator's list of certificates is not the one you worked with before", next="ask the other trustees, and start a new poll")
    write_bytes(seen, certs, mode=0o600)
    return certs


def poll_payload(settings: Settings, archive: Archive) -> dict[str, Any]:
    """Return the payload of the poll's statement, read from the archive itself."""
    trustees = archive.object(archive.setup["trustees"])
    try:
        certificates = [digest(certificate) for certificate in trustees[0][1]["certs"]]
    except (KeyError, IndexError, TypeError) as error:
        raise Refused("the election's trustees are not those of a threshold key") from error
    if len(certificates) != len(settings.trustees):
        raise Refused("the election has another number of trustees than the poll", value=len(certificates), allowed=str(len(settings.trustees)))
    return {
        "subject": settings.subject,
        "election": f"sha256:{archive.setup['election']}",
        "credentials": f"sha256:{archive.setup['credentials']}",
        "setup": f"sha256:{archive.events[0].digest}",
        "options": len(settings.answers),
        "roll": {"root": roll_root(settings.roll), "members": len(settings.roll)},
        "credential_authority": settings.credential_authority,
        "trustees": [{"member": member, "certificate": one} for member, one in zip(settings.trustees, certificates, strict=True)],
        "threshold": settings.threshold,
        "minimum_ballots": settings.minimum_ballots,
        "closes": settings.closes,
    }


def check_part(folder: PollFolder, private: Path, member: str, coop: str, body: dict[str, Any], tool: Tool) -> None:
    """Check the statement a trustee or the credential authority is asked to sign.

    Args:
        folder: the poll's public folder.
        private: the member's own folder.
        member: who is asked.
        coop: the cooperative's digest, from the member's own copy of the log.
        body: the drafted statement.
        tool: belenios-tool.

    Raises:
        Refused: it is not the statement of this folder's poll, the files are not consistent, or this member's part is not in them.
    """
    settings, payload = folder.settings(), body.get("payload", {})
    if (body.get("type"), body.get("coop"), body.get("author")) != ("coop.secret-poll/v1", coop, settings.credential_authority) or settings.coop != coop:
        raise Refused("this draft is not the statement of a secret poll of this cooperative", value=body.get("type"), allowed="coop.secret-poll/v1")
    data = folder.archive().read_bytes() if folder.archive().is_file() else b""
    archive = read_archive(data)
    election = archive.object(archive.setup["election"])
    if payload != poll_payload(settings, archive) or len(archive.events) != 1 or archive.uuid != settings.uuid:
        raise Refused(
            "the statement is not of this folder's poll as it was set up", next="copy the folder again, and compare poll.json with what members were told"
        )
    if election != election | {
        "description": settings.subject,
        "name": settings.question,
        "group": GROUP,
        "questions": [settings.template()["questions"][0]["value"]],
    }:
        raise Refused("the election file asks something else than the poll's settings", value=str(election.get("questions"))[:160])
    if member == settings.credential_authority:
        if archive.data[archive.setup["credentials"]] != (private / "public_credentials.json").read_bytes():
            raise Refused("the election has other public credentials than you made: somebody else could vote with them")
    else:
        number = settings.number(member)
        own = digest(strict_json((private / "certificate").read_bytes()))
        if payload["trustees"][number - 1]["certificate"] != own:
            raise Refused("the election's key was not made with your certificate", value=number)
        _rehearse(folder, private, number, data, tool)
    with scratch({f"{settings.uuid}.bel": data}) as at:
        tool.output("election", "verify", folder=at)


def _rehearse(folder: PollFolder, private: Path, number: int, data: bytes, tool: Tool) -> None:
    """Decrypt the count of no ballots on a scratch copy: a share that does not open is found before anybody votes."""
    settings = folder.settings()
    files = {f"{settings.uuid}.bel": data, "key": (private / "key").read_bytes(), "dkey": folder.read(f"dkey/{number}.json")}
    with scratch(files) as at:
        tool.output("archive", "add-event", "--type=EndBallots", folder=at)
        tool.output("archive", "add-event", "--type=EncryptedTally", folder=at, stdin=tool.output("election", "compute-encrypted-tally", folder=at))
        tool.output("election", "decrypt-threshold", "--key", "key", "--decryption-key", "dkey", "--trustee-id", str(number), folder=at)


def private_key(private: Path) -> bytes:
    """Return a trustee's secret key; raise BadInput if it is not in `private`."""
    try:
        return (private / "key").read_bytes()
    except OSError as error:
        raise BadInput(f"cannot read {private / 'key'}: {error.strerror}", next="give the folder you used in the ceremony with --private") from error

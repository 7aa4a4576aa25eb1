"""The folder of a site: what the controller, the nodes and the cooperative's writer share, and who may write what in it.

    site.json          what this site is; root or SlurmUser writes it once
    allowed_signers    the site's public key, for `ssh-keygen -Y verify`
    inbox/             anybody may put orders there: each proves itself
    proof.coop         the newest proof that `sync` has verified
    orders/HEX.ok      what job_submit.lua reads; HEX.no says why not, HEX.job which job has used it
    clearance/         signed permissions of starts that go on; ended/ and done/ take what came of them
    outbox/            signed entries on their way to the log
    ledger.jsonl       starts, refusals and ends at this site

The site's private key is not here: only the controller has it.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, StringConstraints, ValidationError

from governance_hooks.atomic import write_bytes
from governance_hooks.canonical import dumps
from governance_hooks.errors import BadInput, CoopError, Refused
from governance_hooks.fields import Digest, SiteKey, SiteName, Strict
from governance_hooks.memory import Memory
from governance_hooks.sshsig import PublicKey, load_private_key
from governance_hooks.statement import MAX_ENTRY
from slurm.outbox import Outbox, read_small

__all__ = ["FOLDERS", "MAX_PROOF", "Delivered", "Site", "SiteFolder", "deliver_proof"]

FOLDERS: Final = ("inbox", "orders", "clearance", "ended", "done", "outbox", "memory")
MAX_PLAN: Final = 16 << 20
MAX_PROOF: Final = 1 << 29
MAX_PROOFS: Final = 16
MAX_ORDERS: Final = 10_000
"""More orders than this are not looked at in one pass: somebody fills the inbox."""
_PROOF: Final = re.compile(r"proof(-[0-9a-f]{16})?\.coop")
_HEX: Final = re.compile(r"[0-9a-f]{64}")
_Path = Annotated[str, StringConstraints(pattern=r"^/[A-Za-z0-9._@+/-]{1,255}$")]
"""An absolute path without anything that a shell or slurm.conf would read otherwise."""
_Partition = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class Site(Strict):
    """What `site.json` says; nothing in it is secret."""

    format: Literal["coop.site-folder/v1"] = "coop.site-folder/v1"
    site: SiteName
    coop: Digest
    """The cooperative's founding statement: all that this site takes on trust."""
    key: SiteKey
    private_key: _Path
    gated: Annotated[list[_Partition], Field(min_length=1)]
    """Partitions in which nothing starts without a vote."""
    slurm_conf: _Path
    hooks: _Path
    """Where the scripts of the prologs are, on the controller and on each node."""
    python: _Path
    """The Python on the controller that commonweights is installed in."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """What lies in the inbox about one order: bytes that nobody has checked."""

    order: bytes
    plan: bytes | None
    build: Path | None
    base: Path | None
    run: Path | None


@dataclass(frozen=True, slots=True)
class SiteFolder:
    """A site's folder, opened."""

    path: Path
    site: Site

    @classmethod
    def open(cls, path: Path) -> SiteFolder:
        """Open a site's folder; raise BadInput if it is none."""
        try:
            return cls(path, Site.model_validate_json(read_small(path / "site.json", MAX_ENTRY)))
        except ValidationError as error:
            raise BadInput(f"{path / 'site.json'}: {error.errors()[0]['msg']}", next="coop slurm install") from error
        except BadInput as error:
            raise BadInput(f"{path} is no folder of a site: {error.what}", next="coop slurm install") from error

    @property
    def memory(self) -> Memory:
        """What this site remembers of the log."""
        return Memory(self.site.coop, self.path / "memory")

    def outbox(self) -> Outbox:
        """Return the outbox with the site's key; raise CoopError where the key cannot be read."""
        key = load_private_key(Path(self.site.private_key))
        if key.public.line != PublicKey.from_line(self.site.key).line:
            raise Refused(f"{self.site.private_key} is not the key of this site", allowed=self.site.key, next="coop slurm install")
        return Outbox(self.path / "outbox", self.site.site, self.site.coop, key)

    def proof(self) -> bytes:
        """Return the newest verified proof."""
        if not (self.path / "proof.coop").exists():
            raise Refused("this site has no proof of the cooperative's log yet", next="coop collect, at the cooperative")
        return read_small(self.path / "proof.coop", MAX_PROOF)

    def delivered_proofs(self) -> list[Path]:
        """Return the proofs in the inbox, the largest first, at most MAX_PROOFS: nobody has checked them."""
        found = [path for path in (self.path / "inbox").glob("proof*.coop") if _PROOF.fullmatch(path.name)]
        return sorted(found, key=lambda path: -path.lstat().st_size)[:MAX_PROOFS]

    def delivered(self, order: str) -> Delivered:
        """Return what lies in the inbox about an order, named by its hexadecimal digits; raise BadInput for what is no plain small file."""
        folder = self.path / "inbox" / order
        if not _there(folder / "order.json"):
            raise Refused(f"order {order[:12]} is not here", next="coop submit")
        plan = read_small(folder / "plan.json", MAX_PLAN) if _there(folder / "plan.json") else None
        places = _places(folder / "places.json") if _there(folder / "places.json") else {}
        return Delivered(read_small(folder / "order.json", MAX_ENTRY), plan, places.get("build"), places.get("base"), places.get("run"))

    def waiting(self) -> list[str]:
        """Return the hexadecimal digits of the orders in the inbox, sorted."""
        try:
            names = sorted(one.name for one in (self.path / "inbox").iterdir() if _HEX.fullmatch(one.name))
        except OSError as error:
            raise CoopError(f"cannot read {self.path / 'inbox'}: {error.strerror}") from error
        if len(names) > MAX_ORDERS:
            raise BadInput("the inbox holds too many orders", value=len(names), allowed=str(MAX_ORDERS), next="remove old ones from the inbox")
        return names

    def used_by(self, order: str) -> int | None:
        """Return the number of the job, or array, that has started under an order."""
        path = self.path / "orders" / f"{order}.job"
        return int(read_small(path, 64)) if path.exists() else None

    def use(self, order: str, job: int) -> None:
        """Note which job an order has started: it serves no other."""
        write_bytes(self.path / "orders" / f"{order}.job", b"%d\n" % job)

    def note(self, event: str, **values: Any) -> None:
        """Append one line to the site's ledger: enumerations, digests and numbers."""
        with (self.path / "ledger.jsonl").open("ab") as file:
            file.write(dumps({"event": event, **values}) + b"\n")


def _there(path: Path) -> bool:
    """Tell whether we may see something there: a folder that its owner closed to us holds nothing, and stops nobody else's order."""
    try:
        path.lstat()
    except OSError:
        return False
    return True


def _places(path: Path) -> dict[str, Path]:
    """Return the absolute paths a file names; they are claims, what lies there is hashed."""
    try:
        value = json.loads(read_small(path, MAX_ENTRY))
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path} is no JSON") from error
    items: Iterable[tuple[str, Any]] = value.items() if isinstance(value, dict) else ()
    return {name: Path(place) for name, place in items if isinstance(place, str) and place.startswith("/") and "\0" not in place}


def deliver_proof(site: Path, data: bytes) -> None:
    """Put a proof into a site's inbox, from where its controller takes it once it has checked it; raise CoopError if nothing can be put there.

    Anybody may write there, and nobody can replace another's file: where the plain name is taken, a name nobody can guess is used.
    """
    try:
        write_bytes(site / "inbox" / "proof.coop", data)
    except CoopError:
        write_bytes(site / "inbox" / f"proof-{secrets.token_hex(8)}.coop", data)

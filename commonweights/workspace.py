"""The layout of a cooperative's folder, and how a command finds it and the member's key."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import URL

from governance_hooks.atomic import write_bytes
from governance_hooks.canonical import sha256
from governance_hooks.checkpoint import read_body
from governance_hooks.cooperative import Cooperative, Paths
from governance_hooks.database import parse_url
from governance_hooks.errors import BadInput, Refused
from governance_hooks.memory import Memory, roots_at
from governance_hooks.register import Register
from governance_hooks.sshsig import KeyElsewhere, Signer, load_private_key, load_public_key

__all__ = ["STORE_URL", "Workspace", "author_of", "find_folder", "load_key", "member_of", "open_workspace"]

STORE_URL = "COOP_STORE_URL"
"""The environment variable that says where the contribution store is, password and all; it goes before the folder's word."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """An open cooperative and the places of its private and public files."""

    coop: Cooperative

    @property
    def root(self) -> Path:
        """The folder."""
        return self.coop.paths.root

    @property
    def contributions(self) -> Path | URL:
        """Where the private, erasable texts are: the URL in COOP_STORE_URL, else the one in `store.url`, else the file `contributions.sqlite`.

        Raises:
            BadInput: there is a URL, and it cannot be read.
        """
        url = os.environ.get(STORE_URL) or (self._store_url.read_text(encoding="utf-8").strip() if self._store_url.is_file() else None)
        return parse_url(url, of="contribution store") if url else self.root / "contributions.sqlite"

    @property
    def _store_url(self) -> Path:
        return self.root / "store.url"

    def remember_store(self) -> None:
        """Keep the URL of COOP_STORE_URL in the folder, without its password: a later command without the variable opens no other store.

        Raises:
            BadInput: the folder's texts are in another store already.
        """
        if not os.environ.get(STORE_URL):
            return
        made = parse_url(os.environ[STORE_URL], of="contribution store")
        url = made._replace(drivername=made.get_backend_name(), password=None).render_as_string()
        known = self._store_url.read_text(encoding="utf-8").strip() if self._store_url.is_file() else None
        there = known or (str(self.root / "contributions.sqlite") if (self.root / "contributions.sqlite").is_file() else None)
        if there not in (None, url):
            raise BadInput(
                f"{STORE_URL} names another store than the one this folder has",
                value=url,
                allowed=str(there),
                next="give your texts to one store: unset the variable, or, if the store has moved, remove the file that names the old one",
            )
        if known != url:
            write_bytes(self._store_url, f"{url}\n".encode())

    @property
    def people(self) -> Path:
        """Private names of members, erasable; never in the log."""
        return self.root / "private" / "people.json"

    @property
    def texts(self) -> Path:
        """Public texts the log names by digest."""
        return self.root / "texts"

    @property
    def suites(self) -> Path:
        """Evaluation suites that no row of a build may hold, JSON lines of item and text."""
        return self.root / "suites"

    @property
    def witnesses(self) -> Path:
        """Addresses of witnesses, by name; the witnesses themselves stand in the bylaws."""
        return self.root / "witnesses.json"

    def build(self, name: str) -> Path:
        """Folder of a dataset build."""
        return self.root / "builds" / name

    def builds(self) -> list[str]:
        """Return the names of the builds that are here."""
        return sorted(path.parent.name for path in self.build("any").parent.glob("[!.]*/manifest.json"))

    @property
    def build_parts(self) -> Path:
        """Where a build that other machines make keeps its parts until it is whole: members' texts."""
        return self.root / "builds" / ".parts"

    def plan(self, name: str) -> Path:
        """File of a plan."""
        return self.root / "plans" / f"{name}.json"

    def canary_seed(self, plan: str) -> Path:
        """File with the secret seed of a plan's canaries."""
        return self.root / "private" / "canaries" / f"{plan}.seed"

    @property
    def evals(self) -> Path:
        """Files of evaluation tasks by digest, and with mode 0700: safety tasks hold prompts nobody should come upon."""
        return self.root / "evals"

    def keep_task_file(self, digest: str, path: Path) -> None:
        """Copy a file that a plan's task names, so that the evaluation finds it; BadInput if it changed meanwhile."""
        data = path.read_bytes()
        if sha256(data) != digest:
            raise BadInput(f"{path} changed while the plan was made", value=sha256(data), allowed=digest, next="coop plan again")
        self.evals.mkdir(mode=0o700, exist_ok=True)
        write_bytes(self.evals / digest.removeprefix("sha256:"), data, mode=0o600)

    def run(self, name: str) -> Path:
        """Folder of a run."""
        return self.root / "runs" / name

    @property
    def sites(self) -> Path:
        """Profiles of the sites, NAME.yaml."""
        return self.root / "sites"

    @property
    def jobs(self) -> Path:
        """Folders of the jobs sent to sites, by run and number."""
        return self.root / "jobs"

    def release(self, name: str) -> Path:
        """Folder of a release bundle."""
        return self.root / "releases" / name


def find_folder(given: Path | None) -> Path:
    """Return the cooperative's folder: the one given, else the nearest at or above the current folder."""
    if given is not None:
        if Paths(given).identity.is_file():
            return given
        above = next((folder for folder in given.absolute().parents if Paths(folder).identity.is_file()), None)
        raise BadInput(
            f"{given} is no cooperative's folder",
            allowed=f"{above}, the cooperative above it" if above is not None else None,
            next=f"-C {above}" if above is not None else f"coop init {given} --name NAME --founder KEY",
        )
    for folder in (Path.cwd(), *Path.cwd().parents):
        if Paths(folder).identity.is_file():
            return folder
    raise BadInput("no cooperative at or above this folder", next="go into its folder, give it with -C DIR, or try: coop demo")


@contextmanager
def open_workspace(folder: Path | None, *, read_only: bool = False, folded: Register | None = None) -> Iterator[Workspace]:
    """Open the cooperative a command works on, once its log is seen to extend what this machine remembers of it.

    Args:
        folder: the folder; None looks for it.
        read_only: nothing will be appended.
        folded: as `Cooperative.open`'s.

    Raises:
        Refused: the log was rolled back, or is a fork of the one seen before.
    """
    root = find_folder(folder)
    memory = Memory(Paths(root).pin())
    known = memory.load()
    with Cooperative.open(root, read_only=read_only, folded=folded) as coop:
        _remember(memory, coop, known)
        size = coop.register.size
        yield Workspace(coop)
        if coop.register.size != size:  # what this command appended is what the next one must find
            _remember(memory, coop, memory.load())


def _remember(memory: Memory, coop: Cooperative, known: str | None) -> None:
    """Check that the log extends what is remembered, from its entries as they are read: a long log is never in memory as a whole."""
    note = coop.checkpoint()
    sizes = [read_body(one).size for one in (known, note) if one is not None]

    def entries() -> Iterator[bytes]:
        return coop.log.entries(0, read_body(note).size)

    memory.check(known, note, coop.register.log_key, roots_at(entries(), sizes).get, entries=entries)
    memory.remember(note)


def load_key(path: Path | None) -> Signer:
    """Load the member's key: the one given, $COOP_KEY, or ~/.ssh/id_ed25519; its passphrase comes from $COOP_KEY_PASSPHRASE.

    A .pub stands for a key that signs elsewhere: it can draft statements, not sign them.
    """
    chosen = path or (Path(os.environ["COOP_KEY"]) if "COOP_KEY" in os.environ else Path.home() / ".ssh" / "id_ed25519")
    if chosen.suffix == ".pub":
        return KeyElsewhere(load_public_key(chosen.expanduser()))
    passphrase = os.environ.get("COOP_KEY_PASSPHRASE")
    return load_private_key(chosen.expanduser(), passphrase=passphrase.encode() if passphrase else None)


def member_of(coop: Cooperative, key: Signer) -> str:
    """Return the member a key belongs to; raise Refused if it belongs to nobody in good standing."""
    owner = coop.register.known_keys.get(key.public.raw)
    if owner is None or owner not in coop.register.members:
        raise Refused("this key belongs to no member", value=key.public.fingerprint, next="coop join --key KEY, or give another key with --key")
    coop.register.member(owner)
    return owner


def author_of(coop: Cooperative, key: Signer) -> str:
    """Return whose key in force this is, or was when they left: what they gave stays theirs; raise Refused for any other key."""
    owner = coop.register.known_keys.get(key.public.raw, "")
    found = coop.register.members.get(owner)
    if found is None or found.left is None:
        owner = member_of(coop, key)
    if key.public.raw not in coop.register.members[owner].keys:
        raise Refused("this key is not in force", value=key.public.fingerprint, allowed="a key in force, or one that was when its member left")
    return owner

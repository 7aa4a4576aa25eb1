"""Make the download site: releases, log, signed metadata and pages as plain files that any web host serves.

Only what release.json lists is copied, with the proof of now and the attestations; each file is hashed on the way. The signed timestamp is
written last, so whoever reads it finds all it names.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from governance_hooks.atomic import PREFIX, write_bytes
from governance_hooks.canonical import dumps, loads
from governance_hooks.cooperative import Cooperative
from governance_hooks.errors import BadInput
from governance_hooks.export import export
from governance_hooks.inventory import sha256_file
from governance_hooks.ledger import read_ledger
from governance_hooks.plan import read_plan
from governance_hooks.proof import Proof
from governance_hooks.statement import shift
from model_card.attestations import NAMES, path_of
from model_card.overdue import due_since
from model_card.release import read_release
from model_card.site.metadata import publish, require_root, target_path
from model_card.site.page import index_page, release_page
from model_card.site.shown import Shown, shown

__all__ = ["Made", "make_site"]

_FORMAT = "coop.releases/v1"
_SLUG = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_PLACES = {"releases", "log", "metadata", "targets", "torrents"}


@dataclass
class Made:
    """What was made."""

    folder: Path
    releases: list[Shown] = field(default_factory=list)
    copied: int = 0
    """Files written anew."""
    until: str = ""


def make_site(
    coop: Cooperative,
    bundles: Mapping[str, Path],
    out: Path,
    state: Path,
    proof: Proof,
    *,
    at: str,
    valid_s: int,
    address: str | None = None,
    torrents: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> Made:
    """Bring the site in `out` up to the log; a killed attempt leaves the published metadata as it was: run it again.

    Args:
        coop: the open cooperative.
        bundles: release folders by name; those that are not out are passed over.
        out: folder of the site; one this made, or empty.
        state: where keys, roots and versions of the metadata are kept, with the operator.
        proof: the proof of now, with cosignatures.
        at: RFC 3339 UTC.
        valid_s: how long the site's word may be believed, seconds.
        address: where the site will be on the web; for the instructions and web seeds.
        torrents: make a v2 torrent of each release.
        progress: called with label, done, total.

    Raises:
        BadInput: the folder holds other files, a bundle is not as its release.json says, or no root is in force.
    """
    before = _names_before(out, coop.register.coop)
    require_root(state, at)
    register, made = coop.register, Made(out, until=shift(at, valid_s))

    def issued(position: int) -> str:
        return str(loads(proof.entries[position])["body"]["issued"])

    wanted = {name: folder for name, folder in sorted(bundles.items()) if read_release(folder).digest in register.releases}
    for done, (name, folder) in enumerate(wanted.items(), 1):
        target = out / "releases" / name
        digests = _copy(folder, target, made)
        write_bytes(target / "proof.jsonl.gz", proof.dumps())
        digests["proof.jsonl.gz"] = sha256_file(target / "proof.jsonl.gz")
        lines = "".join(f"{digest.removeprefix('sha256:')}  {name}/{path}\n" for path, digest in sorted(digests.items()))
        write_bytes(out / "releases" / f"{name}.sha256", lines.encode())
        torrent = None
        if torrents:
            from model_card.site.torrent import make_torrent

            fixed = [path for path in digests if path != "proof.jsonl.gz" and not path.startswith("attestations/")]
            torrent = make_torrent(target, fixed, f"{address.rstrip('/')}/releases" if address else None)
            write_bytes(out / "torrents" / f"{name}.torrent", torrent.data)
        release = read_release(folder).digest
        plan = read_plan((target / "plan.json").read_bytes())
        withdrawn = due_since(register, release, read_ledger(target / "data/ledger.jsonl")[0], plan.use, issued).withdrawn
        made.releases.append(shown(target, name, register, at, issued, withdrawn, digests, torrent))
        if progress:
            progress("copy releases", done, len(wanted))
    made.releases.sort(key=lambda one: list(register.releases).index(one.release), reverse=True)
    export(coop.log, out / "log", note=proof.checkpoint)
    _pages(made, coop, address, at)
    publish(
        state,
        {one.release: ((out / "releases" / one.name / "release.json").read_bytes(), one.custom(register.size)) for one in made.releases},
        at,
        valid_s=valid_s,
    )
    _mirror(state, out)
    for gone in before - {one.name for one in made.releases}:
        shutil.rmtree(out / "releases" / gone, ignore_errors=True)
        for page in (out / f"{gone}.html", out / "releases" / f"{gone}.sha256", out / "torrents" / f"{gone}.torrent"):
            page.unlink(missing_ok=True)
    return made


def _names_before(out: Path, coop: str) -> set[str]:
    """Return the names of the releases on the site that is there; raise BadInput for a folder that is no site of this cooperative."""
    listed = out / "releases.json"
    there = {child.name for child in out.iterdir() if not child.name.startswith(PREFIX)} if out.is_dir() else set()
    if not out.is_symlink() and not listed.is_symlink() and listed.is_file():
        value = loads(listed.read_bytes(), source=str(listed))
        if isinstance(value, dict) and value.get("format") == _FORMAT and value.get("coop") == coop:
            return {one["name"] for one in value["releases"] if _SLUG.fullmatch(str(one["name"]))}
    elif not out.is_symlink() and there <= _PLACES:  # nothing, or what a first attempt that was cut off left
        return set()
    raise BadInput(f"{out} holds other files than a download site of this cooperative", value=sorted(there)[:5], next="choose an empty folder")


def _copy(folder: Path, target: Path, made: Made) -> dict[str, str]:
    """Copy what release.json lists, and the attestations; return the digests of what is there. What is there and right is not written again."""
    document = read_release(folder).document
    wanted = {entry.path: entry.sha256 for entry in document.files} | {"release.json": read_release(folder).digest}
    for name in NAMES:
        path = folder / path_of(name)
        if path.is_file() and not path.is_symlink():
            wanted[path_of(name)] = sha256_file(path)
    for listed, digest in wanted.items():
        there = target / listed
        if there.is_file() and not there.is_symlink() and sha256_file(there) == digest:
            continue
        source = folder / listed
        if source.is_symlink() or not source.is_file():
            raise BadInput(f"{source} is missing or no regular file", next="restore the bundle, or assemble and vote again")
        _copy_file(source, there, digest)
        made.copied += 1
    for extra in sorted(target.rglob("*")):
        if (extra.is_file() or extra.is_symlink()) and extra.relative_to(target).as_posix() not in {*wanted, "proof.jsonl.gz"}:
            extra.unlink()
    return wanted


def _copy_file(source: Path, target: Path, digest: str) -> None:
    """Copy a file in one step; raise BadInput if it is not the one release.json lists."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary, hashed = target.with_name(PREFIX + target.name), hashlib.sha256()
    try:
        with source.open("rb") as read, temporary.open("wb") as write:
            while part := read.read(1 << 20):
                hashed.update(part)
                write.write(part)
            write.flush()
            os.fsync(write.fileno())
        if "sha256:" + hashed.hexdigest() != digest:
            raise BadInput(f"{source} is not the file release.json lists", next="restore the bundle from its proof of origin, or withdraw it")
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _pages(made: Made, coop: Cooperative, address: str | None, at: str) -> None:
    register, out = coop.register, made.folder
    names = {one.release: one.name for one in made.releases}
    about: dict[str, Any] = {
        "coop": register.coop,
        "address": address.rstrip("/") if address else None,
        "log_size": register.size,
        "made": at,
        "until": made.until,
    }
    for one in made.releases:
        write_bytes(out / f"{one.name}.html", release_page(one, names, site=register.name, **about).encode())
    write_bytes(out / "index.html", index_page(register.name, made.releases, register.bylaws, **about).encode())
    listed = {
        "format": _FORMAT,
        "coop": register.coop,
        "name": register.name,
        "made": at,
        "until": made.until,
        "log": {"size": register.size, "checkpoint": "log/checkpoint"},
        "metadata": "metadata/",
        "releases": [one.as_dict() | {"target": target_path(one.release)} for one in made.releases],
    }
    write_bytes(out / "releases.json", dumps(listed))


def _mirror(state: Path, out: Path) -> None:
    """Copy the metadata to the site, the timestamp last; remove what is not kept any more."""
    for place in ("targets", "metadata"):
        for path in sorted((state / place).rglob("*.json"), key=lambda one: (one.name == "timestamp.json", one.name)):
            write_bytes(out / place / path.relative_to(state / place), path.read_bytes())
    kept = {path.name for path in (state / "metadata").iterdir()}
    for path in (out / "metadata").iterdir():
        if path.name not in kept:
            path.unlink()

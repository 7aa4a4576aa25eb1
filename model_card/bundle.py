"""A release folder as its reader finds it: each listed file read once, everything missing, extra, linked or changed named."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from governance_hooks.canonical import sha256
from governance_hooks.errors import BadInput
from governance_hooks.inventory import sha256_file
from model_card.schemas import ReleaseDocument, Role, read

__all__ = ["FILES", "PROOF", "RELEASE", "WEIGHTS", "Bundle", "read_bundle"]

RELEASE, PROOF = "release.json", "proof.jsonl.gz"
WEIGHTS = "weights/adapter_model.safetensors"
FILES: dict[str, Role] = {
    "README.md": "card",
    "card.json": "card",
    "data/batches.jsonl": "data",
    "data/ledger.jsonl": "data",
    "data/manifest.json": "data",
    "eval/report.json": "evaluation",
    "eval/results.jsonl": "evaluation",
    "plan.json": "plan",
    "run.json": "run",
    "weights/adapter_config.json": "weights",
    WEIGHTS: "weights",
}
"""Every file of a release but release.json itself and the proof, with its role."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A folder's content, read once: later checks use these bytes, so a file swapped after its hash was taken changes nothing."""

    folder: Path
    release: ReleaseDocument | None
    malformed: BadInput | None
    """Why release.json was refused, if it was."""
    data: dict[str, bytes] = field(default_factory=dict)
    """Bytes of every file found under a known name, but for the weights."""
    digests: dict[str, str] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    """Known names with no readable file."""
    wrong: list[str] = field(default_factory=list)
    """One sentence for each thing that is not as release.json says."""


def _walk(folder: Path) -> list[str]:
    """Return the relative paths of all files and links below the folder, and of empty folders (a trailing slash)."""
    found = []
    for here, folders, files in os.walk(folder, followlinks=False):
        base = Path(here)
        for name in list(folders):
            if (base / name).is_symlink():
                folders.remove(name)
                files.append(name)
        found += [(base / name).relative_to(folder).as_posix() for name in files]
        if not folders and not files and base != folder:
            found.append(base.relative_to(folder).as_posix() + "/")
    return sorted(found)


def _compare(release: ReleaseDocument, bundle: Bundle) -> None:
    listed = {entry.path: entry for entry in release.files}
    if [entry.path for entry in release.files] != sorted(FILES) or any(FILES[entry.path] != entry.role for entry in release.files if entry.path in FILES):
        bundle.wrong.append(f"{RELEASE} lists other files or roles than a release has: {', '.join(sorted(set(listed) ^ set(FILES))) or 'order or role'}")
    for path, entry in listed.items():
        if path not in bundle.digests:
            continue
        if bundle.sizes[path] != entry.size:
            bundle.wrong.append(f"{path} has {bundle.sizes[path]} bytes instead of {entry.size}")
        elif bundle.digests[path] != entry.sha256:
            bundle.wrong.append(f"{path} was changed ({bundle.digests[path]} instead of {entry.sha256})")


def read_bundle(folder: Path) -> Bundle:
    """Read a release folder strictly; what is wrong with it is in `missing`, `wrong` and `malformed`, for the caller to report.

    Raises:
        BadInput: there is no such folder.
    """
    if not folder.is_dir():
        raise BadInput(f"{folder} is not a folder", next="name the folder of a downloaded release")
    known = {*FILES, RELEASE, PROOF}
    data: dict[str, bytes] = {}
    digests: dict[str, str] = {}
    sizes: dict[str, int] = {}
    missing: list[str] = []
    wrong = [f"{path} is not part of the release" for path in _walk(folder) if path not in known and not path.startswith("attestations/")]
    for path in sorted(known):
        file = folder / path
        if any(part.is_symlink() for part in (file, *(folder / parent for parent in Path(path).parents if parent != Path()))):
            wrong.append(f"{path} is a link or lies behind one")
        elif not file.exists():
            missing.append(path)
        elif not file.is_file():
            wrong.append(f"{path} is not a regular file")
        else:
            try:
                if path == WEIGHTS:
                    digests[path], sizes[path] = sha256_file(file), file.stat().st_size
                else:
                    data[path] = file.read_bytes()
                    digests[path], sizes[path] = sha256(data[path]), len(data[path])
            except OSError:
                missing.append(path)
    release: ReleaseDocument | None = None
    malformed: BadInput | None = None
    if RELEASE in data:
        try:
            release, _ = read(ReleaseDocument, data[RELEASE], source=RELEASE)
        except BadInput as error:
            malformed = error
    bundle = Bundle(folder, release, malformed, data, digests, sizes, missing, wrong)
    if release is not None:
        _compare(release, bundle)
    return bundle

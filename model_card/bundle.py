"""A release folder as its reader finds it: each file read once, everything missing, extra, linked or changed named."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from governance_hooks.canonical import sha256
from governance_hooks.errors import BadInput
from model_card.hashing import hash_files, opened
from model_card.layout import ATTESTATION, LONGEST_ATTESTATION, LONGEST_PROOF, LONGEST_RELEASE, MOST_ATTESTATIONS, MOST_FILES, PROOF, RELEASE, rule_of
from model_card.schemas import ReleaseDocument, read

__all__ = ["Bundle", "read_bundle", "records_of"]

OTHER_SIZE = "not read: another size"
"""Stands for the digest of a file that is not as long as release.json says: a stranger's file is not hashed for hours."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A folder's content, read once: later checks use these bytes, so a file swapped after its hash was taken changes nothing."""

    folder: Path
    release: ReleaseDocument | None
    malformed: BadInput | None
    """Why release.json was refused, if it was."""
    data: dict[str, bytes] = field(default_factory=dict)
    """Bytes of every file found under a known name, but for weights and tokenizers."""
    digests: dict[str, str] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    """Known names with no readable file."""
    wrong: list[str] = field(default_factory=list)
    """One sentence for each thing that is not as release.json says."""

    @property
    def attestations(self) -> dict[str, bytes]:
        """The attestations, by path."""
        return {path: data for path, data in self.data.items() if ATTESTATION.fullmatch(path)}


def records_of(data: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the files a card is rendered from: all that are held, but for what is rendered and what comes after the vote."""
    return {path: raw for path, raw in sorted(data.items()) if (rule := rule_of(path)) is not None and rule.held and rule.role != "card"}


def _walk(folder: Path) -> tuple[set[str], list[str]]:
    """Return the relative paths of all files and links below the folder, and of those, and of empty folders (a trailing slash), that are no plain files."""
    found: set[str] = set()
    links: list[str] = []
    for here, folders, files in os.walk(folder, followlinks=False):
        base = Path(here)
        inside = base.relative_to(folder)
        for name in list(folders):
            if (base / name).is_symlink():
                folders.remove(name)
                files.append(name)
        links += [(inside / name).as_posix() for name in files if (base / name).is_symlink()]
        found |= {(inside / name).as_posix() for name in files}
        if not folders and not files and base != folder:
            links.append(inside.as_posix() + "/")
        if len(found) > 2 * MOST_FILES:
            raise BadInput(f"{folder} holds more files than a release can", allowed=f"{MOST_FILES}", next="name the folder of a downloaded release")
    return found, sorted(links)


def _read_small(path: Path, most: int) -> bytes:
    """Return a file's bytes; raise BadInput for one that is longer than such a file can be, OSError for one that cannot be read."""
    with opened(path) as (fd, size):
        if size > most:
            raise BadInput(f"{path.name} is longer than such a file can be", value=size, allowed=f"{most:,} bytes")
        parts, left = [], most + 1
        while left > 0 and (part := os.read(fd, min(left, 1 << 20))):
            parts.append(part)
            left -= len(part)
        return b"".join(parts)


class _Reader:
    """Collects what is found of each path."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.found, self.links = _walk(folder)
        self.data: dict[str, bytes] = {}
        self.digests: dict[str, str] = {}
        self.sizes: dict[str, int] = {}
        self.missing: list[str] = []
        self.wrong: list[str] = []

    def present(self, path: str) -> bool:
        """Tell whether a plain file may be opened under a path; if not, say why."""
        if path in self.links or any(parent.as_posix() in self.links for parent in Path(path).parents):
            self.wrong.append(f"{path} is a link or lies behind one")
        elif path in self.found:
            return True
        elif (self.folder / path).is_dir():
            self.wrong.append(f"{path} is not a regular file")
        else:
            self.missing.append(path)
        return False

    def hold(self, path: str, most: int) -> None:
        """Read a file whose bytes are kept."""
        if not self.present(path):
            return
        try:
            data = _read_small(self.folder / path, most)
        except BadInput as error:
            self.wrong.append(error.what if error.value is None else f"{path}: {error.what}")
        except OSError:
            self.missing.append(path)
        else:
            self.data[path], self.digests[path], self.sizes[path] = data, sha256(data), len(data)

    def hash(self, paths: Iterable[str], expected: Mapping[str, int], told: Callable[[int], None] | None) -> None:
        """Hash the files whose bytes are not kept, those of the wrong size excepted."""
        wanted: dict[str, Path] = {}
        for path in paths:
            if self.present(path):
                size = (self.folder / path).lstat().st_size
                if expected.get(path, size) == size:
                    wanted[path] = self.folder / path
                else:
                    self.sizes[path], self.digests[path] = size, OTHER_SIZE
        largest_first = dict(sorted(wanted.items(), key=lambda item: -item[1].lstat().st_size))
        for path, result in hash_files(largest_first, told=told).items():
            if isinstance(result, OSError):
                self.missing.append(path)
            elif isinstance(result, BadInput):
                self.wrong.append(f"{path} is not a regular file" if "regular" in result.what else f"{path}: {result.what}")
            else:
                self.sizes[path], self.digests[path] = result


def _compare(release: ReleaseDocument, reader: _Reader) -> None:
    for entry in release.files:
        path = entry.path
        if path not in reader.digests:
            continue
        if reader.sizes[path] != entry.size:
            reader.wrong.append(f"{path} has {reader.sizes[path]} bytes instead of {entry.size}")
        elif reader.digests[path] != entry.sha256:
            reader.wrong.append(f"{path} was changed ({reader.digests[path]} instead of {entry.sha256})")


def read_bundle(folder: Path, *, told: Callable[[int], None] | None = None) -> Bundle:
    """Read a release folder strictly; what is wrong with it is in `missing`, `wrong` and `malformed`, for the caller to report.

    Without a readable release.json the files lying there under known names are read, so that what they say can still be checked.

    Args:
        folder: the folder.
        told: called with the bytes of large files hashed since the last call, from several threads.

    Raises:
        BadInput: there is no such folder.
    """
    if not folder.is_dir():
        raise BadInput(f"{folder} is not a folder", next="name the folder of a downloaded release")
    reader = _Reader(folder)
    reader.hold(RELEASE, LONGEST_RELEASE)
    release: ReleaseDocument | None = None
    malformed: BadInput | None = None
    if RELEASE in reader.data:
        try:
            release, _ = read(ReleaseDocument, reader.data[RELEASE], source=RELEASE)
        except BadInput as error:
            malformed = error
    attestations = sorted(path for path in reader.found if ATTESTATION.fullmatch(path))
    listed = {entry.path for entry in release.files} if release is not None else {path for path in reader.found if rule_of(path) is not None}
    known = listed | {RELEASE, PROOF, *attestations}
    reader.wrong += [f"{path} is not part of the release" for path in sorted({*reader.found, *(p for p in reader.links if p.endswith("/"))} - known)]
    if len(attestations) > MOST_ATTESTATIONS:
        reader.wrong.append(f"{len(attestations)} attestations, {MOST_ATTESTATIONS} at most")
    reader.hold(PROOF, LONGEST_PROOF)
    for path in attestations[:MOST_ATTESTATIONS]:
        reader.hold(path, LONGEST_ATTESTATION)
    rules = {path: rule for path in sorted(listed) if (rule := rule_of(path)) is not None}
    for path, rule in rules.items():
        if rule.held:
            reader.hold(path, rule.most)
    expected = {entry.path: entry.size for entry in release.files} if release is not None else {}
    reader.hash([path for path, rule in rules.items() if not rule.held], expected, told)
    if release is not None:
        _compare(release, reader)
    return Bundle(folder, release, malformed, reader.data, reader.digests, reader.sizes, sorted(reader.missing), reader.wrong)

"""What models were trained on: the builds members voted for, counted by language, with small counts of people left untold."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import langcodes
from babel import Locale

from data_pipeline.language import language_name
from data_pipeline.manifest import Manifest, read_build
from governance_hooks.canonical import dumps
from governance_hooks.errors import CoopError
from governance_hooks.register import Register
from governance_hooks.state.proposals import Proposal
from governance_hooks.state.runs import Run
from portal import i18n
from portal.service import Service

__all__ = ["FEW", "Dataset", "Part", "Past", "given_in", "in_this_language", "past_of", "voted"]

FEW: Final = 5
"""Smaller numbers of contributors are not told, as on cards: who knows one of them could tell who the others are."""


@dataclass(frozen=True, slots=True)
class Part:
    """What a dataset has in one language."""

    language: str
    """ISO 639-3."""
    train: int
    heldout: int
    members: int | None
    """Contributors; None for fewer than FEW."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """A build that members approved, by approving a run on it."""

    digest: str
    """SHA-256 of its manifest."""
    folder: Path | None
    manifest: Manifest | None
    """None if it is not on this server."""
    votes: tuple[Proposal, ...]
    """The votes whose plan names it, oldest first; one at least is approved."""
    runs: tuple[Run, ...]
    releases: tuple[str, ...]

    @property
    def name(self) -> str:
        """The name of its folder, or the start of its digest."""
        return self.folder.name if self.folder else self.digest.removeprefix("sha256:")[:12]

    @property
    def parts(self) -> list[Part]:
        """What it has in each language, the most first."""
        if self.manifest is None:
            return []
        parts = [Part(code, one.train, one.heldout, told(one.members)) for code, one in self.manifest.languages.items()]
        return sorted(parts, key=lambda one: (-one.train - one.heldout, one.language))


@dataclass(frozen=True, slots=True)
class Past:
    """A dataset in the history of a language."""

    dataset: Dataset
    at: str
    part: Part


def told(members: int) -> int | None:
    """Return a number of contributors, or None if it is too small to be told; none at all is no secret."""
    return members if members >= FEW or members == 0 else None


@lru_cache(maxsize=64)
def _manifest(folder: Path, digest: str, stamp: int) -> Manifest | None:
    """Return the manifest of a build if its bytes have this digest; None if they are another's, or none of ours."""
    del stamp
    try:
        build = read_build(folder)
        return Manifest.model_validate_json(dumps(build.manifest)) if build.digest == digest else None
    except CoopError:
        return None


def voted(service: Service, register: Register) -> dict[str, Dataset]:
    """Return by digest the datasets members approved a run on, in the order of the votes; hold the register."""
    plans, folders = service.house.plans(), service.house.builds()
    votes: dict[str, list[Proposal]] = {}
    for one in register.proposals.values():
        plan = plans.get(one.subject) if one.kind == "run" else None
        if plan is not None and plan.build.manifest in register.builds:
            votes.setdefault(plan.build.manifest, []).append(one)
    found = dict[str, Dataset]()
    for digest, asked in votes.items():
        if not any(one.tally is not None and one.tally.approved and not one.contested() for one in asked):
            continue
        names = {one.id for one in asked}
        runs = tuple(run for run in register.runs.values() if run.proposal in names)
        folder = folders.get(digest)
        manifest = _manifest(folder, digest, (folder / "manifest.json").stat().st_mtime_ns) if folder else None
        found[digest] = Dataset(digest, folder if manifest else None, manifest, tuple(asked), runs, tuple(release for run in runs for release in run.releases))
    return found


def past_of(datasets: dict[str, Dataset], language: str) -> list[Past]:
    """Return what each dataset has in a language, oldest first; those without it are left out."""
    found = [Past(one, one.manifest.at, part) for one in datasets.values() if one.manifest for part in one.parts if part.language == language]
    return sorted(found, key=lambda one: one.at)


def given_in(register: Register, language: str) -> tuple[int, int | None]:
    """Return how many texts were given in a language, by the log, and by how many members; None for few."""
    givers: dict[str, int] = {}
    for given in register.contributions.values():
        if language in given.languages:
            givers[given.author] = givers.get(given.author, 0) + given.languages[language]
    return sum(givers.values()), told(len(givers))


def in_this_language(code: str) -> str:
    """Return the name of a language (ISO 639-3) as the reader's language says it; in English where Babel has no word."""
    tag = langcodes.standardize_tag(code)
    return str(Locale.parse(i18n.current()).languages.get(tag) or language_name(code))

"""Datasets for programs: what models were trained on, by language, under which vote; counts and digests, and no text."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response
from pydantic import Field

from governance_hooks.consent import Use as Terms
from portal.api.asking import ByDigest, Count, Program, Shape, Start, answered, kept, nothing_here, page_of
from portal.api.log import Digest
from portal.datasets import FEW, given_in, in_this_language, past_of, voted
from portal.datasets import Dataset as Voted
from portal.service import Service

__all__ = ["router"]

router = APIRouter(tags=["datasets"])

Code = Annotated[str, Field(pattern=r"^[a-z]{3}$", description="ISO 639-3.", examples=["swa"])]
People = Annotated[
    int | None, Field(ge=0, description=f"How many members wrote them; null for fewer than {FEW}: who knows one of them could tell who the others are.")
]


class Part(Shape):
    """What a dataset has in one language."""

    language: Code
    name: Annotated[str, Field(description="In English.")]
    train: Annotated[int, Field(ge=0, description="Texts to train on.")]
    heldout: Annotated[int, Field(ge=0, description="Texts kept aside to test on.")]
    contributors: People


class Use(Shape):
    """What every author of every record consented to (terms of W3C DPV 2.3; `coop:` terms are ours)."""

    purpose: str
    processing: list[str]
    recipients: list[str]
    licence: Annotated[str, Field(description="Licence of weights made from it.")]


class Ran(Shape):
    """A run on the dataset."""

    run: str
    status: Annotated[str | None, Field(description="null while it has not ended.")]


class Dataset(Shape):
    """A dataset members approved a run on."""

    dataset: Annotated[Digest, Field(description="SHA-256 of manifest.json: what the plan names that members voted on.")]
    name: str
    at: Annotated[
        str | None, Field(description="The instant consents were looked up for, RFC 3339 UTC; null, as all that follows, if the manifest is not here.")
    ]
    log_size: Annotated[int | None, Field(description="Entries of the log at which they were looked up.")]
    root: Annotated[Digest | None, Field(description="Merkle root of its texts and their owners.")]
    records: int | None
    use: Use | None
    licences: Annotated[dict[str, int], Field(description="Texts by the licence their contributor states (SPDX).")]
    votes: Annotated[list[Digest], Field(description="The votes whose plan names it, oldest first; one at least is approved.")]
    runs: list[Ran]
    releases: Annotated[list[Digest], Field(description="What was released of these runs.")]
    manifest: Annotated[str | None, Field(description="Where manifest.json is fetched.")]
    croissant: Annotated[str | None, Field(description="Where its description for machines is fetched (MLCommons Croissant 1.1).")]


class Languages(Dataset):
    """A dataset with what it has in each language, the most first."""

    languages: list[Part]


class Datasets(Shape):
    """A part of the datasets."""

    total: Annotated[int, Field(ge=0)]
    datasets: list[Dataset]
    next: Annotated[int | None, Field(description="`start` of the next page; null after the last.")]


class Then(Shape):
    """What one dataset had in the language."""

    dataset: Digest
    at: Annotated[str, Field(description="RFC 3339 UTC.")]
    train: Annotated[int, Field(ge=0)]
    heldout: Annotated[int, Field(ge=0)]
    contributors: People


class Language(Shape):
    """A language in the cooperative, over time."""

    language: Code
    name: Annotated[str, Field(description="In English.")]
    given: Annotated[int, Field(ge=0, description="Texts members ever gave in it, by the log.")]
    givers: People
    datasets: Annotated[list[Then], Field(description="Oldest first.")]


class LanguageList(Shape):
    """The languages of all datasets."""

    languages: list[Code]


def _fields(service: Service, one: Voted) -> dict[str, object]:
    manifest, here = one.manifest, f"{service.settings.origin}/datasets/{one.digest}"
    return {
        "dataset": one.digest,
        "name": one.name,
        "at": manifest.at if manifest else None,
        "log_size": manifest.log.size if manifest else None,
        "root": manifest.root if manifest else None,
        "records": manifest.records if manifest else None,
        "use": _use(manifest.use) if manifest else None,
        "licences": manifest.licences if manifest else {},
        "votes": [vote.id for vote in one.votes],
        "runs": [Ran(run=run.id, status=run.status) for run in one.runs],
        "releases": list(one.releases),
        "manifest": f"{here}/manifest.json" if manifest else None,
        "croissant": f"{here}/croissant.json" if manifest else None,
    }


def _use(terms: Terms) -> Use:
    return Use(purpose=terms.purpose, processing=list(terms.processing), recipients=list(terms.recipients), licence=terms.licence)


@router.get("/datasets", response_model=Datasets, responses=answered())
def datasets(visit: Program, start: Start = 0, limit: Count = 50) -> Response:
    """Return the datasets members approved a run on, in the order of the votes."""
    with visit.register() as register:
        every = list(voted(visit.service, register).values())
    first, stop, after = page_of(start, limit, len(every))
    found = [Dataset.model_validate(_fields(visit.service, one)) for one in every[first:stop]]
    return kept(visit, Datasets(total=len(every), datasets=found, next=after))


@router.get("/datasets/{dataset}", response_model=Languages, responses=answered(404))
def dataset(visit: Program, dataset: ByDigest) -> Response:
    """Return one dataset with its counts by language."""
    with visit.register() as register:
        found = voted(visit.service, register).get(dataset)
    if found is None:
        raise nothing_here("members approved no run on a dataset of this digest")
    parts = [
        Part(language=one.language, name=in_this_language(one.language), train=one.train, heldout=one.heldout, contributors=one.members) for one in found.parts
    ]
    return kept(visit, Languages.model_validate(_fields(visit.service, found) | {"languages": parts}))


@router.get("/languages", response_model=LanguageList, responses=answered())
def languages(visit: Program) -> Response:
    """Return the languages (ISO 639-3) that any of the datasets has, in the order of their codes."""
    with visit.register() as register:
        every = voted(visit.service, register).values()
    return kept(visit, LanguageList(languages=sorted({part.language for one in every for part in one.parts})))


@router.get("/languages/{language}", response_model=Language, responses=answered(404))
def language(visit: Program, language: Annotated[str, Path(pattern=r"^[a-z]{3}$", description="ISO 639-3.")]) -> Response:
    """Return what datasets had in one language, over time."""
    with visit.register() as register:
        past = past_of(voted(visit.service, register), language)
        given, givers = given_in(register, language)
    if not past:
        raise nothing_here("no dataset has this language")
    then = [Then(dataset=one.dataset.digest, at=one.at, train=one.part.train, heldout=one.part.heldout, contributors=one.part.members) for one in past]
    return kept(visit, Language(language=language, name=in_this_language(language), given=given, givers=givers, datasets=then))

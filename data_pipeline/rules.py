"""Apply the rules of a build again to its rows: each must still stay, as it is."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_pipeline import deduplicate, normalise, split
from data_pipeline.admit import LENGTH_RULE
from data_pipeline.build import rules_of
from data_pipeline.candidate import Candidate
from data_pipeline.manifest import MANIFEST, Build
from data_pipeline.parquet import StoredRow
from data_pipeline.recipe import Recipe
from data_pipeline.record import Record
from data_pipeline.source import PAGE
from data_pipeline.stages import near_duplicates as near
from data_pipeline.stages.grams import Hashes
from data_pipeline.stages.stage import Evidence, Rating, Suite
from data_pipeline.stages.table import STAGES
from governance_hooks.errors import CoopError

__all__ = ["check_rules"]


def check_rules(build: Build, rows: Iterable[StoredRow], suites: Sequence[Suite] = (), ratings: Iterable[Rating] = ()) -> None:
    """Raise CoopError for the first row that breaks a rule of the manifest; a rule this version does not know, or cannot check, blocks.

    Which rows were left out rightly cannot be seen from the build: for that it is made again from the store. Neither can the order of
    near copies, since rows do not say when they were stored; any two rows that are near copies are reported, if they were compared in any order.
    Marks are not compared.
    """
    recipe, evidence = _recipe(build), Evidence(suites=tuple(_suites(build, suites)))
    rated: dict[str, list[Rating]] = defaultdict(list)
    for rating in ratings:
        rated[rating.record].append(rating)
    children: list[Candidate] = []
    seen: dict[bytes, str] = {}
    licences: Counter[str] = Counter()
    bands = []
    texts: list[near.Row] = []
    names: list[str] = []
    edits: dict[int, Sequence[str]] = {}
    for page in _pages(rows):
        some = [_candidate(row) for row in page]
        for row, candidate in zip(page, some, strict=True):
            _check_row(build, row, candidate)
            twin = seen.setdefault(deduplicate.copy_key(candidate.language, candidate.texts), candidate.record)
            if twin != candidate.record:
                raise _broken(build, candidate.record, deduplicate.RULE, f"it repeats {twin}")
        licences.update(row.licence for row in page)
        for name, parameters in recipe.stages.items():
            stage = STAGES[name]
            if stage.joint or stage.effect == "marks":
                continue
            known = evidence
            if name == "review":  # edits are judged later, beside what they edit
                children += [candidate for candidate in some if candidate.source.parents]
                known = Evidence(tuple(rating for candidate in some for rating in rated.get(candidate.record, ())))
            kept, excluded = stage.run([replace(row, source=replace(row.source, parents=())) for row in some] if name == "review" else some, parameters, known)
            if excluded:
                raise _broken(build, excluded[0].record, stage.rule, excluded[0].detail)
            for before, after in zip(some, kept, strict=True):
                if before.texts != after.texts:
                    raise _broken(build, before.record, stage.rule, "its text is not as the rule leaves it")
        if "near_duplicates" in recipe.stages:
            texts += [near.Row.of(candidate) for candidate in some]
            bands.append(near.signatures(texts[-len(some) :]))
            edits |= {len(names) + index: candidate.source.parents for index, candidate in enumerate(some) if candidate.source.parents}
            names += [candidate.record for candidate in some]
    if children:
        parents = _texts_of(build, {parent for child in children for parent in child.source.parents})
        known = Evidence(tuple(rating for child in children for rating in rated.get(child.record, ())), parents=tuple(parents))
        _, excluded = STAGES["review"].run(children, recipe.stages["review"], known)
        if excluded:
            raise _broken(build, excluded[0].record, STAGES["review"].rule, excluded[0].detail)
    _check_near(build, recipe, np.concatenate(bands) if bands else np.empty((0, near.BANDS), dtype=np.uint64), texts, names, edits)
    if build.manifest["licences"] != dict(sorted(licences.items())):
        raise CoopError(f"{build.folder / MANIFEST}: licences is not what the files hold", value=build.manifest["licences"], allowed=str(dict(licences)))


def _broken(build: Build, record: str, rule: str, why: str = "") -> CoopError:
    return CoopError(f"{build.records}: text {record} breaks the rule {rule}" + (f": {why}" if why else ""), next="build it again")


def _recipe(build: Build) -> Recipe:
    manifest, where = build.manifest, build.folder / MANIFEST
    recipe = Recipe.parse(manifest["stages"], source=str(where))
    if recipe.as_dict() != manifest["stages"]:
        raise CoopError(f"{where}: stages does not name every parameter", value=manifest["stages"], allowed=str(recipe.as_dict()))
    if manifest["rules"] != rules_of(recipe):
        raise CoopError(f"{where}: rules this version cannot check", value=manifest["rules"], allowed=", ".join(rules_of(recipe)))
    names = {"heldout_permille", "max_characters", "unicode_major"}
    if set(manifest["parameters"]) != names:
        raise CoopError(f"{where}: unknown or missing parameters", value=sorted(manifest["parameters"]), allowed=", ".join(sorted(names)))
    if manifest["parameters"]["unicode_major"] != normalise.UNICODE_MAJOR:
        raise CoopError(
            f"{where}: the dataset used other Unicode tables",
            value=manifest["parameters"]["unicode_major"],
            allowed=f"{normalise.UNICODE_MAJOR} (this Python's)",
        )
    return recipe


def _suites(build: Build, suites: Sequence[Suite]) -> Iterator[Suite]:
    given = {suite.digest: suite for suite in suites}
    for name, digest in build.manifest["suites"].items():
        if digest not in given:
            raise CoopError(f"the evaluation suite {name} of the dataset is not at hand", value=digest, next="give its file with --suite NAME=FILE")
        yield replace(given[digest], name=name)


def _check_row(build: Build, row: StoredRow, candidate: Candidate) -> None:
    parameters = build.manifest["parameters"]
    if tuple(map(normalise.normalise, candidate.texts)) != candidate.texts:
        raise _broken(build, candidate.record, normalise.RULE)
    if sum(map(len, candidate.texts)) > parameters["max_characters"]:
        raise _broken(build, candidate.record, LENGTH_RULE)
    if split.split_of(row.inputs, coop=build.manifest["coop"], heldout_permille=parameters["heldout_permille"]) != row.line.split:
        raise _broken(build, candidate.record, split.RULE, f"it stands under {row.line.split}")


def _check_near(build: Build, recipe: Recipe, bands: Hashes, texts: Sequence[near.Row], names: Sequence[str], edits: Mapping[int, Sequence[str]]) -> None:
    parameters = recipe.stages.get("near_duplicates")
    if not isinstance(parameters, near.NearDuplicatesParameters):
        return
    shared = near.candidates(bands)
    number = {name: index for index, name in enumerate(names)}
    parents = {index: [number[parent] for parent in some if parent in number] for index, some in edits.items()}
    copies = near.resolve(shared, np.flatnonzero(shared.any(axis=1)).tolist(), texts.__getitem__, parameters, parents)
    for copy in copies:
        if near.surely_compared(copy, shared, texts.__getitem__, parameters):
            raise _broken(build, names[copy.row], near.RULE, near.why(copy, names[copy.of], parameters))


def _texts_of(build: Build, records: set[str]) -> list[Candidate]:
    """Return rows of the build by id, with nothing but their ids and texts; the bytes were compared with the manifest before."""
    found = []
    with pq.ParquetFile(build.records) as file:
        for batch in file.iter_batches(batch_size=PAGE, columns=["record", "inputs", "targets"]):
            chosen = batch.filter(pc.is_in(batch.column("record"), value_set=pa.array(sorted(records))))
            found += [Candidate(_source(row["record"]), (), row["inputs"], row["targets"]) for row in chosen.to_pylist()]
    return found


def _pages(rows: Iterable[StoredRow]) -> Iterator[list[StoredRow]]:
    source = iter(rows)
    while page := list(islice(source, PAGE)):
        yield page


def _candidate(row: StoredRow) -> Candidate:
    source = _source(row.line.record, row.line.language, row.parents, tuple(row.line.authors))
    return Candidate(source, tuple(row.line.consents), row.inputs, row.targets, row.marks, row.credited, row.history)


def _source(record: str, language: str = "", parents: tuple[str, ...] = (), authors: tuple[str, ...] = ()) -> Record:
    """Return a record with what stages ask of it; its texts as contributed and its batch are not in a build."""
    return Record(
        record=record,
        inputs="",
        targets="",
        language=language,
        annotation_type="",
        user_id=None,
        parents=parents,
        licence="",
        written_at=None,
        line=0,
        batch="",
        position=0,
        statement=None,
        member="",
        authors=authors,
        salt="",
        commitment="",
        created_at="",
        erased_at=None,
    )

"""Guilds follow from the build alone: language, kind of work, near copies apart, small ones together, the same bytes every time."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_pipeline.build import build as make_build
from data_pipeline.guilds import assign
from data_pipeline.manifest import Build, read_build, read_ledger
from data_pipeline.recipe import Recipe
from data_pipeline.record import Draft
from data_pipeline.store import ContributionStore
from governance_hooks.attribution import Attribution, AttributionPolicy
from governance_hooks.canonical import digest, sha256
from governance_hooks.consent import Use
from governance_hooks.errors import BadInput
from governance_hooks.stake.guilds import Assignment, assignment_bytes, read_assignment

USE = Use(purpose="dpv:NonCommercialResearch", processing=["ai:ModelFineTuning", "coop:ModelEvaluation"], recipients=["coop:Members"], licence="Apache-2.0")
LONG = "The ferry to the island leaves at seven in the morning from the old quay behind the fish market, and it comes back at noon."


def draft(record: str, prompt: str, answer: str, language: str = "spa", parents: tuple[str, ...] = ()) -> Draft:
    return Draft(inputs=prompt, targets=answer, language=language, licence="CC-BY-4.0", record_id=record, parents=parents)


@pytest.fixture
def built(tmp_path: Path) -> Build:
    """Ana wrote two rows, bo edited one and translated the other, cy copied a third of ana's with a word changed and wrote in a rare language."""
    given = {
        "m-ana": [
            draft("a1", "When does the ferry to the island leave in summer, and from where?", LONG),
            draft("a2", "Who paints the boats before the feast of the harbour each year?", "The families of the fishermen paint them, in a new colour each time."),
        ],
        "m-bo": [
            draft("b1", "When does the ferry to the island leave in summer, and from where?", LONG + " On Sundays it does not run at all.", parents=("a1",)),
            draft("b2", "Nork margotzen ditu itsasontziak portuko jaiaren aurretik urtero?", "Arrantzaleen familiek margotzen dituzte, aldiro kolore berri batez.", "eus", ("a2",)),
        ],
        "m-cy": [
            draft("c1", "When does the ferry to the island leave in summer, and from where?", LONG.replace("morning", "mornings")),
            draft("c2", "Imaynataq kay llaqtapi raymi qallarin sapa wata, pikunataq hamunku?", "Tukuy runakuna hamunku takispa tususpa, hinaspa raymi qallarin.", "que"),
        ],
    }  # fmt: skip
    with ContributionStore(tmp_path / "contributions.sqlite") as store:
        for member, drafts in given.items():
            store.seal(store.add_batch(member, drafts).batch, digest(member))
        make_build(
            store, tmp_path / "build", coop=digest("coop"), log_size=1, log_root=digest("log"), at="2026-11-22T13:00:00Z", use=USE, recipe=Recipe.parse({}),
            heldout_permille=0, consent_for=lambda member, language, batch: digest(["consent", member]),
        )  # fmt: skip
    return read_build(tmp_path / "build")


def test_kinds_of_work_are_guilds_and_a_near_copy_is_in_none(built: Build) -> None:
    made = assign(built, guilds="language-kind", minimum_members=1)
    assert made.guilds == {"a1": "spa.original", "a2": "spa.original", "b1": "spa.edit", "b2": "eus.translation", "c2": "que.original"}
    assert made.copies == {"c1": "a1"}
    assert assign(built, guilds="language", minimum_members=1).guilds == {"a1": "spa", "a2": "spa", "b1": "spa", "b2": "eus", "c2": "que"}


def test_guilds_of_too_few_members_are_one_together(built: Build) -> None:
    made = assign(built, guilds="language", minimum_members=2)
    assert made.guilds == {"a1": "spa", "a2": "spa", "b1": "spa", "b2": "eus", "c2": "mixed"}  # a translation has two authors
    players = made.players(read_ledger(built))
    assert {guild: (one.records, one.members) for guild, one in players.items()} == {"eus": (1, 2), "mixed": (1, 1), "spa": (3, 2)}


def test_an_assignment_is_read_back_and_every_other_one_is_refused(built: Build) -> None:
    made, rows = assign(built, guilds="language", minimum_members=1), read_ledger(built)
    data = assignment_bytes(made)
    assert assignment_bytes(assign(built, guilds="language", minimum_members=1)) == data
    again = read_assignment(data, expected=sha256(data))
    assert (again.guilds, again.copies) == (made.guilds, made.copies)
    plan = Attribution(**AttributionPolicy(minimum_members=1).model_dump(), assignment=sha256(data), players=made.players(rows), collapsed=1)
    again.check(plan, rows)
    moved = Assignment(made.guilds | {"c2": "spa"}, made.copies)
    with pytest.raises(BadInput, match="does not count the guilds"):
        moved.check(plan, rows)
    with pytest.raises(BadInput, match="not list the training rows"):
        Assignment({**{key: guild for key, guild in made.guilds.items() if key != "a2"}, "zz": "spa"}, made.copies).check(plan, rows)
    with pytest.raises(BadInput, match="not the assignment the plan names"):
        read_assignment(data, expected=digest("other"))
    lines = data.splitlines(keepends=True)
    for bad, why in (
        (b"".join(reversed(lines)), "sorted and distinct"),
        (data + lines[-1], "sorted and distinct"),
        (data[:-3], "cut off"),
        (data.replace(b'"que"', b'"quechua"'), "guilds.jsonl, line"),
        (data.replace(b'"copy_of":"a1"', b'"copy_of":"xx"'), "in no guild"),
    ):
        with pytest.raises(BadInput, match=why):
            read_assignment(bad)

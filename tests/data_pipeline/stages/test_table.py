from __future__ import annotations

import random
import re
from collections.abc import Callable

import pytest
from pydantic import ValidationError

from data_pipeline.candidate import Candidate
from data_pipeline.stages.decontamination import suite
from data_pipeline.stages.stage import Evidence, Item, Rating
from data_pipeline.stages.table import STAGES

Row = Callable[..., Candidate]

EVIDENCE = Evidence(
    (Rating("r2", "eva", 1, "2026-01-01T00:00:00Z"), Rating("r2", "ida", 2, "2026-01-01T00:00:00Z")),
    (suite("s", [Item("1", "Which of the planets has the most moons around it?")]),),
)


def rows(row: Row) -> list[Candidate]:
    texts = [
        ("What is this thing here?", "What is this thing here?"),
        ("Which of the planets has the most moons around it?", "Saturn, as far as we know."),
        ("Wie heißt du denn heute, mein lieber alter Freund?", "Ich heiße Anna und komme aus Bremen."),
        ("Mail me", "a@b.org"),
        ("Please tell me about the tides of the sea", "The moon pulls at the water."),
        ("Please tell me about the tides of the sea!", "The moon pulls at the water!"),
    ]
    return [row(f"r{n}", *text) for n, text in enumerate(texts)]


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_accounts_for_every_row_once_and_only_does_what_the_table_says(row: Row, name: str) -> None:
    stage, given_rows = STAGES[name], rows(row)
    kept, excluded = stage.run(given_rows, stage.parameters(), EVIDENCE)
    assert sorted([*(r.record for r in kept), *(e.record for e in excluded)]) == sorted(r.record for r in given_rows)
    assert all(e.detail and re.fullmatch(r"[a-z_]+", e.reason) for e in excluded)
    assert bool(excluded) == (stage.effect == "drops")
    before = {r.record: (r.inputs, r.targets) for r in given_rows}
    assert any((r.inputs, r.targets) != before[r.record] for r in kept) == (stage.effect == "rewrites")
    assert any(r.marks for r in kept) or stage.effect == "drops"


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_run_again_or_in_another_order_does_the_same(row: Row, name: str) -> None:
    stage, given_rows = STAGES[name], rows(row)
    shuffled = random.Random(3).sample(given_rows, len(given_rows))

    def outcome(some: list[Candidate]) -> tuple[object, object]:
        kept, excluded = stage.run(some, stage.parameters(), EVIDENCE)
        return {(r.record, r.inputs, r.targets, r.marks, r.credited) for r in kept}, {(e.record, e.reason, e.detail) for e in excluded}

    assert outcome(given_rows) == outcome(shuffled)
    kept, _ = stage.run(given_rows, stage.parameters(), EVIDENCE)
    assert stage.run(kept, stage.parameters(), EVIDENCE) == (kept, [])


@pytest.mark.parametrize("name", STAGES)
def test_parameters_are_whole_numbers_and_unknown_ones_are_refused(name: str) -> None:
    parameters = STAGES[name].parameters
    assert all(type(value) is int for value in parameters().model_dump().values())
    assert all(field.description or parameters.__doc__ for field in parameters.model_fields.values())
    with pytest.raises(ValidationError):
        parameters(unheard_of=1)  # type: ignore[call-arg]
    for field in parameters.model_fields:
        for value in (-1, 1.5, True, "5"):
            with pytest.raises(ValidationError):
                parameters(**{field: value})  # type: ignore[arg-type]


def test_every_rule_has_its_own_versioned_name() -> None:
    rules = [stage.rule for stage in STAGES.values()]
    assert len(set(rules)) == len(rules)
    assert all(re.fullmatch(r"[a-z0-9_]+/v[1-9][0-9]*", rule) for rule in rules)

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from governance_hooks.canonical import digest, dumps, sha256
from governance_hooks.errors import BadInput
from model_card.card import make_card
from model_card.votes import votes_of
from tests.model_card.cards import fields_of, records_of, resolve


def test_every_value_points_to_the_record_it_came_from(bundle: Path) -> None:
    card = json.loads((bundle / "card.json").read_bytes())
    pointed = 0
    for where, field in fields_of(card):
        if "value" not in field:
            assert next(iter(field.values())) is not None, where
            assert all({"source", "sha256"} == set(one) for one in field.get("from", [])), where
            continue
        path, _, pointer = field["source"].partition("#")
        if path == "card.json":  # words of the renderer itself, whose digest is there
            assert pointer == "/renderer"
            continue
        if path == "proof.jsonl.gz:votes":
            assert field["value"] == resolve(records_of(bundle).votes, pointer), where
            assert field["sha256"] == digest(records_of(bundle).votes)
        elif not pointer:
            assert field["value"] == field["sha256"] == sha256((bundle / path).read_bytes()), where
        elif path != "release.json":
            data = (bundle / path).read_bytes()
            assert (field["value"], field["sha256"]) == (resolve(json.loads(data), pointer), sha256(data)), where
        pointed += 1
    assert pointed > 100


def test_the_card_is_a_function_of_the_records_alone(bundle: Path) -> None:
    assert dumps(make_card(records_of(bundle))) == dumps(make_card(records_of(bundle))) == (bundle / "card.json").read_bytes()


def test_nobody_is_counted_in_a_group_of_fewer_than_five(bundle: Path) -> None:
    card = make_card(records_of(bundle))
    for name in ("members", "contributors_heldout"):
        assert card["languages"]["kin"][name]["withheld"] == "fewer than 5"
    assert card["languages"]["spa"]["members"]["value"] == 6


def test_a_language_that_proves_nothing_is_named(bundle: Path) -> None:
    card = make_card(records_of(bundle))
    assert "kin" in card["evaluation"]["unproven"]["value"]
    assert "low" in card["languages"]["kin"]
    assert "not_collected" in card["languages"]["kin"]["low"]


def test_what_no_person_stated_is_not_made_up(bundle: Path) -> None:
    card = make_card(records_of(bundle))
    for name in ("intended_use", "limits", "bias_and_risks", "contact"):
        assert set(card["statements"][name]) == {"not_collected"}
    assert set(card["safety"]) == set(card["leak"]["verdict"]) == {"not_collected"}


def test_votes_and_dissent_come_from_the_ballots(finished: Any, tmp_path: Path) -> None:
    village = finished.village
    votes = finished.votes()["run"]
    assert (votes["for"], votes["against"], votes["abstain"], votes["roll"], votes["turnout_percent"]) == (6, 0, 0, 6, 100)
    reason = sha256(b"why not")
    proposal = village.propose("run", sha256(b"another plan")).id
    for member in village.members[:5]:
        village.ballot(member, proposal)
    village.say("coop.ballot/v1", {"proposal": proposal, "choice": "against", "sequence": 1, "reason": reason}, village.members[5])
    village.close(proposal)
    start = {"run": "run-2", "plan": sha256(b"another plan"), "proposal": proposal, "start": 1}
    village.say("coop.run-start/v1", start, "operator")
    counted = votes_of(village.coop.register, run="run-2", consents=[])["run"]
    assert (counted["for"], counted["against"], counted["dissent"]) == (5, 1, [reason])


@pytest.mark.parametrize(
    ("path", "field", "value"),
    [
        ("run_bytes", "plan", sha256(b"x")),
        ("report_bytes", "plan", sha256(b"x")),
        ("report_bytes", "build", sha256(b"x")),
        ("manifest_bytes", "root", sha256(b"x")),
        ("run_bytes", "format", "coop.run/v9"),
        ("run_bytes", "hardware", {"cpu": "A processor", "cpus": 2, "memory_bytes": 1, "devices": [], "host": "node-7"}),
        ("run_bytes", "energy", {"kwh": 0.1, "estimated": False, "segments": 1, "segments_unmeasured": 0}),
        ("run_bytes", "energy", {"kwh": -0.1, "estimated": True, "segments": 1, "segments_unmeasured": 0}),
        ("run_bytes", "segments", []),
        ("report_bytes", "generations", [{"language": "spa", "prompt": "p", "base": "b"}]),
        ("report_bytes", "generations", [{"language": "<b>", "prompt": "p", "base": "b", "tuned": "t"}]),
        ("report_bytes", "worse", ["not a code"]),
    ],
)
def test_records_that_do_not_belong_together_make_no_card(bundle: Path, path: str, field: str, value: object) -> None:
    records = records_of(bundle)
    changed = dumps(json.loads(getattr(records, path)) | {field: value})
    with pytest.raises(BadInput):
        make_card(records_of(bundle, **{path: changed}))


def test_another_cooperative_makes_no_card(bundle: Path) -> None:
    for coop in (sha256(b"x"), "village"):
        with pytest.raises(BadInput):
            make_card(records_of(bundle, coop=coop))

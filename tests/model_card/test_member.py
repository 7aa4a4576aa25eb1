"""A member sees what is theirs in a release, from the bundle alone, with proofs that anybody can check, and nothing of anybody else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from governance_hooks import merkle
from governance_hooks.canonical import dumps, sha256
from governance_hooks.consent_receipt import make_receipt
from governance_hooks.errors import BadInput
from governance_hooks.ownership import OwnershipProof
from governance_hooks.proof import read_proof
from model_card.evidence import Evidence
from model_card.member import Asked, ask, ask_with_receipt, member_view, member_words
from model_card.verify import examine


@pytest.fixture
def found(bundle: Path) -> Evidence:
    return examine(bundle)[1]


def rows_of(bundle: Path, member: str) -> list[str]:
    lines = (bundle / "data/ledger.jsonl").read_text().splitlines()
    return [json.loads(line)["record"] for line in lines if member in json.loads(line)["authors"]]


def someone(found: Evidence) -> str:
    return found.rows[0].authors[0]


def test_a_member_sees_their_records_consents_and_ballots(bundle: Path, found: Evidence) -> None:
    member = someone(found)
    view = member_view(found, ask(found, member))
    assert [row["record"] for row in view["records"]["rows"]] == rows_of(bundle, member)
    assert view["records"]["total"] == view["records"]["train"] + view["records"]["heldout"] > 0
    assert [one["cited_by_records"] for one in view["consents"]] == [view["records"]["total"]]
    assert view["consents"][0]["stood_until_the_release"]
    assert {kind: vote["counted"]["choice"] for kind, vote in view["ballots"].items()} == {"run": "for", "release": "for"}


def test_every_place_in_a_view_is_proven_by_the_bundle_alone(bundle: Path, found: Evidence) -> None:
    view = member_view(found, ask(found, someone(found)))
    proof = read_proof((bundle / "proof.jsonl.gz").read_bytes())
    root = bytes.fromhex(view["log"]["root"])
    places = [place for consent in view["consents"] for place in (consent["given"],)]
    places += [vote[what] for vote in view["ballots"].values() for what in ("counted", "opened", "closed")]
    assert len(places) >= 7
    for place in places:
        leaf = merkle.leaf_hash(proof.entries[place["entry"]])
        assert merkle.verify_inclusion(leaf, place["entry"], view["log"]["size"], [bytes.fromhex(step) for step in place["path"]], root)
    lines = (bundle / "data/ledger.jsonl").read_text().splitlines()
    for row in view["records"]["rows"]:
        assert json.loads(lines[row["line"] - 1])["record"] == row["record"]
    owned = OwnershipProof.model_validate(view["ownership"])
    assert owned.root == found.plain.plan.build.root
    assert owned.check() == view["records"]["total"]


def test_a_view_holds_no_other_members_id_but_the_neighbours_of_an_absence(found: Evidence) -> None:
    member = someone(found)
    text = json.dumps(member_view(found, ask(found, member)))
    others = {one for row in found.rows for one in row.authors} - {member}
    assert others
    assert not [one for one in others if one in text]


def test_who_gave_nothing_is_shown_that_nothing_is_theirs(found: Evidence) -> None:
    stranger = "m-" + "0" * 20
    view = member_view(found, Asked(stranger, "member", stranger))
    assert view["records"]["total"] == 0
    assert OwnershipProof.model_validate(view["ownership"]).check() == 0
    assert any("none of yours is in this release" in line for line in member_words(view))
    assert any("you were not on the roll" in line for line in member_words(view))


@pytest.mark.parametrize("about", ["consent", "record", "ballot", "batch"])
def test_an_id_of_something_of_theirs_leads_to_the_same_member(found: Evidence, about: str) -> None:
    row, register = found.rows[0], found.register
    member = row.authors[0]
    proposal = register.proposal(found.release.run_proposal)
    said = {"consent": row.consents[0], "record": row.record, "ballot": proposal.votes[member].ballot, "batch": row.batch}[about]
    asked = ask(found, said)
    assert (asked.member, asked.about) == (member, about)
    view = member_view(found, asked)
    if about == "record":
        assert [one["record"] for one in view["records"]["rows"]] == [said]
        assert any(f"{said}: line 1 of data/ledger.jsonl" in line for line in member_words(view))


@pytest.mark.parametrize("said", ["", "nobody", "sha256:" + "0" * 64, "../../etc/passwd", "m-1\x1b[2J"])
def test_an_id_that_is_nowhere_is_refused(found: Evidence, said: str) -> None:
    with pytest.raises(BadInput, match="nothing in this release has this id"):
        ask(found, said)


def receipt(found: Evidence) -> bytes:
    assert found.proof is not None
    return make_receipt(found.proof, found.register, found.register.grants[someone(found)], at="2026-11-22T13:00:00Z")


def test_a_receipt_leads_to_its_member_and_a_changed_one_nowhere(found: Evidence) -> None:
    data = receipt(found)
    assert ask_with_receipt(found, data) == Asked(someone(found), "receipt", found.rows[0].consents[0])
    changed: dict[str, Any] = json.loads(data)
    changed["consents"][0]["entry"]["body"]["author"] = found.rows[-1].authors[0]
    with pytest.raises(BadInput, match="the receipt does not hold for this release"):
        ask_with_receipt(found, dumps(changed))
    with pytest.raises(BadInput):
        ask_with_receipt(found, b"{}")


def test_a_ballot_that_was_replaced_is_told_from_the_one_that_counted(signed: Any, tmp_path: Path) -> None:
    village, release = signed.village, signed.assemble(tmp_path / "bundle")
    member = village.members[1]
    proposal = village.propose("release", release.digest).id
    first = village.ballot(member, proposal, "against")
    for one in village.members:
        village.ballot(one, proposal, "for", sequence=2 if one == member else 1)
    village.close(proposal)
    village.say("coop.release/v1", {"run": "run-1", "release": release.digest, "proposal": proposal}, "operator")
    (release.folder / "proof.jsonl.gz").write_bytes(village.coop.proof().dumps())
    report, found = examine(release.folder)
    assert report.exit_code == 0, report.text()
    view = member_view(found, ask(found, first.id))
    assert view["member"] == member
    assert view["ballots"]["release"]["replaced"] == [first.id]
    assert view["ballots"]["release"]["counted"]["choice"] == "for"
    assert view["release"] == sha256((release.folder / "release.json").read_bytes())

"""Who left: their consents ended, a dataset made afterwards has nothing of theirs, and the operator erases what they gave when no key is left."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

import commonweights.cli
from commonweights.voting import keep_reason, reason_file
from commonweights.workspace import load_key, open_workspace
from data_pipeline.manifest import read_build, read_ledger
from data_pipeline.store import ContributionStore
from data_pipeline.verify import read_exclusions
from governance_hooks.sshsig import generate_key
from tests.commonweights.test_exchange_commands import give


def members(home: Path, keys: dict[str, Path], *names: str) -> list[str]:
    with open_workspace(home) as space:
        return [str(space.coop.register.holder(load_key(keys[name]).public.raw)) for name in names]


def leave(home: Path, key: Path, member: str) -> None:
    with open_workspace(home) as space:
        space.coop.state("coop.leave/v1", {}, key=load_key(key), author=member)


def test_a_dataset_made_after_somebody_left_has_nothing_of_theirs(coop, home: Path, keys: dict[str, Path], tmp_path: Path) -> None:
    theirs, others = give(coop, home, keys, tmp_path), give(coop, home, keys, tmp_path, "bela")
    for name in ("anna", "bela"):
        assert coop("-C", home, "consent", "give", "--yes", "--key", keys[name]).code == 0
    assert coop("-C", home, "build", "make", "before", "--heldout", "400").code == 0
    anna, bela = members(home, keys, "anna", "bela")
    leave(home, keys["anna"], anna)
    assert coop("-C", home, "build", "make", "after", "--heldout", "400").code == 0
    with open_workspace(home, read_only=True) as space:
        before, after = read_build(space.build("before")), read_build(space.build("after"))
    assert {author for row in read_ledger(before) for author in row.authors} == {anna, bela}
    assert {author for row in read_ledger(after) for author in row.authors} == {bela}
    assert {record for record, (why, _) in read_exclusions(after).items() if why == "no_consent"} == set(theirs)
    assert {json.loads(line)["record"] for line in after.ledger.read_bytes().splitlines()} == set(others)


def test_who_left_takes_what_they_gave_and_erases_their_ratings_with_a_key_in_force_then(coop, home: Path, keys: dict[str, Path], tmp_path: Path) -> None:
    mine, others = give(coop, home, keys, tmp_path), give(coop, home, keys, tmp_path, "bela")
    assert coop("-C", home, "rate", others[0], "--score", "1", "--key", keys["anna"]).code == 0
    new = tmp_path / "new"
    generate_key(new)
    (anna,) = members(home, keys, "anna")
    assert coop("-C", home, "key", "rotate", new, "--key", keys["anna"]).code == 0
    leave(home, new, anna)
    for words in (("export", tmp_path / "old.csv"), ("rate", others[0], "--erase")):
        refused = coop("-C", home, *words, "--key", keys["anna"])  # out of force before they left
        assert (refused.code != 0, "not in force" in refused.err) == (True, True)
    assert coop("-C", home, "--json", "export", tmp_path / "out.csv", "--key", new).json["records"] == len(mine)
    assert coop("-C", home, "--json", "rate", others[0], "--erase", "--key", new).json["erased"] == 1
    assert coop("-C", home, "rate", others[0], "--score", "5", "--key", new).code != 0


def test_the_operator_erases_what_somebody_gave_who_left_and_nobody_elses(coop, home: Path, keys: dict[str, Path], tmp_path: Path) -> None:
    theirs, others = give(coop, home, keys, tmp_path), give(coop, home, keys, tmp_path, "bela")
    anna, bela = members(home, keys, "anna", "bela")
    with open_workspace(home) as space:
        mine, other = keep_reason(space, "mine"), keep_reason(space, "of another")
        for author, key, reason, number in ((anna, "anna", mine, "0"), (bela, "bela", other, "1"), (anna, "anna", other, "2")):
            payload = {"kind": "run", "subject": "sha256:" + number * 64, "previous": None, "reasons": reason}
            space.coop.state("coop.draft/v1", payload, key=load_key(keys[key]), author=author)
    refused = coop("-C", home, "erase", anna, "--yes")
    assert (refused.code != 0, "has not left" in refused.err) == (True, True)
    assert "ever a member" in coop("-C", home, "erase", "m-" + "0" * 16, "--yes").err
    leave(home, keys["anna"], anna)
    asked = CliRunner().invoke(commonweights.cli.coop, ["-C", str(home), "erase", anna], input="n\n")
    assert (asked.exit_code, f"Erase {len(theirs)} texts and 1 reasons of {anna} for good?" in asked.output) == (1, True)
    done = coop("-C", home, "--json", "erase", anna, "--yes")
    assert done.json == {"member": anna, "texts": len(theirs), "reasons": 1}
    with ContributionStore(home / "contributions.sqlite") as store:
        assert store.erased() == set(theirs)
        assert all(one.inputs for one in store.some(others))
    with open_workspace(home) as space:
        assert [reason_file(space, one).is_file() for one in (mine, other)] == [False, True]
    assert coop("-C", home, "--json", "erase", anna, "--yes").json == {"member": anna, "texts": 0, "reasons": 0}

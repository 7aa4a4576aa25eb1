"""The leak test by the command line: voted, run at the end of a run, signed, shown, compared with the release before, and told to members."""

import json
import stat
from pathlib import Path
from typing import Any

import yaml

from governance_hooks.canonical import dumps, loads, sha256
from tests.commonweights.pipeline import CONFIG, decide, prepare

TRAINING = {name: value for name, value in CONFIG["training"].items() if name != "max_steps"} | {"epochs": 1, "sequence_tokens": 256}  # type: ignore[attr-defined]
LEAK = {"minimum_canaries": 40, "maximum_epsilon": 1.5, "maximum_extraction": 0.3, "maximum_tpr": 0.9}


def plan(coop, home: Path, folder: Path, name: str, leak: dict[str, Any] | None, *, canaries: int = 40) -> Any:
    evaluation = CONFIG["evaluation"] | ({} if leak is None else {"leak": leak})  # type: ignore[operator]
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(CONFIG | {"name": name, "training": TRAINING, "canaries": canaries, "evaluation": evaluation}))
    return coop("-C", home, "plan", folder / f"{name}.yaml")


def test_a_leak_test_from_the_plan_to_the_log_to_the_release_after_it(coop, home: Path, keys: dict[str, Path], tmp_path: Path) -> None:
    folder = prepare(coop, home, keys, tmp_path)
    base = ["--base", folder / "tiny"]
    refused = plan(coop, home, folder, "none", LEAK, canaries=0)
    assert refused.code == 2
    assert "needs canaries" in refused.err

    planned = plan(coop, home, folder, "second", LEAK)
    assert planned.code == 0, planned.err
    assert "Leak test: with 40 canaries or more" in planned.out
    decide(coop, home, keys, "run", "second")
    trained = coop("-C", home, "train", "second", *base)
    assert trained.code == 0, trained.err
    assert trained.out.rstrip().endswith("next: coop release assemble second")
    entry = coop("-C", home, "--json", "leak", "second", *base)
    assert entry.code == 0, entry.out + entry.err
    assert (entry.json["logged"], entry.json["leak"]["verdict"], entry.json["leak"]["numbers"]["made"]) == (True, "PASS", 40)
    shown = coop("-C", home, "leak", "second", *base)
    assert "a coin put" in shown.out
    assert "PASS: within what members voted" in shown.out
    assert "epsilon is at least 0" in coop("-C", home, "eval", "second", *base).out

    again = coop("leak", "--again", home / "runs/second", *base)
    assert (again.code, "The losses are as stated" in again.out) == (0, True)
    assert coop("leak").code == 2

    told = coop("-C", home, "--json", "mine", "--exposure", "second", "--key", keys["anna"], *base)
    assert told.code == 0, told.err
    private = home / "private/exposure/second" / f"{told.json['member']}.json"
    assert loads(private.read_bytes(), floats=True) == told.json
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert stat.S_IMODE(private.parent.stat().st_mode) == 0o700
    assert [path.name for path in private.parent.iterdir()] == [private.name]
    assert {one["language"] for one in told.json["records"]} == {"spa"}
    assert "for you alone" in coop("-C", home, "mine", "--exposure", "second", "--key", keys["anna"], *base).out
    assert "no text of yours" in coop("-C", home, "mine", "--exposure", "second", "--key", keys["caro"], *base).out
    everybody = coop("-C", home, "--json", "leak", "second", "--members", *base)
    assert everybody.json == {"languages": {}, "withheld": ["eus", "spa"], "overall": None}
    assert not any(told.json["member"] in path.read_text(errors="replace") for path in (home / "runs/second/card").rglob("*") if path.is_file())

    unknown = plan(coop, home, folder, "third", LEAK | {"differential": {"previous": sha256(b"a plan nobody ran")}})
    assert (unknown.code, "the log knows no completed run of the plan" in unknown.err) == (2, True)
    assert not (home / "plans/third.json").exists()
    compared = {"previous": sha256((home / "plans/second.json").read_bytes()), "maximum_auc": 0.9}
    assert plan(coop, home, folder, "third", LEAK | {"maximum_extraction": 0.01, "differential": compared}).code == 0
    decide(coop, home, keys, "run", "third")
    trained = coop("-C", home, "train", "third", *base)
    assert (trained.code, trained.out.rstrip().endswith("next: coop propose waiver third")) == (0, True), trained.out
    refused = coop("-C", home, "release", "assemble", "third", "--no-derived", "--incomplete")
    assert refused.code == 2
    assert "no release: the weights did not pass the leak policy members voted: extraction INSUFFICIENT" in refused.err
    assert "coop propose waiver third" in refused.err
    blocked = coop("-C", home, "--json", "leak", "third", *base)
    assert blocked.code == 1  # forty canaries cannot show that 1% is not exceeded
    assert blocked.json["leak"]["criteria"]["extraction"] == "INSUFFICIENT"
    assert blocked.json["differential"]["members"] == {"previous": 2, "now": 2, "left": 0, "joined": 0}
    lines = (home / "runs/second/privacy/canaries.jsonl").read_bytes().splitlines()
    assert blocked.json["differential"]["numbers"]["left"] == sum(json.loads(line)["included"] for line in lines)
    assert "no release without a waiver" in coop("-C", home, "leak", "third", *base).out
    assert coop("-C", home, "eval", "third", *base).code == 1
    assert coop("-C", home, "leak", "third", "--previous", "second", *base).code == 2
    reused = coop("-C", home, "plan", folder / "second.yaml", "--force")
    assert (reused.code, "are known since the leak test of run second" in reused.err) == (2, True)
    waiver = coop("-C", home, "--json", "propose", "waiver", "third", "--key", keys["anna"])
    assert waiver.code == 0, waiver.err

    path = home / "runs/third/privacy/leak.json"
    path.write_bytes(dumps(json.loads(path.read_bytes()) | {"wall_s": 9999}))
    changed = coop("-C", home, "leak", "third", *base)
    assert changed.code == 1
    assert "is not the file the log names" in changed.err
    path.unlink()
    assert "is missing" in coop("-C", home, "leak", "third", *base).err


def test_without_a_policy_it_is_measured_on_request_and_nothing_is_signed(coop, home: Path, keys: dict[str, Path], tmp_path: Path) -> None:
    folder = prepare(coop, home, keys, tmp_path)
    base = ["--base", folder / "tiny"]
    assert plan(coop, home, folder, "second", None, canaries=20).code == 0
    decide(coop, home, keys, "run", "second")
    unknown = coop("-C", home, "leak", "second", *base)
    assert unknown.code != 0
    assert coop("-C", home, "train", "second", *base).code == 0
    assert not (home / "runs/second/privacy").exists()
    found = coop("-C", home, "--json", "leak", "second", *base)
    assert found.code == 0, found.err
    assert (found.json["logged"], found.json["leak"]["verdict"]) == (False, None)
    assert "No leak policy was voted" in coop("-C", home, "leak", "second", *base).out

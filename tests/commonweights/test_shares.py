"""`coop shares` after a real run: under the run's approval, resumable, within the voted minutes, every number checked again."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from governance_hooks.canonical import loads
from governance_hooks.stake.shares import check_shares
from tests.commonweights.pipeline import CONFIG, decide, prepare


@pytest.fixture
def trained(coop, home: Path, keys: dict[str, Path], tmp_path: Path) -> Path:
    """A run of two guilds whose plan shares its credit, trained and evaluated."""
    prepare(coop, home, keys, tmp_path)
    shared = CONFIG | {"attribution": {"minimum_members": 1, "resamples": 200}}
    (tmp_path / "first.yaml").write_text(yaml.safe_dump(shared), encoding="utf-8")
    planned = coop("-C", home, "plan", tmp_path / "first.yaml", "--force")
    assert planned.code == 0, planned.err
    assert "Who made it good: the credit is shared among 2 guilds" in planned.out
    decide(coop, home, keys, "run", "first")
    done = coop("-C", home, "train", "first", "--base", tmp_path / "tiny")
    assert done.code == 0, done.err
    return tmp_path


def test_shares_are_computed_resumed_after_a_kill_and_checked(coop, trained: Path, home: Path) -> None:
    base, stake = ["--base", trained / "tiny"], home / "runs/first/stake"
    done = coop("-C", home, "shares", "first", *base)
    assert done.code == 0, done.err
    assert "exact, 3 trainings of 2 guilds" in done.out
    assert "None of them is what a guild is worth." in done.out
    files = {f"stake/{path.name}": path.read_bytes() for path in stake.iterdir()}
    plan = (home / "runs/first/plan.json").read_bytes()
    assert "recomputed" in check_shares(plan, files, run="first")
    made = loads(files["stake/shares.json"])
    assert sum(one["share_ppm"] for one in made["shares"].values()) == 1_000_000
    assert made["shares"]["eus"]["value_micro"] > 0

    whole = stake.joinpath("values.jsonl").read_bytes()
    lines = whole.splitlines(keepends=True)
    stake.joinpath("shares.json").unlink()
    stake.joinpath("values.jsonl").write_bytes(b"".join(lines[:3]) + lines[3][:40])  # killed while it wrote a line
    again = coop("-C", home, "shares", "first", *base)
    assert again.code == 0, again.err
    resumed = loads(stake.joinpath("shares.json").read_bytes())
    assert (resumed["shares"], resumed["v"]) == (made["shares"], made["v"])  # times differ, numbers do not

    changed = stake.joinpath("shares.json").read_bytes().replace(b'"share_ppm":', b'"share_ppm":9', 1)
    stake.joinpath("shares.json").write_bytes(changed)
    refused = coop("-C", home, "shares", "first", *base)
    assert (refused.code, "do not hold" in refused.err) == (2, True)


def test_a_withdrawal_or_a_halt_stops_them_and_so_do_the_voted_minutes(
    coop, trained: Path, home: Path, keys: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import commonweights.attributing as attributing
    from train.coalitions import Coalitions

    base, stake = ["--base", trained / "tiny"], home / "runs/first/stake"
    monkeypatch.setattr(attributing, "LOOK_S", 0.0)  # look at the log between any two steps
    train, count = Coalitions.train, []

    def withdraw_meanwhile(self, coalition, seed, **how):
        count.append(coalition)
        if len(count) == 3:
            assert coop("-C", home, "consent", "withdraw", "--key", keys["bela"]).code == 0
        return train(self, coalition, seed, **how)

    class Patient(attributing._Permission):
        def look(self) -> None:
            if len(count) >= 3:
                super().look()

    monkeypatch.setattr(Coalitions, "train", withdraw_meanwhile)
    monkeypatch.setattr(attributing, "_Permission", Patient)
    stopped = coop("-C", home, "shares", "first", *base)
    assert (stopped.code, "lack a consent in force" in stopped.err) == (1, True), stopped.err
    assert len(stake.joinpath("values.jsonl").read_bytes().splitlines()) == 3  # head, base, all guilds; the one that was on is lost
    assert not stake.joinpath("shares.json").exists()
    blocked = coop("-C", home, "shares", "first", *base)
    assert (blocked.code, "BLOCKED" in blocked.err) == (1, True)


def test_the_voted_minutes_end_it_over_all_starts(coop, trained: Path, home: Path) -> None:
    base, path = ["--base", trained / "tiny"], home / "runs/first/stake/values.jsonl"
    assert coop("-C", home, "shares", "first", *base).code == 0
    (home / "runs/first/stake/shares.json").unlink()
    lines = path.read_bytes().splitlines(keepends=True)
    seconds = loads(lines[1][:-1])["milliseconds"]
    path.write_bytes(b"".join(lines[:1]) + lines[1].replace(b'"milliseconds":%d' % seconds, b'"milliseconds":3600001'))
    ended = coop("-C", home, "shares", "first", *base)
    assert (ended.code, "have used their voted time" in ended.err) == (1, True), ended.err


def test_a_run_without_attribution_or_not_completed_shares_nothing(coop, home: Path, keys: dict[str, Path], tmp_path: Path) -> None:
    prepare(coop, home, keys, tmp_path)
    unknown = coop("-C", home, "shares", "first")
    assert (unknown.code, "no such run" in unknown.err) == (1, True)
    decide(coop, home, keys, "run", "first")
    assert coop("-C", home, "train", "first", "--base", tmp_path / "tiny").code == 0
    refused = coop("-C", home, "shares", "first", "--base", tmp_path / "tiny")
    assert (refused.code, "voted on no attribution" in refused.err) == (2, True)

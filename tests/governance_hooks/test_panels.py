"""Panels by lot: the same seed draws the same panel again, and every way to choose another one is refused."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from governance_hooks.canonical import sha256
from governance_hooks.checkpoint import NoteKey, sign_checkpoint
from governance_hooks.cooperative import Paths
from governance_hooks.errors import BadInput, Refused
from governance_hooks.report import Report, Status
from governance_hooks.rules import panels
from governance_hooks.sortition.draw import Sortition
from governance_hooks.sortition.pool import check_targets, pool_rows
from governance_hooks.sortition.seed import seed_of, witness_lines
from governance_hooks.sortition.verifier import draw_panel, verify_panel
from governance_hooks.state.polls import Panel
from governance_hooks.statement import shift
from governance_hooks.tally import roll_root
from tests.village import Village

ENGINE = "sortition-algorithms 0.12.15 highspy 1.15.1 numpy 2.4.6 python 3.11"
TARGETS = b"feature,value,min,max\nlanguage,spa,1,3\nlanguage,swh,1,3\nlanguage,none,0,2\n"


def speak(village: Village) -> None:
    """Six of ten contribute, in two languages."""
    for member in village.members[:3]:
        village.contribute(member, language="spa")
    for member in village.members[3:6]:
        village.contribute(member, language="swh")


def payload(village: Village, **changes: Any) -> dict[str, Any]:
    pool = village.coop.register.active()
    value = {
        "purpose": "advice",
        "subject": sha256(b"what shall we train next"),
        "seats": 4,
        "pool": {"root": roll_root(pool), "members": len(pool)},
        "targets": sha256(TARGETS),
        "private_features": None,
        "algorithm": "maximin",
        "engine": ENGINE,
        "draw_at": shift(village.clock, 60),
    }
    return value | changes


def opened(village: Village, **changes: Any) -> Panel:
    return village.coop.register.panels[village.say("coop.panel/v1", payload(village, **changes), village.members[0]).id]


def timed(village: Village, panel: Panel) -> str:
    """Let the time come; return the checkpoint that seeds the draw."""
    village.clock = max(village.clock, panel.draw_at)
    village.say("coop.time/v1", {}, "operator")
    return village.coop.log.checkpoint()


def logged(village: Village, panel: Panel, note: str, selected: list[str]) -> None:
    village.say("coop.draw/v1", {"panel": panel.id, "checkpoint": note, "selected": selected}, "operator")


def four(village: Village) -> list[str]:
    return village.members[:4]


def step(report: Report, number: int) -> tuple[str, str]:
    return report.steps[number - 1].status.value, report.steps[number - 1].why or report.steps[number - 1].checked


# ── rules of the log ──


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"pool": {"root": sha256(b"friends"), "members": 10}}, "members of its log position"),
        ({"seats": 10}, "fewer seats"),
        ({"draw_at": "2020-01-01T00:00:00Z"}, "drawn after it is opened"),
        ({"purpose": "oversight"}, "needs witnesses"),
        ({"algorithm": "leximin"}, "algorithm"),
        ({"engine": "something newer"}, "engine"),
    ],
)
def test_a_panel_on_other_terms_is_refused(village10: Village, changes: dict[str, Any], why: str) -> None:
    with pytest.raises((Refused, BadInput), match=why):
        opened(village10, **changes)


def test_a_pool_too_large_for_maximin_is_told_of_the_other_algorithm(village10: Village, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(panels, "MAXIMIN_POOL", 9)
    with pytest.raises(Refused, match="too large for maximin"):
        opened(village10)
    assert opened(village10, algorithm="legacy").algorithm == "legacy"


# ── pool, targets, seed ──


def test_features_come_from_the_log_as_it_was_at_the_freeze(village10: Village) -> None:
    village = village10
    speak(village)
    village.contribute(village.members[0], records=("x", "y", "z"), language="swh")  # as many as in Spanish: the first of the alphabet
    before = {row["id"]: row for row in pool_rows(village.coop.register)[1]}
    assert [before[m]["language"] for m in village.members] == ["spa"] * 3 + ["swh"] * 3 + ["none"] * 4
    assert {row["joined"] for row in before.values()} == {"founder"}
    panel = opened(village)
    village.contribute(village.members[8], language="spa")
    _, later = pool_rows(village.coop.proof().fold(panel.opened))
    assert {row["id"]: row for row in later} == before


def test_private_features_cover_exactly_the_pool(village10: Village) -> None:
    register, members = village10.coop.register, village10.members
    good = "id,region\n" + "".join(f"{member},north\n" for member in members)
    columns, rows = pool_rows(register, good.encode())
    assert columns == ("language", "joined", "region")
    assert {row["region"] for row in rows} == {"north"}
    for bad, why in (
        (good.replace(members[0], "m-" + "e" * 16), "exactly one row"),
        (good + f"{members[0]},south\n", "exactly one row"),
        (good.replace("region", "language"), "other columns"),
        (good.replace("north", "=cmd|' /C calc'!A0"), "not allowed"),
        (good.replace(",north\n", ",north,x\n", 1), "other columns"),
    ):
        with pytest.raises(BadInput, match=why):
            pool_rows(register, bad.encode())


@pytest.mark.parametrize(
    ("targets", "why"),
    [
        (b"feature,value,min,max\nshoe,42,1,3\n", "does not have"),
        (b"feature,value,min,max\nlanguage,spa,1,3\nlanguage,swh,0,0\n", "cannot fill"),
        (b"feature,value,min,max\nlanguage,spa,3,4\nlanguage,swh,3,4\n", "cannot fill"),
        (b"feature,value,min,max\nlanguage,spa,1,x\n", "whole number"),
        (b"feature,value,min,max\nlanguage,spa,1,4\nlanguage,spa,1,4\n", "twice"),
        (b"feature,value\nlanguage,spa\n", "other columns"),
        (b"\xff", "no CSV"),
    ],
)
def test_targets_that_cannot_be_met_or_read_are_refused(targets: bytes, why: str) -> None:
    with pytest.raises(BadInput, match=why):
        check_targets(targets, ("language", "joined"), 4)


def test_the_seed_hangs_on_panel_checkpoint_and_witnesses_but_not_on_the_logs_own_signatures(village10: Village) -> None:
    key, root = NoteKey.load(Paths(village10.root).log_key), village10.coop.log.root()
    note = sign_checkpoint(key, 7, root, 1_800_000_000)
    seed = seed_of("sha256:" + "a" * 64, note)
    assert 0 < seed < 2**256
    assert seed == seed_of("sha256:" + "a" * 64, sign_checkpoint(key, 7, root, 1_800_000_999))
    witness = "— witness.example/w " + base64.b64encode(b"w" * 76).decode()
    others = [
        seed_of("sha256:" + "b" * 64, note),
        seed_of("sha256:" + "a" * 64, sign_checkpoint(key, 8, root, 1)),
        seed_of("sha256:" + "a" * 64, note + witness + "\n"),
    ]
    assert len({seed, *others}) == 4
    assert witness_lines(note) == []
    assert witness_lines(note + witness + "\n") == [witness]


# ── the draw itself, by the program ──


@pytest.fixture
def program() -> Sortition:
    return Sortition.find()


def drawn(village: Village, program: Sortition, **changes: Any) -> Panel:
    speak(village)
    panel = opened(village, engine=program.engine, **changes)
    note = timed(village, panel)
    logged(village, panel, note, draw_panel(village.coop.proof(), panel, note, TARGETS, None, program))
    return panel


def verified(village: Village, panel: Panel, program: Sortition | None, targets: bytes = TARGETS, private: bytes | None = None) -> Report:
    return verify_panel(village.coop.proof(), village.coop.register, panel, targets, private, program)


@pytest.mark.sortition
@pytest.mark.parametrize("algorithm", ["maximin", "legacy"])
def test_a_draw_is_the_same_again_and_meets_its_targets(village10: Village, program: Sortition, algorithm: str) -> None:
    panel = drawn(village10, program, algorithm=algorithm)
    report = verified(village10, panel, program)
    assert report.passed, report.text()
    assert "NOT grinding-proof without a witness" in report.text()
    languages = {row["id"]: row["language"] for row in pool_rows(village10.coop.register)[1]}
    counts = [sum(languages[member] == code for member in panel.selected) for code in ("spa", "swh", "none")]
    assert 1 <= counts[0] <= 3
    assert 1 <= counts[1] <= 3
    assert counts[2] <= 2


@pytest.mark.sortition
def test_other_targets_or_private_features_than_the_panels_are_refused(village10: Village, program: Sortition) -> None:
    panel = drawn(village10, program)
    assert "not the one the panel was opened with" in step(verified(village10, panel, program, TARGETS + b"\n"), 2)[1]
    assert "not the one the panel was opened with" in step(verified(village10, panel, program, private=b"id,x\n"), 2)[1]


@pytest.mark.sortition
def test_another_version_of_the_program_is_unknown_not_failed(village10: Village, program: Sortition) -> None:
    panel = drawn(village10, program)
    other = Sortition(program.path, ENGINE.replace("0.12.15", "0.99.0"))
    report = verified(village10, panel, other)
    assert step(report, 4)[0] == "UNKNOWN"
    assert report.exit_code == 2
    assert step(verified(village10, panel, None), 4)[0] == "UNKNOWN"
    with pytest.raises(Refused, match="another version"):
        draw_panel(village10.coop.proof(), panel, panel.checkpoint or "", TARGETS, None, other)


@pytest.mark.sortition
def test_a_checkpoint_over_other_entries_is_found(village10: Village, program: Sortition) -> None:
    """The log's key can sign a root that is not the log's: the fold cannot see it, the re-draw does."""
    village = village10
    speak(village)
    panel = opened(village, engine=program.engine)
    timed(village, panel)
    key, size = NoteKey.load(Paths(village.root).log_key), panel.seed_size or 0
    ground = sign_checkpoint(key, size, b"r" * 32, 4_000_000_000)
    logged(village, panel, ground, draw_panel(village.coop.proof(), panel, ground, TARGETS, None, program))
    report = verified(village, panel, program)
    assert step(report, 3) == ("FAIL", "the seed's checkpoint is not over the entries of this log")


@pytest.mark.sortition
def test_leximin_that_falls_back_to_maximin_is_refused(village10: Village, program: Sortition) -> None:
    """The rules know no leximin; should the program ever draw otherwise than asked, its own words stop it."""
    speak(village10)
    columns, rows = pool_rows(village10.coop.register)
    with pytest.raises(Refused, match="drew otherwise than it was asked"):
        program.draw(columns, rows, TARGETS, 4, "leximin", 5)


@pytest.mark.sortition
def test_targets_the_pool_cannot_meet_draw_nobody(village10: Village, program: Sortition) -> None:
    speak(village10)
    columns, rows = pool_rows(village10.coop.register)
    with pytest.raises(Refused, match="found no panel"):
        program.draw(columns, rows, b"feature,value,min,max\nlanguage,spa,4,4\nlanguage,swh,0,4\nlanguage,none,0,4\n", 4, "maximin", 5)


def test_a_panel_that_is_not_drawn_yet_is_unknown(village10: Village) -> None:
    speak(village10)
    panel = opened(village10)
    report = verified(village10, panel, None)
    assert [one.status for one in report.steps] == [Status.PASS, Status.PASS, Status.UNKNOWN, Status.UNKNOWN]


def test_a_machine_without_the_program_is_told_how_to_get_it(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COOP_SORTITION", str(tmp_path / "none"))
    with pytest.raises(BadInput, match="not on this machine"):
        Sortition.find()

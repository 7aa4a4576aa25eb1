"""Threat 21: somebody chooses who is drawn by lot.

The attacker is whoever opens a panel, or the operator, who writes the log and can try words and moments until they like the draw. Blocked: the pool
is frozen by the log before its seed exists, the seed's checkpoint is fixed by the log, there is one draw a panel and one panel a subject, and everybody
draws again. Witnesses sign what nobody can compute before; a panel that holds an office is drawn only with all of them. Without witnesses a panel
that advises is not safe from its operator's tries, and every draw and verification says so.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from governance_hooks.checkpoint import NoteKey, sign_checkpoint, verify_checkpoint
from governance_hooks.cooperative import Cooperative, Paths
from governance_hooks.sortition.draw import Sortition
from governance_hooks.sortition.pool import pool_rows
from governance_hooks.sortition.seed import seed_of
from governance_hooks.sortition.verifier import draw_panel
from governance_hooks.sshsig import generate_key
from governance_hooks.state.polls import Panel
from governance_hooks.tally import roll_root
from tests.attacks.forge import blocked
from tests.governance_hooks.test_panels import TARGETS, drawn, four, logged, opened, payload, program, speak, step, timed, verified
from tests.village import Village, found_witnessed, make_witnesses

__all__ = ["program"]

LATE = "m-" + "f" * 16


@pytest.fixture
def panel(village10: Village) -> Panel:
    return opened(village10)


def draw(village: Village, panel: Panel, note: str, selected: list[str], author: str = "operator") -> bytes:
    return village.entry("coop.draw/v1", {"panel": panel.id, "checkpoint": note, "selected": selected}, author)


def log_key(village: Village) -> NoteKey:
    return NoteKey.load(Paths(village.root).log_key)


def test_who_joins_after_the_freeze_is_not_drawn(village10: Village, panel: Panel, tmp_path: Path) -> None:
    village, late = village10, generate_key(tmp_path / "late")
    registrars = [village.keys[one] for one in village.members[:2]]
    village.say("coop.admission/v1", {"member": LATE, "key": late.public.line}, village.members[0], late, *registrars)
    note = timed(village, panel)
    blocked(village, draw(village, panel, note, [*village.members[:3], LATE]), "somebody drawn was not in the pool when it was frozen", tmp_path)


def test_a_pool_of_friends_is_not_the_pool(village10: Village) -> None:
    village = village10
    friends = {"root": roll_root(village.members[:6]), "members": 6}
    for pool in (friends, friends | {"members": 10}):
        blocked(village, village.entry("coop.panel/v1", payload(village, pool=pool), village.members[0]), "a panel's pool is the members of its log position")


def test_there_is_no_second_draw_and_no_second_panel_until_somebody_likes_it(village10: Village, panel: Panel) -> None:
    village = village10
    note = timed(village, panel)
    logged(village, panel, note, four(village))
    village.wait(1)
    blocked(village, draw(village, panel, note, village.members[4:8]), "this panel is drawn already: there is no second draw")
    again = village.entry("coop.panel/v1", payload(village), village.members[0])
    blocked(village, again, "a second one would be shopping for a better draw")


@pytest.mark.parametrize("selected", ["too few", "too many", "one twice", "in another order"])
def test_a_draw_fills_the_seats_and_no_others(village10: Village, panel: Panel, selected: str) -> None:
    note, m = timed(village10, panel), village10.members
    named = {"too few": m[:3], "too many": m[:5], "one twice": [m[0], m[0], m[1], m[2]], "in another order": m[3::-1]}[selected]
    blocked(village10, draw(village10, panel, note, named), "a draw names as many distinct members as there are seats, sorted")


def test_nobody_but_the_operator_states_the_draw_and_not_before_its_time(village10: Village, panel: Panel) -> None:
    village = village10
    blocked(village, draw(village, panel, village.coop.log.checkpoint(), four(village)), "the time of this draw has not come in the log")
    note = timed(village, panel)
    blocked(village, draw(village, panel, note, four(village), village.members[0]), "coop.draw/v1 is the operator's to state")


def test_the_seeds_checkpoint_is_fixed_by_the_log_and_not_chosen(village10: Village) -> None:
    village = village10
    early = village.coop.log.checkpoint()
    panel = opened(village)
    village.wait(30)
    village.say("coop.time/v1", {}, "operator")
    between = village.coop.log.checkpoint()
    right = timed(village, panel)
    village.say("coop.time/v1", {}, "operator")
    for note in (early, between, village.coop.log.checkpoint()):
        blocked(village, draw(village, panel, note, four(village)), "the operator's first statement of the appointed time, and from no other")
    size, root = panel.seed_size or 0, village.coop.log.root(panel.seed_size)
    strange = sign_checkpoint(NoteKey.generate("village.example/log", village.root / "other.key"), size, root, 1_900_000_000)
    blocked(village, draw(village, panel, strange, four(village)), "checkpoint is not signed by the log's key")
    blocked(village, draw(village, panel, sign_checkpoint(log_key(village), size, root, 1_500_000_000), four(village)), "older than the appointed time")
    logged(village, panel, right, four(village))


def test_signing_the_checkpoint_again_draws_nobody_else(village10: Village, panel: Panel) -> None:
    note = timed(village10, panel)
    seen = verify_checkpoint(note, village10.coop.register.log_key)
    again = [sign_checkpoint(log_key(village10), seen.size, seen.root, seen.time + later) for later in range(5)]
    assert {seed_of(panel.id, one) for one in (note, *again)} == {seed_of(panel.id, note)}


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Village]:
    """A village of ten whose bylaws require two of three witnesses."""
    witnesses = make_witnesses(tmp_path)
    keys, operator = found_witnessed(tmp_path / "village", witnesses, 2)
    with Cooperative.open(tmp_path / "village") as coop:
        yield Village(tmp_path / "village", coop, keys, operator, witnesses)


def office(village: Village) -> Panel:
    """Open a panel for the oversight body."""
    return opened(village, purpose="oversight", seats=2)


def test_a_panel_that_holds_an_office_is_not_drawn_without_witnesses(village10: Village) -> None:
    made = village10.entry("coop.panel/v1", payload(village10, purpose="oversight"), village10.members[0])
    blocked(village10, made, "an oversight panel needs witnesses: without them the log's writer can try seeds until they like the panel")


def test_leaving_out_a_witness_to_get_another_seed_is_refused(watched: Village) -> None:
    panel = office(watched)
    timed(watched, panel)
    watched.cosign()
    whole = watched.coop.checkpoint()
    lines = whole.rstrip("\n").split("\n")
    for left_out in range(-3, 0):
        fewer = "\n".join(line for number, line in enumerate(lines) if number != len(lines) + left_out) + "\n"
        assert seed_of(panel.id, fewer) != seed_of(panel.id, whole)  # another seed, to be chosen from
        blocked(watched, draw(watched, panel, fewer, watched.members[:2]), "too few witnesses cosigned the seed's checkpoint")
    logged(watched, panel, whole, watched.members[:2])


def test_asking_the_witnesses_again_later_for_another_seed_is_refused(watched: Village) -> None:
    panel = office(watched)
    note = timed(watched, panel)
    seen = verify_checkpoint(note, watched.coop.register.log_key)
    times = (seen.time + 7200 + number for number in range(3))
    late = note + "".join(witness.key.cosign(seen, time) for witness, time in zip(watched.witnesses.values(), times, strict=True))
    blocked(watched, draw(watched, panel, late, watched.members[:2]), "cosigned the seed's checkpoint too late, perhaps not for the first time")


def test_a_made_up_cosignature_seeds_nothing(watched: Village) -> None:
    panel = office(watched)
    note = timed(watched, panel)
    watched.cosign()
    lines = watched.coop.checkpoint().removeprefix(note)
    first = lines.split("\n")[0]
    forged = first[: first.rindex(" ") + 1] + base64.b64encode(base64.b64decode(first[first.rindex(" ") + 1 :])[:-1] + b"x").decode()
    blocked(watched, draw(watched, panel, note + lines.replace(first, forged), watched.members[:2]), "does not verify")


@pytest.mark.sortition
def test_a_draw_without_witnesses_says_that_it_is_not_safe_from_tries(village10: Village, program: Sortition) -> None:
    report = verified(village10, drawn(village10, program), program)
    assert report.passed
    assert "NOT grinding-proof without a witness" in report.text()


@pytest.mark.sortition
@pytest.mark.parametrize("algorithm", ["maximin", "legacy"])
def test_neither_the_order_of_the_pool_nor_the_environment_moves_the_draw_and_another_seed_does(
    village10: Village, program: Sortition, algorithm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    speak(village10)
    columns, rows = pool_rows(village10.coop.register)
    one = program.draw(columns, rows, TARGETS, 4, algorithm, 12345)
    monkeypatch.setenv("PYTHONHASHSEED", "99")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert program.draw(columns, rows[::-1], TARGETS, 4, algorithm, 12345) == one
    assert any(program.draw(columns, rows, TARGETS, 4, algorithm, seed) != one for seed in (2**255, 2**254 + 1, 7))


@pytest.mark.sortition
def test_a_forged_selection_is_found_by_drawing_again(village10: Village, program: Sortition) -> None:
    village = village10
    speak(village)
    panel = opened(village, engine=program.engine)
    note = timed(village, panel)
    honest = draw_panel(village.coop.proof(), panel, note, TARGETS, None, program)
    friend = next(member for member in village.members if member not in honest)
    logged(village, panel, note, sorted([friend, *honest[1:]]))
    assert step(verified(village, panel, program), 4) == ("FAIL", "the draw gives other members than those logged (2 differ)")

"""k of n witnesses: who counts, which time they vouch for, and every place that relies on a checkpoint blocks without them."""

import itertools
import shutil
import sqlite3
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from governance_hooks import merkle
from governance_hooks.audit import audit, audit_tiles
from governance_hooks.bylaws import Bylaws
from governance_hooks.checkpoint import NoteKey, sign_checkpoint, verify_checkpoint
from governance_hooks.cooperative import Cooperative
from governance_hooks.errors import Refused
from governance_hooks.export import export
from governance_hooks.fields import CLOCK_SKEW_S
from governance_hooks.gate import Request, run_gate
from governance_hooks.hooks.guard import Guard
from governance_hooks.memory import Memory
from governance_hooks.note import vkey
from governance_hooks.proof import Proof, read_proof
from governance_hooks.report import Blocked, Report, Status
from governance_hooks.statement import shift, timestamp
from governance_hooks.witness.cosigner import Cosigner
from governance_hooks.witness.evidence import Evidence
from governance_hooks.witness.policy import Policy, Witnessed
from tests.village import CONSENT, RULES, Approved, Village, found, make_witnesses

ONE, TWO, THREE = (f"sister{i}.example/witness" for i in (1, 2, 3))


def bylaws(**changes: object) -> Bylaws:
    return Bylaws.model_validate(
        {"registrars": ["m-" + "0" * 16], "registrars_required": 1, "oversight": [], "kinds": {"run": RULES, "release": RULES}} | changes
    )


def unix(instant: str) -> int:
    return int(datetime.fromisoformat(instant).timestamp())


def said(stated: int, required: int, *times: int) -> Witnessed:
    """A checkpoint cosigned at these times; nothing here is signed."""
    witnesses = tuple(Cosigner(f"w{i}", 4, bytes([i]) * 32) for i in range(max(len(times), required)))
    return Witnessed(Policy(witnesses, required), stated, {f"w{i}": time for i, time in enumerate(times)})


# Who counts.


def test_bylaws_without_witnesses_require_none() -> None:
    assert bylaws().policy == Policy()


def test_one_key_under_two_names_is_one_witness(tmp_path: Path) -> None:
    one, two, three = (witness.key.cosigner for witness in make_witnesses(tmp_path))
    assert bylaws(witnesses=[one.text, two.text, three.text], witnesses_required=2).policy.required == 2
    for twice in ([one.text, replace(one, name="other.example").text], [one.text, replace(two, name=one.name).text], [one.text, one.text]):
        with pytest.raises(ValidationError, match="one key under two names is one witness"):
            bylaws(witnesses=twice)


@pytest.mark.parametrize("required", [-1, 4])
def test_no_more_are_required_than_there_are(required: int, tmp_path: Path) -> None:
    keys = [witness.key.cosigner.text for witness in make_witnesses(tmp_path)]
    with pytest.raises(ValidationError):
        bylaws(witnesses=keys, witnesses_required=required)


def test_neither_the_log_nor_its_operator_is_a_witness_of_itself(tmp_path: Path) -> None:
    """The founding is refused, whatever the key is called and whichever type it claims."""
    _, operator = found(tmp_path / "a")
    with Cooperative.open(tmp_path / "a") as coop:
        log = coop.register.log_key
    own = [vkey(log.name, 4, log.raw), vkey("other.example", 4, log.raw), vkey("other.example", 4, operator.public.raw)]
    stranger = make_witnesses(tmp_path)[0].key.cosigner
    for text in [*own, replace(stranger, name=log.name).text]:
        with pytest.raises(Refused, match="cannot be witnesses of themselves"):
            Policy.parse([text], 0).require_independent(log, operator.public.raw)
    with pytest.raises(Refused, match="cannot be witnesses of themselves"):
        found(tmp_path / "b", witnesses=[replace(stranger, name="village.example/log").text], witnesses_required=1)


def test_a_log_key_is_no_verifier_key_of_a_witness(village: Village) -> None:
    with pytest.raises(ValidationError, match="not the key of a cosigner"):
        bylaws(witnesses=[village.coop.register.log_key.text])


# Which time they vouch for.


def test_the_time_is_the_earliest_among_the_k_newest() -> None:
    assert said(100, 1, 150, 130, 140).time == 150
    assert said(100, 2, 150, 130, 140).time == 140
    assert said(100, 3, 150, 130, 140).time == 130
    assert said(100, 0).time == 100
    with pytest.raises(Refused, match="2 of 3 witnesses cosigned this checkpoint, 3 must; missing: w2"):
        _ = said(100, 3, 150, 130).time


@given(st.data())
def test_fewer_than_k_liars_make_no_checkpoint_look_fresher_than_the_freshest_honest_witness(data: st.DataObject) -> None:
    required = data.draw(st.integers(1, 5))
    liars = data.draw(st.lists(st.integers(1, 10_000), max_size=required - 1))
    honest = data.draw(st.lists(st.integers(1, 10_000), min_size=required - len(liars), max_size=8))
    times = data.draw(st.permutations(liars + honest))
    assert said(1, required, *times).time <= max(honest)


@given(st.data())
def test_fewer_than_k_liars_let_no_log_date_itself_past_an_honest_clock(data: st.DataObject) -> None:
    required = data.draw(st.integers(1, 5))
    liars = data.draw(st.lists(st.integers(1, 10_000), max_size=required - 1))
    honest = data.draw(st.lists(st.integers(1, 5_000), min_size=required - len(liars), max_size=8))
    stated = max(honest) + CLOCK_SKEW_S + data.draw(st.integers(1, 5_000))
    with pytest.raises(Refused, match="ahead of its witnesses'"):
        _ = said(stated, required, *liars, *honest).time


def test_an_operator_whose_clock_runs_ahead_is_refused_by_the_gate(witnessed: Village) -> None:
    """The operator could close votes early: its checkpoint says tomorrow, its witnesses say today."""
    approved = Approved(witnessed)
    today = witnessed.clock
    note = sign_checkpoint(NoteKey.load(witnessed.coop.paths.log_key), witnessed.coop.register.size, witnessed.coop.log.root(), unix(shift(today, 3600)))
    checkpoint_of(witnessed, note)
    step = gate(approved).steps[2]
    assert step.status is Status.FAIL
    assert "3600 s ahead of its witnesses'" in step.why


def checkpoint_of(village: Village, note: str) -> None:
    """Put another newest checkpoint of the log's real key into its database, and have it cosigned by the village's clock."""
    with sqlite3.connect(village.root / "log.sqlite") as raw:
        raw.execute("DROP TRIGGER IF EXISTS entry_UPDATE")
        raw.execute("UPDATE entry SET note = ? WHERE position = ?", (note, village.coop.register.size - 1))
    for name, witness in village.witnesses.items():
        line = witness.key.cosign(verify_checkpoint(note, village.coop.register.log_key), unix(village.clock))
        village.coop.log.keep_cosignature(village.coop.register.size, name, line)


# Every place that relies on a checkpoint.


def request(approved: Approved, **changes: object) -> Request:
    village = approved.village
    base = Request(
        village.coop.proof().dumps() and approved.plan_bytes, village.coop.proof().dumps(), approved.base, approved.build, village.clock, village.coop.pin
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def gate(approved: Approved, **changes: object) -> Report:
    return run_gate(request(approved, **changes))


def test_the_gate_passes_with_each_two_of_three_and_blocks_with_each_one(witnessed: Village) -> None:
    approved = Approved(witnessed)
    note = witnessed.coop.checkpoint()
    assert witnessed.cosign().keys() == {ONE, TWO, THREE}
    lines = witnessed.coop.log.cosignatures(witnessed.coop.register.size)
    for names in itertools.chain.from_iterable(itertools.combinations(sorted(lines), count) for count in range(4)):
        count = len(names)
        proof = Proof(note + "".join(lines[name] for name in names), witnessed.coop.proof().entries).dumps()
        report = gate(approved, proof=proof)
        assert report.passed == (count >= 2), report.text()
        if count < 2:
            assert [step.number for step in report.blocking] == [3]
            missing = ", ".join(sorted({ONE, TWO, THREE} - set(names)))
            assert f"{count} of 3 witnesses cosigned this checkpoint, 2 must; missing: {missing}" in report.steps[2].why
            assert "coop log cosign" in report.steps[2].todo
        else:
            assert f"by {count} of 3 witnesses" in report.steps[2].checked


def test_without_witnesses_the_gate_says_whose_word_it_is(approved: Approved) -> None:
    assert "time by the operator's word, no independent witness" in gate(approved).steps[2].checked


def test_the_gate_blocks_a_forged_a_strange_and_a_moved_cosignature(witnessed: Village, tmp_path: Path) -> None:
    approved = Approved(witnessed)
    witnessed.cosign()
    good, entries = witnessed.coop.checkpoint(), witnessed.coop.proof().entries
    own = witnessed.coop.log.checkpoint()
    checkpoint = read_proof(witnessed.coop.proof().dumps()).replay(None).checkpoint
    stranger = make_witnesses(tmp_path / "strangers", ("ed25519",))[0].key
    forged = replace(stranger, name=ONE).cosign(checkpoint, checkpoint.time)
    moved = witnessed.witnesses[ONE].key.cosign(replace(checkpoint, size=checkpoint.size - 1), checkpoint.time)
    strange = replace(stranger, name="zz.example").cosign(checkpoint, checkpoint.time)
    lines = witnessed.coop.log.cosignatures(checkpoint.size)
    assert gate(approved).passed
    for note in (good + strange, own + forged + lines[TWO] + lines[THREE], own + moved + lines[TWO] + lines[THREE]):
        report = gate(approved, proof=Proof(note, entries).dumps())
        assert {step.number for step in report.blocking} >= {2, 3}, report.text()


def test_a_frozen_log_is_refused_by_the_gate_and_cosigned_again_it_passes(witnessed: Village) -> None:
    """Freeze: whoever carries the log keeps showing an old state. Only witnesses can say that it is still the newest."""
    approved = Approved(witnessed)
    witnessed.cosign()
    later = shift(witnessed.clock, 3 * 86_400)
    assert gate(approved, now=later, max_age_s=4 * 86_400).steps[2].status is Status.PASS
    step = gate(approved, now=later, max_age_s=86_400).steps[2]
    assert step.status is Status.FAIL
    assert "old, 86400 s allowed: halts and withdrawals since would go unseen" in step.why
    assert "coop log cosign" in step.todo
    witnessed.clock = later
    witnessed.cosign(ONE)
    assert gate(approved, now=later, max_age_s=86_400).steps[2].status is Status.FAIL  # one of two required: the other's word is old
    witnessed.cosign(THREE)
    assert gate(approved, now=later, max_age_s=86_400).steps[2].status is Status.PASS


def test_a_witness_from_the_future_makes_no_checkpoint_fresh(witnessed: Village) -> None:
    approved = Approved(witnessed)
    note, size = witnessed.coop.checkpoint(), witnessed.coop.register.size
    checkpoint = read_proof(witnessed.coop.proof().dumps()).replay(None).checkpoint
    for name in (ONE, TWO):
        witnessed.coop.log.keep_cosignature(size, name, witnessed.witnesses[name].key.cosign(checkpoint, unix(shift(witnessed.clock, 7200))))
    assert note != witnessed.coop.checkpoint()
    assert "in the future" in gate(approved).steps[2].why


def test_the_guard_stops_a_run_whose_log_grows_without_its_witnesses(witnessed: Village) -> None:
    approved = Approved(witnessed)
    approved.start()
    witnessed.cosign()
    watch = Guard(request(approved, run="run-1"), fresh=lambda: witnessed.coop.proof().dumps(), every_s=0, clock=lambda: witnessed.clock)
    assert watch.start().passed
    assert watch.stop() is None
    witnessed.consent(witnessed.members[4])
    stop = watch.stop()
    assert stop is not None
    assert (stop.kind, "0 of 3 witnesses" in stop.reason) == ("unchecked", True)
    witnessed.cosign(TWO, THREE)
    assert watch.stop() is None
    witnessed.wait(8 * 86_400)
    frozen = watch.stop()
    assert frozen is not None
    assert (frozen.kind, "old, 604800 s allowed" in frozen.reason) == ("unchecked", True)
    witnessed.cosign(ONE, THREE)
    assert watch.stop() is None


def test_the_audit_of_a_folder_and_of_an_export_ask_for_the_witnesses(witnessed: Village, tmp_path: Path) -> None:
    for cosigned in (False, True):
        if cosigned:
            witnessed.cosign(ONE, THREE)
        export(witnessed.coop.log, tmp_path / "out", note=witnessed.coop.checkpoint())
        for report in (audit(witnessed.root), audit_tiles(tmp_path / "out", witnessed.coop.pin)):
            step = next(step for step in report.steps if step.name == "witnesses")
            assert (report.exit_code, step.status) == ((0, Status.PASS) if cosigned else (2, Status.UNKNOWN)), report.text()
            assert ("by 2 of 3 witnesses" in step.checked) if cosigned else ("0 of 3 witnesses" in step.why and "coop log cosign" in step.todo)


def test_what_is_merely_not_cosigned_yet_is_unknown_to_the_audit_and_still_closes_the_gate(witnessed: Village) -> None:
    """Nothing is wrong with such a log, so the audit does not say so; nobody relies on it either."""
    approved = Approved(witnessed)
    witnessed.cosign(ONE)
    assert [step.status for step in audit(witnessed.root).blocking] == [Status.UNKNOWN]
    closed = gate(approved)
    assert [step.number for step in closed.blocking] == [3]
    with pytest.raises(Blocked, match="1 of 3 witnesses"):
        closed.require()
    witnessed.cosign(TWO)
    assert audit(witnessed.root).passed
    assert gate(approved).passed


def test_an_export_with_a_cosignature_cut_off_or_changed_does_not_hold(witnessed: Village, tmp_path: Path) -> None:
    witnessed.cosign(ONE, TWO)
    export(witnessed.coop.log, tmp_path / "out", note=witnessed.coop.checkpoint())
    path = tmp_path / "out" / "checkpoint"
    lines = path.read_text().split("\n")
    for changed, code in (([*lines[:-2], ""], 2), ([*lines[:-2], lines[-2][:-6] + "AAAAA=", ""], 1)):
        path.write_text("\n".join(changed))
        assert audit_tiles(tmp_path / "out", witnessed.coop.pin).exit_code == code


def test_the_policy_is_that_of_the_bylaws_at_the_checkpoint(witnessed: Village) -> None:
    """A cosignature of the checkpoint before says nothing about this one."""
    witnessed.cosign()
    before = witnessed.coop.checkpoint()
    witnessed.consent(witnessed.members[0])
    assert witnessed.coop.checkpoint() == witnessed.coop.log.checkpoint()
    cut = Proof(before, witnessed.coop.proof().entries[:-1])
    assert cut.replay(witnessed.coop.pin).witnessed.time == unix(witnessed.clock)


# The gate and the memory of the machine it runs on.


def test_the_gate_blocks_a_proof_older_than_what_this_machine_saw(approved: Approved, tmp_path: Path) -> None:
    village, memory = approved.village, Memory(approved.village.coop.pin, tmp_path / "state")
    old = village.coop.proof().dumps()
    assert gate(approved, memory=memory).passed
    village.wait(10)
    village.consent(village.members[4])
    assert gate(approved, memory=memory).passed
    report = gate(approved, proof=old, memory=memory)
    assert [step.number for step in report.blocking] == [3]
    assert "seen a longer log than this proof" in report.steps[2].why
    assert gate(approved, proof=old).passed  # a machine that remembers nothing cannot see it


def test_the_gate_and_the_guard_keep_evidence_of_a_fork(approved: Approved, tmp_path: Path) -> None:
    village, memory = approved.village, Memory(approved.village.coop.pin, tmp_path / "state")
    approved.start()
    proof = village.coop.proof()
    watch = Guard(request(approved, run="run-1", memory=memory), fresh=proof.dumps, every_s=0, clock=lambda: village.clock)
    assert watch.start().passed
    assert watch.stop() is None
    other = village.entry("coop.consent/v1", CONSENT | {"notice": "sha256:" + "0" * 64}, village.members[3])
    forked = fork(village, proof, other)
    watch.fresh = lambda: forked
    stop = watch.stop()
    assert stop is not None
    assert (stop.kind, "the log is a fork" in stop.reason) == ("unchecked", True)
    (kept,) = (tmp_path / "state" / "evidence").iterdir()
    assert Evidence.read(kept).judge().kind == "fork"
    shutil.rmtree(kept)
    assert "the log is a fork" in gate(approved, proof=forked, memory=memory).steps[2].why
    assert Evidence.read(kept).judge().kind == "fork"


def fork(village: Village, proof: Proof, *entries: bytes) -> bytes:
    """Return a proof, signed by the log's real key, in which these entries stand in the place of the last ones."""
    whole = (*proof.entries[: -len(entries)], *entries, *proof.entries[-len(entries) :])
    root = merkle.root([merkle.leaf_hash(entry) for entry in whole])
    return Proof(sign_checkpoint(NoteKey.load(village.coop.paths.log_key), len(whole), root, unix(village.clock)), whole).dumps()


def test_times_in_words_are_those_of_the_witnesses(witnessed: Village) -> None:
    witnessed.wait(30)
    witnessed.cosign(ONE, TWO)
    words = witnessed.coop.proof().replay(None).witnessed.words
    assert words == f"newest at {timestamp(datetime.fromisoformat(witnessed.clock))} by 2 of 3 witnesses ({ONE}, {TWO}), 2 required"

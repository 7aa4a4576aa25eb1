"""Threat 22: a member who will be paid splits into several, so that the shares add up to more (shell companies, arXiv 2505.19013).

The attacker is a member with fresh keys and registrars who admit them, or the operator who pays. Blocked: members vote on one file with every
share in it, by digest, on a roll frozen before; who splits later gains no vote and no place in that file, and it is paid once. A split before the
proposal is for the members to see in the file: whose contributions are whose is in the log from the day of each. Nobody founds a guild: guilds
follow from the build. Accepted work adds up the same under one name or three, but where a rule has a cap, a limit on pieces or equal parts:
there only registrars stand in the way (docs/stake.md).
"""

import json
from pathlib import Path

import pytest

from governance_hooks.canonical import dumps, sha256
from governance_hooks.gate import run_gate
from governance_hooks.sshsig import PrivateKey, generate_key
from governance_hooks.stake.allocation import allocate
from governance_hooks.stake.rule import PayoutRule, rule_words
from governance_hooks.stake.work import Done
from governance_hooks.state.proposals import Proposal
from tests.attacks.forge import blocked, broken, request_for
from tests.commonweights.conftest import Coop
from tests.village import Approved, Village

SHELLS = ("m-00000000000000aa", "m-00000000000000bb")


def payout(shares: dict[str, int]) -> bytes:
    return dumps({"payout": "2026", "shares": shares})


@pytest.fixture
def fair(village: Village) -> bytes:
    """A file that gives each of the five a fifth."""
    return payout(dict.fromkeys(village.members, 200))


@pytest.fixture
def asked(village: Village, fair: bytes) -> Proposal:
    """The vote on that file, open for a day by the default rules."""
    return village.coop.register.proposals[village.propose("payout", sha256(fair)).id]


@pytest.fixture
def shells(village: Village, tmp_path: Path) -> dict[str, PrivateKey]:
    """Two fresh keys of the last member, admitted by registrars as two members while the vote is open."""
    return {name: generate_key(tmp_path / name) for name in SHELLS}


def split(village: Village, shells: dict[str, PrivateKey]) -> None:
    for name, key in shells.items():
        payload = {"member": name, "key": key.public.line}
        village.say("coop.admission/v1", payload, village.members[0], key, *(village.keys[one] for one in village.members[:2]))
        village.keys[name] = key


def approve(village: Village, proposal: Proposal) -> None:
    for member in sorted(proposal.roll):
        village.ballot(member, proposal.id)
    village.close(proposal.id)


def test_shells_have_no_vote_on_a_payout_that_was_open_before_them(village: Village, asked: Proposal, shells: dict[str, PrivateKey]) -> None:
    root = asked.roll_root
    split(village, shells)
    for name in SHELLS:
        ballot = village.entry("coop.ballot/v1", {"proposal": asked.id, "choice": "for", "sequence": 1, "reason": None}, name)
        blocked(village, ballot, "not on the roll of this proposal, which was frozen when it opened")
    assert asked.roll_root == root
    assert not set(SHELLS) & asked.roll


def test_shells_do_not_lower_the_quorum_of_a_payout_that_is_open(village: Village, asked: Proposal, shells: dict[str, PrivateKey]) -> None:
    split(village, shells)
    for member in village.members[:2]:
        village.ballot(member, asked.id)
    assert asked.count().why == "quorum missed: 2 of 5 voted, 50% needed"


def test_a_file_with_other_shares_is_not_what_was_approved(village: Village, asked: Proposal, shells: dict[str, PrivateKey], fair: bytes) -> None:
    split(village, shells)
    approve(village, asked)
    village.wait(1)
    for other in (payout(dict.fromkeys([*village.members, *SHELLS], 200)), fair + b"\n"):
        paid = village.entry("coop.payout/v1", {"payout": sha256(other), "proposal": asked.id}, "operator")
        blocked(village, paid, "members voted on another subject")


def test_what_was_approved_is_paid_once_and_by_the_operator_only(village: Village, asked: Proposal, fair: bytes) -> None:
    approve(village, asked)
    paid = {"payout": sha256(fair), "proposal": asked.id}
    blocked(village, village.entry("coop.payout/v1", paid, village.members[4]), "coop.payout/v1 is the operator's to state")
    village.say("coop.payout/v1", paid, "operator")
    village.wait(1)
    blocked(village, village.entry("coop.payout/v1", paid, "operator"), "this payout is made already")


def test_what_was_voted_down_is_not_paid(village: Village, asked: Proposal, fair: bytes) -> None:
    for member in village.members:
        village.ballot(member, asked.id, "against")
    village.close(asked.id)
    blocked(village, village.entry("coop.payout/v1", {"payout": sha256(fair), "proposal": asked.id}, "operator"), "members did not approve this")


def test_the_same_texts_given_again_by_a_shell_are_in_the_build_once(coop: Coop, home: Path, keys: dict[str, Path], tmp_path: Path) -> None:
    pytest.importorskip("data_pipeline.store")
    rows = [{"inputs": f"pregunta {n}", "targets": f"respuesta {n}", "language_code": "spa", "licence": "CC-BY-4.0"} for n in range(24)]
    (tmp_path / "given.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name in ("anna", "bela"):  # anna, and a second member that is anna's shell
        assert coop("-C", home, "contribute", tmp_path / "given.jsonl", "--key", keys[name]).code == 0
        assert coop("-C", home, "consent", "give", "--yes", "--key", keys[name]).code == 0
    built = coop("-C", home, "--json", "build", "make", "one", "--heldout", "400").json
    assert (built["records"], built["excluded"]) == (24, {"duplicate": 24})


def test_a_ledger_that_gives_records_to_a_shell_leaves_out_who_contributed_them(approved: Approved, shells: dict[str, PrivateKey]) -> None:
    village, member = approved.village, approved.village.members[0]
    split(village, shells)
    approved.consents[SHELLS[0]] = village.consent(SHELLS[0]).id
    batch = next(one.id for one in village.coop.register.contributions.values() if one.author == member)
    approved.write_build([approved.row(f"{member[-4:]}-{number}", [SHELLS[0]], batch, split) for number, split in enumerate(("train", "train", "heldout"))])
    approved.plan = approved.make_plan()
    approved.plan_bytes = dumps(approved.plan.model_dump())
    approved.proposal = village.approve("run", sha256(approved.plan_bytes), uses=2)
    broken(run_gate(request_for(approved)), "consent in force", f"text {member[-4:]}-0 leaves out the member who contributed it")


def test_a_payout_that_opens_after_the_split_shows_who_was_let_in_when(village: Village, shells: dict[str, PrivateKey]) -> None:
    before = village.coop.register.size
    split(village, shells)
    joined = {name: village.coop.register.members[name].joined for name in SHELLS}
    assert joined == {SHELLS[0]: before, SHELLS[1]: before + 1}  # a member reads there that two came on one day, and who signed for them


def test_work_earns_the_same_under_one_name_or_three(village: Village) -> None:
    honest, other = village.members[:2]
    rule = PayoutRule(coop=village.coop.register.coop, name="plain", currency="EUR")
    shares = {"spa": 1_000_000}

    def earned(split: list[tuple[str, int]]) -> int:
        done = [Done(member=member, guild="spa", work="record", pieces=pieces) for member, pieces in [*split, (other, 40)]]
        found = allocate(rule, 1_000_000, shares, done, [])
        return sum(found.members[member].paid for member, _ in split)

    assert abs(earned([(honest, 30)]) - earned([(honest, 10), *((shell, 10) for shell in SHELLS)])) <= 3  # the odd cents of three roundings


def test_what_a_split_gains_under_a_cap_is_stated_and_bounded_by_the_uncapped_amount(village: Village) -> None:
    honest, other = village.members[:2]
    done = {
        "one": [Done(member=honest, guild="spa", work="record", pieces=30), Done(member=other, guild="spa", work="record", pieces=10)],
        "three": [Done(member=one, guild="spa", work="record", pieces=10) for one in (honest, *SHELLS, other)],
    }
    capped = PayoutRule(coop=village.coop.register.coop, name="capped", currency="EUR", member_cap_percent=30)
    free = capped.model_copy(update={"member_cap_percent": 100})

    def paid(rule: PayoutRule, which: str) -> int:
        return sum(one.paid for member, one in allocate(rule, 1_000_000, {"spa": 1_000_000}, done[which], []).members.items() if member != other)

    assert paid(capped, "one") < paid(capped, "three") <= paid(free, "one")
    assert any("pay to be two members" in line for line in rule_words(capped))
    assert not any("pay to be two members" in line for line in rule_words(free))

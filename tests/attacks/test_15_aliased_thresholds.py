"""Threat 15: one person reaches a threshold alone, by signing under several keys or names.

The attacker is one registrar, guardian, overseer, sponsor or founder with as many keys as they like. Blocked: thresholds count members,
found by the raw public key of each signature, never signatures or names of keys.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from governance_hooks.bylaws import Bylaws, Rules
from governance_hooks.canonical import digest, loads
from governance_hooks.cooperative import Cooperative
from governance_hooks.errors import Refused
from governance_hooks.register import Register
from governance_hooks.sshsig import PrivateKey, generate_key
from governance_hooks.statement import SELF, body, entry, shift, sign
from tests.attacks.forge import blocked, history
from tests.village import RULES, Village, found

PUPPET = "m-00000000000000aa"
TWO_SPONSORS = Rules.model_validate(RULES.model_dump() | {"sponsors": 2})


@pytest.fixture
def strict(tmp_path: Path) -> Iterator[Village]:
    """A village where two overseers halt together and two members sponsor a run."""
    kinds = {"run": TWO_SPONSORS.model_dump(), "release": RULES.model_dump()}
    keys, operator = found(tmp_path / "strict", oversight_required=2, kinds=kinds)
    with Cooperative.open(tmp_path / "strict") as coop:
        yield Village(tmp_path / "strict", coop, keys, operator)


def aliases(village: Village, member: str, path: Path, number: int = 3) -> list[PrivateKey]:
    """Enrol more keys of one member, honestly; return all of them."""
    made = [generate_key(path / f"{number}") for number in range(number - 1)]
    for key in made:
        village.say("coop.key/v1", {"action": "add", "key": key.public.line}, member, village.keys[member], key)
    return [village.keys[member], *made]


def test_three_keys_of_one_registrar_are_one_registrar(village: Village, tmp_path: Path) -> None:
    registrar, puppet = village.members[0], generate_key(tmp_path / "puppet")
    many = aliases(village, registrar, tmp_path)
    admission = village.entry("coop.admission/v1", {"member": PUPPET, "key": puppet.public.line}, registrar, puppet, *many)
    blocked(village, admission, "too few registrars signed this admission", tmp_path)


def test_the_newcomers_own_keys_are_no_registrars(village: Village, tmp_path: Path) -> None:
    puppet, second = generate_key(tmp_path / "puppet"), generate_key(tmp_path / "second")
    payload = {"member": PUPPET, "key": puppet.public.line}
    admission = village.entry("coop.admission/v1", payload, village.members[0], puppet, second, village.keys[village.members[0]])
    blocked(village, admission, "an admission is signed by somebody who is no registrar")


def test_one_signature_twice_is_one_signature(village: Village, tmp_path: Path) -> None:
    registrar, puppet = village.members[0], generate_key(tmp_path / "puppet")
    payload = {"member": PUPPET, "key": puppet.public.line}
    made = body("coop.admission/v1", payload, coop=village.coop.register.coop, author=registrar, issued=village.clock)
    mine = sign(made, village.keys[registrar])
    blocked(village, entry(made, [sign(made, puppet), mine, mine]), "needs signatures of distinct keys")


def test_three_keys_of_one_registrar_recover_nobody(village: Village, tmp_path: Path) -> None:
    registrar, lost, new = village.members[0], village.members[4], generate_key(tmp_path / "new")
    many = aliases(village, registrar, tmp_path)
    blocked(village, village.entry("coop.recovery/v1", {"member": lost, "key": new.public.line}, lost, new, *many), "too few signed this recovery")


def test_three_keys_of_one_guardian_recover_nobody(village: Village, tmp_path: Path) -> None:
    guardian, lost, new = village.members[3], village.members[4], generate_key(tmp_path / "new")
    village.say("coop.guardians/v1", {"guardians": [village.members[2], guardian]}, lost)
    many = aliases(village, guardian, tmp_path)
    blocked(village, village.entry("coop.recovery/v1", {"member": lost, "key": new.public.line}, lost, new, *many), "too few signed this recovery")


@pytest.mark.parametrize("named", ["one guardian twice", "themselves"])
def test_guardians_are_other_people_and_each_is_one(village: Village, named: str) -> None:
    member, guardian = village.members[4], village.members[3]
    listed, words = {"one guardian twice": ([guardian, guardian], "guardians are listed once each"), "themselves": ([guardian, member], "nobody is their own")}[
        named
    ]
    blocked(village, village.entry("coop.guardians/v1", {"guardians": listed}, member), words)


def test_three_keys_of_one_overseer_halt_nothing(strict: Village, tmp_path: Path) -> None:
    members = strict.members
    proposal = strict.propose("run", digest("x"), strict.keys[members[0]], strict.keys[members[1]]).id
    overseer = members[3]
    many, payload = aliases(strict, overseer, tmp_path), {"proposal": proposal, "until": shift(strict.clock, 3600)}
    blocked(strict, strict.entry("coop.halt/v1", payload, overseer, *many), "too few of the oversight body signed this halt")
    strict.say("coop.halt/v1", payload, overseer, many[1], strict.keys[members[4]])


def test_three_keys_of_one_member_are_one_sponsor(strict: Village, tmp_path: Path) -> None:
    member, proposal = strict.members[0], strict.propose("run", digest("x"), strict.keys[strict.members[0]], strict.keys[strict.members[1]])
    many = aliases(strict, member, tmp_path)
    made = loads(proposal.entry)["body"]["payload"]
    blocked(
        strict,
        strict.entry("coop.proposal/v1", made | {"subject": digest("y"), "closes": shift(strict.clock, 60)}, member, *many),
        "too few members sponsor this proposal",
    )


def test_three_keys_of_one_member_object_once(tmp_path: Path) -> None:
    challenged = Rules.model_validate(RULES.model_dump() | {"challenge_s": 600, "objections": 2})
    keys, operator = found(tmp_path / "v", kinds={"run": challenged.model_dump(), "release": RULES.model_dump()})
    with Cooperative.open(tmp_path / "v") as coop:
        village = Village(tmp_path / "v", coop, keys, operator)
        proposal, member = village.approve("run", digest("x")), village.members[0]
        many = aliases(village, member, tmp_path)
        village.say("coop.objection/v1", {"proposal": proposal, "reason": None}, member, many[0])
        blocked(village, village.entry("coop.objection/v1", {"proposal": proposal, "reason": None}, member, many[1]), "you have objected already")
        assert not village.coop.register.proposals[proposal].contested()


def test_a_minimum_of_yes_counts_members(village: Village, tmp_path: Path) -> None:
    member, proposal = village.members[0], village.propose("run", digest("x")).id
    many = aliases(village, member, tmp_path)
    village.ballot(member, proposal)
    for key in many[1:]:
        again = village.entry("coop.ballot/v1", {"proposal": proposal, "choice": "for", "sequence": 1, "reason": None}, member, key)
        blocked(village, again, "ballots of a member are numbered one by one")


@pytest.mark.parametrize("field", ["registrars", "oversight"])
def test_bylaws_that_name_one_person_twice_do_not_reach_a_threshold_of_two(village: Village, field: str) -> None:
    one = village.members[0]
    document = village.coop.register.bylaws.model_dump() | {field: [one, one], f"{field}_required": 2}
    with pytest.raises(ValidationError, match=f"{field}_required is more than"):
        Bylaws.model_validate(document)


def test_a_founder_who_signs_for_two_founds_nothing(village: Village) -> None:
    founding = loads(history(village)[0])["body"]["payload"]
    made = body("coop.founding/v1", founding, coop=SELF, author="operator")
    signers = [village.operator, *(village.keys[one] for one in village.members[1:])]
    with pytest.raises(Refused, match="signed by the operator and by every founder"):
        Register().apply(entry(made, [sign(made, key) for key in signers]))


def test_one_witness_under_two_names_is_one_witness(witnessed: Village) -> None:
    key = next(iter(witnessed.witnesses.values())).key
    twice = [key.cosigner.text, replace(key, name="alias.example/witness").cosigner.text]
    document = witnessed.coop.register.bylaws.model_dump() | {"witnesses": twice, "witnesses_required": 2}
    with pytest.raises((ValidationError, Refused), match="one key under two names is one witness"):
        Bylaws.model_validate(document)

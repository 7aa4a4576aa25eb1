"""Threat 4: one person gets several votes, as several members.

The attacker holds the operator's key and any number of fresh keys, or is one registrar. Blocked: registrars admit by threshold, a key
is enrolled once and for ever, the roll is frozen when a proposal opens. Registrars who collude up to their threshold can admit
puppets: the log names for ever who signed each admission, and the puppets vote only on what opens after that.
"""

import json
from pathlib import Path

import pytest

from governance_hooks.canonical import digest
from governance_hooks.cooperative import Cooperative
from governance_hooks.errors import Refused
from governance_hooks.motions import Admit
from governance_hooks.register import Register
from governance_hooks.sshsig import PrivateKey, PublicKey, generate_key
from governance_hooks.statement import SELF, body, entry, parse, sign
from governance_hooks.tally import roll_root
from tests.attacks.forge import blocked, history
from tests.commonweights.conftest import Coop
from tests.village import RULES, Village, found

SUBJECT = digest("what is voted on")
PUPPET, SECOND = "m-00000000000000aa", "m-00000000000000bb"


def admission(village: Village, member: str, key: PrivateKey, *registrars: PrivateKey) -> bytes:
    return village.entry("coop.admission/v1", {"member": member, "key": key.public.line}, village.members[0], key, *registrars)


def admit(village: Village, member: str, key: PrivateKey) -> None:
    """Two registrars admit a member."""
    village.coop.append(admission(village, member, key, *(village.keys[one] for one in village.members[:2])))
    village.keys[member] = key


@pytest.fixture
def key(tmp_path: Path) -> PrivateKey:
    return generate_key(tmp_path / "puppet")


def test_one_key_is_not_enrolled_as_two_members(village: Village, key: PrivateKey, tmp_path: Path) -> None:
    admit(village, PUPPET, key)
    registrars = [village.keys[one] for one in village.members[:2]]
    blocked(village, admission(village, SECOND, key, *registrars), "this key is enrolled already, perhaps under another name", tmp_path)
    blocked(village, admission(village, PUPPET, generate_key(tmp_path / "other"), *registrars), "this member id is taken")


@pytest.mark.parametrize("whose", ["a member's", "the operator's", "a member's revoked", "that of somebody who left"])
def test_a_key_never_changes_hands(village: Village, whose: str, tmp_path: Path) -> None:
    old, member = village.keys[village.members[3]], village.members[3]
    if whose == "the operator's":
        old = village.operator
    elif whose == "a member's revoked":
        new = generate_key(tmp_path / "new")
        village.say("coop.rotation/v1", {"old": old.public.line, "new": new.public.line}, member, old, new)
    elif whose == "that of somebody who left":
        village.say("coop.leave/v1", {}, member)
    registrars = [village.keys[one] for one in village.members[:2]]
    blocked(village, admission(village, PUPPET, old, *registrars), "this key is enrolled already")
    with pytest.raises(Refused, match="this key is enrolled already"):
        village.move(Admit(member=PUPPET, key=old.public.line), village.keys[village.members[0]], old)


def test_a_key_line_has_one_spelling(village: Village, key: PrivateKey) -> None:
    admit(village, PUPPET, key)
    kind, blob = key.public.line.split()
    for line in (f"{kind} {blob} another-name", f" {kind} {blob}", f"{kind}  {blob}", f"{kind} {blob}\n"):
        assert PublicKey.from_line(line) == key.public  # to a reader of such lines it is this key
        made = {"member": SECOND, "key": line}
        with pytest.raises(Refused, match=r"payload of coop\.admission/v1: key"):
            parse(resigned(village, made, key))


def resigned(village: Village, payload: dict[str, str], *keys: PrivateKey) -> bytes:
    """Sign an admission our own tools would not make."""
    made = {"type": "coop.admission/v1", "coop": village.coop.register.coop, "author": village.members[0], "issued": village.clock, "nonce": "0" * 32}
    return entry(made | {"payload": payload}, [sign(made | {"payload": payload}, one) for one in keys])


def test_the_operator_alone_admits_nobody(village: Village, key: PrivateKey, tmp_path: Path) -> None:
    blocked(village, admission(village, PUPPET, key), "too few registrars signed this admission", tmp_path)
    blocked(village, admission(village, PUPPET, key, village.operator), "an admission is signed by somebody who is no registrar")


def test_one_registrar_alone_admits_nobody(village: Village, key: PrivateKey) -> None:
    registrar = village.keys[village.members[0]]
    blocked(village, admission(village, PUPPET, key, registrar), "too few registrars signed this admission")
    blocked(village, admission(village, PUPPET, key, registrar, village.keys[village.members[4]]), "signed by somebody who is no registrar")


def test_a_key_somebody_else_holds_is_not_enrolled_for_them(village: Village, key: PrivateKey, tmp_path: Path) -> None:
    payload = {"member": PUPPET, "key": generate_key(tmp_path / "somebodys").public.line}
    made = village.entry("coop.admission/v1", payload, village.members[0], *(village.keys[one] for one in village.members[:2]))
    blocked(village, made, "signed by the new member's key too (proof of possession)")


def test_who_joins_after_a_vote_opened_has_no_vote_in_it(village: Village, key: PrivateKey, tmp_path: Path) -> None:
    proposal = village.propose("run", SUBJECT).id
    admit(village, PUPPET, key)
    ballot = village.entry("coop.ballot/v1", {"proposal": proposal, "choice": "for", "sequence": 1, "reason": None}, PUPPET)
    blocked(village, ballot, "not on the roll of this proposal, which was frozen when it opened", tmp_path)
    assert village.coop.register.proposals[proposal].roll == frozenset(village.members)


@pytest.mark.parametrize("roll", ["with puppets", "without the others"])
def test_a_proposal_cannot_bring_its_own_roll(village: Village, roll: str) -> None:
    mine = [*village.members, PUPPET] if roll == "with puppets" else village.members[:2]
    payload = {
        "kind": "run",
        "subject": SUBJECT,
        "rules": RULES.model_dump(),
        "roll": {"root": roll_root(mine), "members": len(mine)},
        "closes": "2099-01-01T00:00:00Z",
        "uses": 1,
        "motion": None,
        "draft": None,
    }
    blocked(village, village.entry("coop.proposal/v1", payload, village.members[0]), "a proposal's roll is that of its log position")
    same_number = payload | {"roll": {"root": roll_root([*village.members[1:], PUPPET]), "members": 5}}
    blocked(village, village.entry("coop.proposal/v1", same_number, village.members[0]), "a proposal's roll is that of its log position")


def test_who_left_votes_no_more_not_even_where_they_are_on_the_roll(village: Village) -> None:
    proposal, member = village.propose("run", SUBJECT).id, village.members[4]
    village.say("coop.leave/v1", {}, member)
    ballot = village.entry("coop.ballot/v1", {"proposal": proposal, "choice": "for", "sequence": 1, "reason": None}, member)
    blocked(village, ballot, "not a member of this cooperative")


def test_nobody_founds_with_one_key_twice(tmp_path: Path) -> None:
    keys, operator = found(tmp_path / "honest", founders=3)
    with Cooperative.open(tmp_path / "honest", read_only=True) as coop:
        founding = json.loads(coop.proof().entries[0])["body"]
    founders = founding["payload"]["founders"]
    founders[1]["key"] = founders[0]["key"]
    made = body("coop.founding/v1", founding["payload"], coop=SELF, author="operator")
    signers = [operator, *(key for member, key in keys.items() if member != founders[1]["member"])]
    with pytest.raises(Refused, match="founders and operator need distinct ids and distinct keys"):
        Register().apply(entry(made, [sign(made, one) for one in signers]))


def test_puppets_of_registrars_who_collude_are_in_the_log_with_the_names_of_who_let_them_in(village: Village, key: PrivateKey) -> None:
    admit(village, PUPPET, key)
    statement = parse(history(village)[-1])
    owners = village.coop.register.known_keys
    assert {owners[raw] for raw in statement.signers} == {PUPPET, *village.members[:2]}


def test_anybody_reads_in_the_log_who_admitted_whom(coop: Coop, home: Path, keys: dict[str, Path], tmp_path: Path) -> None:
    request = tmp_path / "join.json"
    assert coop("-C", home, "join", "--key", keys["dora"], "--out", request).code == 0
    for name in ("anna", "bela"):
        assert coop("-C", home, "sign", request, "--yes", "--key", keys[name]).code == 0
    assert coop("-C", home, "append", request).code == 0
    admitted = coop("-C", home, "--json", "log").json["entries"][-1]
    shown = coop("-C", home, "log", "show", admitted["statement"][7:19])
    assert (admitted["type"], shown.code) == ("coop.admission/v1", 0)
    assert shown.out.count("BEGIN SSH SIGNATURE") == 3  # the newcomer's and two registrars'

"""Keys of members in the register: which carriers count, from which pages, and every rule that blocks."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from governance_hooks.bylaws import Bylaws
from governance_hooks.checkpoint import NoteKey
from governance_hooks.cooperative import Cooperative, Paths
from governance_hooks.errors import BadInput, Refused
from governance_hooks.motions import Admit
from governance_hooks.ssh.envelope import Envelope
from governance_hooks.ssh.publickey import SK_ECDSA, SK_ED25519
from governance_hooks.ssh.wire import Reader, mpint, string
from governance_hooks.sshsig import PrivateKey, generate_key
from governance_hooks.statement import SELF, body, entry, now, shift, sign
from tests.authenticator import ORIGIN, RP_ID, Passkey, SecurityKey
from tests.governance_hooks.test_register import refused
from tests.village import CONSENT, RULES, Village, found

START = shift(now(), -86_400)
PAGE = {"origin": ORIGIN, "rp_id": RP_ID, "valid_from": START, "valid_until": None}
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
NEW = "m-" + "a" * 16


def opened(root: Path, **changes: object) -> Iterator[Village]:
    keys, operator = found(root, **changes)
    with Cooperative.open(root) as coop:
        yield Village(root, coop, keys, operator)


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Village]:
    """A village whose bylaws name a page for passkeys."""
    yield from opened(tmp_path / "web", passkey_origins=[PAGE])


def add(village: Village, member: str, key: SecurityKey | PrivateKey) -> None:
    """Enrol a second key."""
    village.say("coop.key/v1", {"action": "add", "key": key.public.line}, member, village.keys[member], key)


class At:
    """A passkey on another page than usual."""

    def __init__(self, key: Passkey, origin: str) -> None:
        self.key, self.origin, self.public = key, origin, key.public

    def sign(self, message: bytes) -> str:
        return self.key.sign(message, origin=self.origin)


@pytest.mark.parametrize("key", [SecurityKey(SK_ED25519), SecurityKey(SK_ECDSA), Passkey()], ids=["sk-ed25519", "sk-ecdsa", "passkey"])
def test_every_carrier_is_admitted_added_votes_and_is_revoked(web: Village, key: SecurityKey) -> None:
    first, second = web.members[:2]
    web.say("coop.admission/v1", {"member": NEW, "key": key.public.line}, first, key, web.keys[first], web.keys[second])
    own = type(key)() if isinstance(key, Passkey) else SecurityKey(key.kind)
    add(web, first, own)
    proposal = web.propose("run", "sha256:" + "0" * 64).id
    for member, signer in ((NEW, key), (first, own)):
        web.say("coop.ballot/v1", {"proposal": proposal, "choice": "for", "sequence": 1, "reason": None}, member, signer)
    assert web.coop.register.proposals[proposal].votes.keys() == {NEW, first}
    web.say("coop.key/v1", {"action": "revoke", "key": web.keys[first].public.line}, first, own)
    refused(web, "is signed by", "coop.consent/v1", CONSENT, first)
    web.say("coop.consent/v1", CONSENT, first, own)
    refused(web, "enrolled already", "coop.key/v1", {"action": "add", "key": key.public.line}, second, web.keys[second], key)


def test_passkeys_found_a_cooperative(tmp_path: Path) -> None:
    paths, keys = Paths(tmp_path), {"m-" + "1" * 16: Passkey(), "m-" + "2" * 16: SecurityKey(SK_ED25519)}
    log_key, operator = NoteKey.generate("web.example/log", paths.log_key), generate_key(paths.operator_key)
    bylaws = Bylaws(registrars=list(keys), oversight=[], kinds={"run": RULES, "release": RULES})

    def founding(key: str, **changes: object) -> bytes:
        founders = [{"member": member, "key": one.public.line} for member, one in keys.items()]
        rules = bylaws.model_dump() | changes
        payload = {"name": "web", "log": log_key.verifier.text, "operator": key, "founders": founders, "bylaws": rules}
        made = body("coop.founding/v1", payload, coop=SELF, author="operator")
        return entry(made, [sign(made, one) for one in (operator, *keys.values())])

    with pytest.raises(Refused, match="accept no passkeys"):
        Cooperative.found(tmp_path, founding(operator.public.line), log_key)
    with pytest.raises(BadInput, match="operator"):  # a service cannot touch a key
        founding(SecurityKey(SK_ED25519).public.line, passkey_origins=[PAGE])
    Cooperative.found(tmp_path, founding(operator.public.line, passkey_origins=[PAGE]), log_key)
    with Cooperative.open(tmp_path) as coop:
        assert coop.register.active() == sorted(keys)


def test_a_cooperative_without_a_list_of_pages_refuses_passkeys(village: Village) -> None:
    key, (first, second) = Passkey(), village.members[:2]
    refused(village, "accept no passkeys", "coop.admission/v1", {"member": NEW, "key": key.public.line}, first, key, village.keys[first], village.keys[second])
    refused(village, "accept no passkeys", "coop.key/v1", {"action": "add", "key": key.public.line}, first, village.keys[first], key)


def test_a_passkey_counts_only_from_a_page_the_bylaws_name(web: Village) -> None:
    key, member = Passkey(), web.members[0]
    add(web, member, key)
    for origin in (ORIGIN + ":8443", ORIGIN.replace("https", "http"), "https://evil.example", ORIGIN + "/", "https://login.village.example"):
        refused(web, "do not name", "coop.consent/v1", CONSENT, member, At(key, origin))
    other = Passkey("village.example")  # a key of the login page's domain, used on the right page
    refused(web, "do not name", "coop.key/v1", {"action": "add", "key": other.public.line}, member, web.keys[member], other)
    web.say("coop.consent/v1", CONSENT, member, key)


def test_a_page_counts_in_its_time_only_and_nobody_dates_back_past_the_log(tmp_path: Path) -> None:
    moved = "https://new.village.example"
    end = shift(START, 2 * 86_400)
    pages = [PAGE | {"valid_until": end}, PAGE | {"origin": moved, "valid_from": end}]
    for village in opened(tmp_path / "web", passkey_origins=pages):
        village.coop.clock = lambda: shift(end, 86_400)  # a writer that lets every date pass: the rule itself must hold
        key, member = Passkey(), village.members[0]
        add(village, member, key)
        refused(village, "do not name", "coop.consent/v1", CONSENT, member, key, issued=shift(START, -1))
        refused(village, "do not name", "coop.consent/v1", CONSENT, member, key, issued=end)
        refused(village, "do not name", "coop.consent/v1", CONSENT, member, At(key, moved), issued=shift(end, -1))
        village.say("coop.consent/v1", CONSENT, member, key, issued=shift(end, -1))
        village.say("coop.consent/v1", CONSENT, member, At(key, moved), issued=end)
        village.say("coop.build/v1", {"manifest": "sha256:" + "0" * 64, "root": "sha256:" + "0" * 64, "records": 1}, "operator", issued=end)
        # The domain has lapsed; its new owner lets a member's key sign, dated yesterday.
        refused(village, "do not name", "coop.consent/v1", CONSENT, member, key, issued=shift(end, -2))


def test_a_ballot_with_the_other_ecdsa_signature_is_the_same_ballot(web: Village) -> None:
    key, member = Passkey(), web.members[0]
    add(web, member, key)
    made = body("coop.consent/v1", CONSENT, coop=web.coop.register.coop, author=member, issued=web.clock)
    signature = sign(made, key)
    web.coop.append(entry(made, [signature]))
    envelope = Envelope.parse(signature)
    reader = Reader(envelope.signature)
    kind, numbers = reader.string(), Reader(reader.string())
    r, s = numbers.mpint(), numbers.mpint()
    other = Envelope(key.public, "sha256", string(kind) + string(mpint(r) + mpint(ORDER - s)) + envelope.signature[reader.at :]).armored
    with pytest.raises(Refused, match="in the log already"):
        web.coop.append(entry(made, [other]))
    with pytest.raises(Refused, match="distinct keys"):
        web.coop.append(entry(made | {"nonce": "0" * 32}, [sign(made | {"nonce": "0" * 32}, key)] * 2))


@pytest.mark.parametrize(
    "change",
    [
        {"origin": "http://village.example"},
        {"origin": "https://village.example/sign"},
        {"origin": "HTTPS://village.example"},
        {"rp_id": "https://village.example"},
        {"valid_until": START},
        {"valid_from": "today"},
    ],
)
def test_malformed_pages_are_refused_in_bylaws(tmp_path: Path, change: dict[str, object]) -> None:
    with pytest.raises(BadInput, match="passkey_origins"):
        found(tmp_path / "bad", passkey_origins=[PAGE | change])


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"registrars_required": 4}, "more than there are registrars"),
        ({"oversight_required": 3}, "more than the oversight body"),
        ({"kinds": {"run": RULES.model_dump()}}, "run and release"),
        ({"recovery_required": 0}, "recovery_required"),
        ({"recovery_delay_s": 0}, "recovery_delay_s"),
    ],
)
def test_bylaws_nobody_can_follow_are_refused(tmp_path: Path, change: dict[str, object], why: str) -> None:
    with pytest.raises(BadInput, match=why):
        found(tmp_path / "bad", **change)


@pytest.mark.parametrize("change", [" comment", "\n", "=", " "])
def test_a_key_line_has_one_spelling(web: Village, change: str) -> None:
    member, key = web.members[0], SecurityKey(SK_ED25519)
    line = key.public.line
    refused(web, "payload of coop.key/v1|base64", "coop.key/v1", {"action": "add", "key": line + change}, member, web.keys[member], key)
    swapped = line.replace("sk-ssh-ed25519@", "sk-ecdsa-sha2-nistp256@")
    refused(web, "payload of coop.key/v1", "coop.key/v1", {"action": "add", "key": swapped}, member, web.keys[member], key)


def delayed(root: Path) -> Iterator[Village]:
    yield from opened(root, recovery_required=2, recovery_delay_s=1000)


@pytest.fixture
def lost(tmp_path: Path) -> Iterator[Village]:
    """A village in which the fifth member lost their key; the first three are registrars; recovery takes 1000 seconds."""
    yield from delayed(tmp_path / "lost")


def recovery(village: Village, key: PrivateKey, *supporters: str) -> str:
    member = village.members[4]
    payload = {"member": member, "key": key.public.line}
    return village.say("coop.recovery/v1", payload, member, key, *(village.keys[one] for one in supporters)).id


def stamp(village: Village, seconds: int = 0) -> None:
    """The operator states the time, so many seconds later."""
    village.wait(seconds)
    village.say("coop.time/v1", {}, "operator")


def test_a_key_is_rotated_in_one_statement_even_the_last(village: Village, tmp_path: Path) -> None:
    (member, other), new = village.members[:2], generate_key(tmp_path / "new")
    old = village.keys[member]
    payload = {"old": old.public.line, "new": new.public.line}
    needs = "signature of a key in force and of the new key"
    refused(village, needs, "coop.rotation/v1", payload, member, old)
    refused(village, needs, "coop.rotation/v1", payload, member, new)
    refused(village, needs, "coop.rotation/v1", payload, member, new, village.keys[other])
    refused(village, needs, "coop.rotation/v1", payload, member, new, old, village.keys[other])
    refused(village, "no key of yours", "coop.rotation/v1", payload | {"old": village.keys[other].public.line}, member, new, old)
    refused(village, "enrolled already", "coop.rotation/v1", payload | {"new": village.keys[other].public.line}, member, old, village.keys[other])
    refused(village, "enrolled already", "coop.rotation/v1", payload | {"new": old.public.line}, member, old)
    refused(village, "not a member", "coop.rotation/v1", payload, NEW, new, old)
    village.say("coop.rotation/v1", payload, member, new, old)
    assert village.coop.register.members[member].keys == {new.public.raw}
    refused(village, "is signed by", "coop.consent/v1", CONSENT, member, old)
    village.say("coop.consent/v1", CONSENT, member, new)
    refused(village, "enrolled already", "coop.key/v1", {"action": "add", "key": old.public.line}, member, new, old)  # a key does not come back


def test_a_lost_key_is_recovered_by_registrars_after_the_delay(lost: Village, tmp_path: Path) -> None:
    new, member = generate_key(tmp_path / "new"), lost.members[4]
    recovery(lost, new, *lost.members[:2])
    register = lost.coop.register
    refused(lost, "is signed by", "coop.consent/v1", CONSENT, member, new)
    stamp(lost)
    assert register.recoveries[member].due == shift(lost.clock, 1000)
    stamp(lost, 999)
    refused(lost, "is signed by", "coop.consent/v1", CONSENT, member, new)
    lost.say("coop.consent/v1", CONSENT, member)  # until then the old key counts
    stamp(lost, 1)
    assert register.recoveries == {}
    assert register.members[member].keys == {new.public.raw}
    refused(lost, "is signed by", "coop.consent/v1", CONSENT, member)
    lost.say("coop.consent/v1", CONSENT, member, new)


def test_a_key_is_in_force_since_the_entry_that_brought_it_into_force(lost: Village, tmp_path: Path) -> None:
    (member, *_, loser), register = lost.members, lost.coop.register
    own, added, rotated, new, by_vote = (generate_key(tmp_path / name) for name in ("own", "added", "rotated", "new", "vote"))
    assert {register.in_force_since[key.public.raw] for key in lost.keys.values()} == {0}
    lost.say("coop.consent/v1", CONSENT, member)
    admitted = register.size
    lost.say("coop.admission/v1", {"member": NEW, "key": own.public.line}, member, own, *(lost.keys[one] for one in lost.members[:2]))
    add(lost, member, added)
    lost.say("coop.rotation/v1", {"old": added.public.line, "new": rotated.public.line}, member, rotated, added)
    since = register.in_force_since
    assert [since[key.public.raw] for key in (own, added, rotated)] == [admitted, admitted + 1, admitted + 2]
    recovery(lost, new, *lost.members[:2])
    assert new.public.raw not in since  # it is asked for, and signs nothing yet
    stamp(lost)
    stamp(lost, 1000)
    assert since[new.public.raw] == register.size - 1
    assert register.members[loser].keys == {new.public.raw}
    lost.keys |= {loser: new, NEW: own}
    lost.decide(Admit(member="m-" + "b" * 16, key=by_vote.public.line), lost.keys[member], by_vote)
    assert since[by_vote.public.raw] == register.members["m-" + "b" * 16].joined


def test_nobody_shortens_the_delay_with_the_dates_they_write(lost: Village, tmp_path: Path) -> None:
    lost.coop.clock = lambda: shift(lost.clock, 86_400)  # a writer that lets every date pass: the rule itself must hold
    new, member = generate_key(tmp_path / "new"), lost.members[4]
    payload = {"member": member, "key": new.public.line}
    signers = (new, *(lost.keys[m] for m in lost.members[:2]))
    lost.say("coop.recovery/v1", payload, member, *signers, issued=shift(lost.clock, -5000))  # dated back
    stamp(lost, 2000)  # the log lay still meanwhile
    assert lost.coop.register.members[member].keys == {lost.keys[member].public.raw}
    refused(lost, "is signed by", "coop.consent/v1", CONSENT, member, new, issued=shift(lost.clock, 5000))  # dated forward
    lost.say("coop.consent/v1", CONSENT, lost.members[0], issued=shift(lost.clock, 5000))  # a friend's, dated forward
    stamp(lost, 999)
    assert lost.coop.register.members[member].keys == {lost.keys[member].public.raw}
    refused(lost, "operator's to state", "coop.time/v1", {}, member, issued=shift(lost.clock, 5000))
    refused(lost, "clock went back", "coop.time/v1", {}, "operator", issued=shift(lost.clock, -1))


def test_any_key_in_force_cancels_a_recovery_and_nobody_elses(lost: Village, tmp_path: Path) -> None:
    new, again, member = generate_key(tmp_path / "new"), generate_key(tmp_path / "again"), lost.members[4]
    identifier = recovery(lost, new, *lost.members[:2])
    payload = {"recovery": identifier}
    refused(lost, "needs one key of the member", "coop.recovery-cancel/v1", payload, member, lost.keys[lost.members[0]])
    refused(lost, "needs one key of the member", "coop.recovery-cancel/v1", payload, member, lost.keys[member], new)
    refused(lost, "no such recovery", "coop.recovery-cancel/v1", payload, lost.members[0])
    refused(lost, "no such recovery", "coop.recovery-cancel/v1", {"recovery": "sha256:" + "0" * 64}, member)
    stamp(lost)
    lost.say("coop.recovery-cancel/v1", payload, member)
    stamp(lost, 2000)
    assert lost.coop.register.members[member].keys == {lost.keys[member].public.raw}
    refused(lost, "no such recovery", "coop.recovery-cancel/v1", payload, member)
    refused(lost, "is signed by", "coop.consent/v1", CONSENT, member, new)
    second = recovery(lost, again, *lost.members[:2])
    lost.say("coop.recovery-cancel/v1", {"recovery": second}, member, again)  # asked for by mistake


def test_a_recovery_needs_the_new_key_and_enough_distinct_registrars(lost: Village, tmp_path: Path) -> None:
    new, second, stranger = (generate_key(tmp_path / name) for name in ("new", "second", "stranger"))
    a, b, c, d, member = lost.members
    k = lost.keys
    payload = {"member": member, "key": new.public.line}
    add(lost, a, second)
    say = "coop.recovery/v1"
    refused(lost, "too few signed", say, payload, member, new)
    refused(lost, "too few signed", say, payload, member, new, k[a])
    refused(lost, "too few signed", say, payload, member, new, k[a], second)  # two keys of one registrar count once
    refused(lost, "proof of possession", say, payload, member, k[a], k[b])
    refused(lost, "registrars alone", say, payload, member, new, k[a], k[b], k[d])
    refused(lost, "registrars alone", say, payload, member, new, k[a], k[b], stranger)
    refused(lost, "registrars alone", say, payload, member, new, k[a], k[b], lost.operator)
    refused(lost, "nothing is lost", say, payload, member, new, k[a], k[member])
    refused(lost, "in the name of the member", say, payload, a, new, k[a], k[b])
    refused(lost, "enrolled already", say, payload | {"key": k[d].public.line}, member, k[d], k[a], k[b])
    refused(lost, "not a member", say, payload | {"member": NEW}, NEW, new, k[a], k[b])
    lost.say("coop.key/v1", {"action": "revoke", "key": k[a].public.line}, a, second)
    refused(lost, "registrars alone", say, payload, member, new, k[a], k[b])  # a key no longer in force
    lost.say("coop.leave/v1", {}, c)
    refused(lost, "registrars alone", say, payload, member, new, second, k[c])
    lost.say(say, payload, member, new, second, k[b])
    refused(lost, "pending already", say, payload | {"key": stranger.public.line}, member, stranger, second, k[b])
    refused(lost, "enrolled already", "coop.key/v1", {"action": "add", "key": new.public.line}, d, k[d], new)


def test_guardians_the_member_named_recover_a_key(lost: Village, tmp_path: Path) -> None:
    new, member, (a, _, c, d) = generate_key(tmp_path / "new"), lost.members[4], lost.members[:4]
    say, payload = "coop.recovery/v1", {"member": member, "key": new.public.line}
    signers = (new, lost.keys[c], lost.keys[d])
    refused(lost, "registrars alone or by guardians", say, payload, member, *signers)
    refused(lost, "is signed by", "coop.guardians/v1", {"guardians": [c, d]}, member, lost.keys[c])
    lost.say("coop.guardians/v1", {"guardians": [c, d]}, member)
    refused(lost, "registrars alone or by guardians", say, payload, member, new, lost.keys[a], lost.keys[d])  # one of each body
    refused(lost, "too few signed", say, payload, member, new, lost.keys[d])
    lost.say("coop.guardians/v1", {"guardians": []}, member)
    refused(lost, "registrars alone or by guardians", say, payload, member, *signers)
    lost.say("coop.guardians/v1", {"guardians": [c, d]}, member)
    lost.say(say, payload, member, *signers)
    stamp(lost)
    stamp(lost, 1000)
    assert lost.coop.register.members[member].keys == {new.public.raw}
    assert lost.coop.register.members[member].guardians == frozenset()  # a thief may have named these


def test_guardians_are_enough_other_members_listed_once(lost: Village) -> None:
    a, b, c = lost.members[:3]
    refused(lost, "too few guardians", "coop.guardians/v1", {"guardians": [b]}, a)
    refused(lost, "their own guardian", "coop.guardians/v1", {"guardians": [a, b]}, a)
    refused(lost, "once each", "coop.guardians/v1", {"guardians": [b, b, c]}, a)
    refused(lost, "once each", "coop.guardians/v1", {"guardians": [c, b]}, a)
    refused(lost, "not a member", "coop.guardians/v1", {"guardians": [b, NEW]}, a)


def test_who_leaves_is_not_recovered(lost: Village, tmp_path: Path) -> None:
    member = lost.members[4]
    recovery(lost, generate_key(tmp_path / "new"), *lost.members[:2])
    lost.say("coop.leave/v1", {}, member)
    stamp(lost)
    stamp(lost, 2000)
    assert lost.coop.register.members[member].keys == {lost.keys[member].public.raw}


def test_a_passkey_is_recovered_like_any_key(tmp_path: Path) -> None:
    for village in opened(tmp_path / "web", passkey_origins=[PAGE], recovery_delay_s=1000):
        key, member = Passkey(), village.members[4]
        recovery(village, key, *village.members[:2])  # type: ignore[arg-type]
        stamp(village)
        stamp(village, 1000)
        village.say("coop.consent/v1", CONSENT, member, key)


def test_a_replay_of_the_log_comes_to_the_same_keys(lost: Village, tmp_path: Path) -> None:
    recovery(lost, generate_key(tmp_path / "new"), *lost.members[:2])
    stamp(lost)
    stamp(lost, 1000)
    recovery(lost, generate_key(tmp_path / "newer"), *lost.members[:2])
    stamp(lost)
    with Cooperative.open(lost.root, read_only=True) as again:
        assert again.register.members == lost.coop.register.members
        assert again.register.recoveries == lost.coop.register.recoveries != {}

"""Keys of members in the register: which carriers count, from which pages, and every rule that blocks."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from governance_hooks.bylaws import Bylaws
from governance_hooks.checkpoint import NoteKey
from governance_hooks.cooperative import Cooperative, Paths
from governance_hooks.errors import BadInput, Refused
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


@pytest.mark.parametrize("change", [" comment", "\n", "=", " "])
def test_a_key_line_has_one_spelling(web: Village, change: str) -> None:
    member, key = web.members[0], SecurityKey(SK_ED25519)
    line = key.public.line
    refused(web, "payload of coop.key/v1|base64", "coop.key/v1", {"action": "add", "key": line + change}, member, web.keys[member], key)
    swapped = line.replace("sk-ssh-ed25519@", "sk-ecdsa-sha2-nistp256@")
    refused(web, "payload of coop.key/v1", "coop.key/v1", {"action": "add", "key": swapped}, member, web.keys[member], key)

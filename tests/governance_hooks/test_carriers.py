"""Every kind of key a member may hold: what verifies, what does not, and that stock ssh-keygen says the same."""

import base64
import re
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import TypeAdapter

from governance_hooks.bylaws import Bylaws
from governance_hooks.errors import BadInput, Refused
from governance_hooks.fields import KeyLine
from governance_hooks.motions import AmendBylaws
from governance_hooks.ssh.envelope import Envelope, to_be_signed
from governance_hooks.ssh.passkey import check_client_data
from governance_hooks.ssh.publickey import RS256, SK_ECDSA, SK_ED25519
from governance_hooks.ssh.wire import Reader, mpint, string
from governance_hooks.sshsig import NAMESPACE, Claim, PublicKey, all_hold, armor, check, claim, dearmor, generate_key, holds, passkey_signature, verify
from tests.authenticator import AT, BE, BS, ED, ORIGIN, RP_ID, UP, UV, Passkey, RsaKey, RsaPasskey, SecurityKey
from tests.village import CONSENT, Village

MESSAGE = b'{"type":"coop.ballot/v1"}'
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # of P-256


def carriers() -> list[SecurityKey]:
    return [SecurityKey(SK_ED25519), SecurityKey(SK_ECDSA), SecurityKey(SK_ECDSA, "ssh:village"), Passkey(), Passkey("localhost")]


@pytest.mark.parametrize("key", carriers(), ids=lambda key: f"{key.kind[:8]}-{key.application}")
def test_every_carrier_verifies_for_its_message_only(key: SecurityKey) -> None:
    signature = key.sign(MESSAGE)
    assert verify(signature, MESSAGE) == key.public
    with pytest.raises(Refused):
        verify(signature, MESSAGE + b" ")


@pytest.mark.openssh
@pytest.mark.parametrize("key", carriers(), ids=lambda key: f"{key.kind[:8]}-{key.application}")
def test_ssh_keygen_agrees_on_every_carrier(key: SecurityKey, tmp_path: Path) -> None:
    (tmp_path / "sig").write_text(key.sign(MESSAGE))
    (tmp_path / "allowed").write_text(f'm-1 namespaces="{NAMESPACE}" {key.public.line}\n')
    command = ["ssh-keygen", "-Y", "verify", "-f", tmp_path / "allowed", "-I", "m-1", "-n", NAMESPACE, "-s", tmp_path / "sig"]
    good = subprocess.run(command, input=MESSAGE, capture_output=True, check=False)
    assert good.returncode == 0, good.stderr
    assert subprocess.run(command, input=MESSAGE + b" ", capture_output=True, check=False).returncode != 0
    (tmp_path / "id.pub").write_text(key.public.line)
    assert key.public.fingerprint.encode() in subprocess.run(["ssh-keygen", "-lf", tmp_path / "id.pub"], capture_output=True, check=True).stdout


@pytest.mark.parametrize("key", [SecurityKey(SK_ED25519), SecurityKey(SK_ECDSA), Passkey()], ids=lambda key: f"{key.kind[:8]}-{key.application}")
def test_no_flipped_bit_of_any_carrier_passes(key: SecurityKey) -> None:
    extended = {"flags": UP | UV | ED, "extensions": b"\xa1\x61\x78\x01"} if isinstance(key, Passkey) else {}
    blob = dearmor(key.sign(MESSAGE, **extended))
    assert verify(armor(blob), MESSAGE) == key.public
    for position in range(len(blob)):
        for bit in range(8):
            changed = bytearray(blob)
            changed[position] ^= 1 << bit
            with pytest.raises(Refused):
                verify(armor(bytes(changed)), MESSAGE)


@pytest.mark.parametrize("key", [SecurityKey(SK_ED25519), SecurityKey(SK_ECDSA), Passkey()], ids=lambda key: f"{key.kind[:8]}-{key.application}")
def test_no_truncated_or_extended_envelope_passes(key: SecurityKey) -> None:
    blob = dearmor(key.sign(MESSAGE))
    for changed in [*(blob[:length] for length in range(1, len(blob))), blob + b"\0"]:
        with pytest.raises(Refused):
            verify(armor(changed), MESSAGE)
    envelope = Envelope.parse(armor(blob))
    with pytest.raises(Refused, match="trailing"):
        verify(Envelope(key.public, envelope.algorithm, envelope.signature + b"\0").armored, MESSAGE)


def test_the_quick_reading_of_plain_signatures_refuses_nothing_and_lets_nothing_more_through(tmp_path: Path) -> None:
    """Every bit of an ssh-ed25519 envelope but key and signature makes it another one; key and signature are read as the slow way reads them."""
    key = generate_key(tmp_path / "id")
    blob = dearmor(key.sign(MESSAGE))
    assert claim(armor(blob), MESSAGE) == read_slowly(blob)
    for position in range(len(blob)):
        changed = bytearray(blob)
        changed[position] ^= 1 << position % 8
        try:
            expected = read_slowly(bytes(changed))
        except Refused as refused:
            with pytest.raises(Refused, match=f"^{re.escape(str(refused))}$"):
                claim(armor(bytes(changed)), MESSAGE)
        else:
            assert claim(armor(bytes(changed)), MESSAGE) == expected
            assert 33 <= position < 65 or position >= 123


def read_slowly(blob: bytes) -> Claim:
    envelope = Envelope.from_blob(blob)
    reader = Reader(envelope.signature)
    kind, raw = reader.string(), reader.string()
    reader.end()
    if kind != envelope.key.kind.encode():
        raise Refused("signature type does not match the key", value=kind.decode(errors="replace"), allowed=envelope.key.kind)
    return Claim(envelope.key, raw, to_be_signed(MESSAGE, envelope.algorithm), None)


def test_a_signature_over_sha_256_verifies_too(tmp_path: Path) -> None:
    key = generate_key(tmp_path / "id")
    made = key._key.sign(to_be_signed(MESSAGE, "sha256"))
    assert verify(Envelope(key.public, "sha256", string(b"ssh-ed25519") + string(made)).armored, MESSAGE) == key.public
    with pytest.raises(Refused, match="does not verify"):
        verify(Envelope(key.public, "sha512", string(b"ssh-ed25519") + string(made)).armored, MESSAGE)


@pytest.mark.parametrize("key", carriers(), ids=lambda key: f"{key.kind[:8]}-{key.application}")
def test_what_another_process_is_asked_is_the_whole_arithmetic(key: SecurityKey) -> None:
    made = claim(key.sign(MESSAGE), MESSAGE)
    point, signature, signed = made.equation
    assert holds(point, signature, signed)
    for changed in (signature[:-1] + bytes([signature[-1] ^ 1]),):
        assert not holds(point, changed, signed)
    assert not holds(point, signature, signed + b" ")
    assert all_hold([[made.equation], [made.equation, (point, signature, b"")], []]) == [True, False, True]


def test_a_passkey_says_where_it_signed() -> None:
    assert check(Passkey().sign(MESSAGE), MESSAGE).origin == (ORIGIN, RP_ID)
    assert check(SecurityKey(SK_ECDSA).sign(MESSAGE), MESSAGE).origin is None


def test_a_browser_may_say_more_than_we_know() -> None:
    assert verify(Passkey().sign(MESSAGE, other_keys_can_be_added_here="do not compare clientDataJSON against a template"), MESSAGE)
    assert verify(Passkey().sign(MESSAGE, crossOrigin=None), MESSAGE)
    assert verify(Passkey().sign(MESSAGE, flags=UP | UV | BE | BS), MESSAGE)


@pytest.mark.parametrize(
    ("flags", "extensions", "why"),
    [
        (UV, b"", "user presence"),
        (UP, b"", "did not verify its user"),
        (UP | UV | AT, b"", "attested"),
        (UP | UV | ED, b"", "extension data"),
        (UP | UV, b"\xa0", "extension data"),
        (UP | UV | ED, b"\x01", "extension data"),
        (UP | UV | BS, b"", "backup"),
    ],
)
def test_flags_of_a_passkey_that_are_refused(flags: int, extensions: bytes, why: str) -> None:
    with pytest.raises(Refused, match=why):
        verify(Passkey().sign(MESSAGE, flags=flags, extensions=extensions), MESSAGE)


@pytest.mark.parametrize("kind", [SK_ED25519, SK_ECDSA])
def test_flags_of_a_security_key_that_are_refused(kind: str) -> None:
    assert verify(SecurityKey(kind).sign(MESSAGE, flags=UP | UV), MESSAGE)
    for flags, why in ((0, "user presence"), (UV, "user presence"), (UP | AT, "attested"), (UP | ED, "extension data")):
        with pytest.raises(Refused, match=why):
            verify(SecurityKey(kind).sign(MESSAGE, flags=flags), MESSAGE)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"type": "webauthn.create"}, "not an assertion"),
        ({"type": None}, "not an assertion"),
        ({"challenge": "AAAA"}, "not this statement"),
        ({"challenge": None}, "not this statement"),
        ({"crossOrigin": True}, "frame"),
        ({"crossOrigin": "false"}, "frame"),
        ({"topOrigin": "https://evil.example"}, "frame"),
    ],
)
def test_client_data_that_is_refused(changes: dict[str, object], why: str) -> None:
    with pytest.raises(Refused, match=why):
        verify(Passkey().sign(MESSAGE, **changes), MESSAGE)


def test_a_challenge_is_not_replayed_for_another_statement() -> None:
    key = Passkey()
    with pytest.raises(Refused, match="not this statement"):
        verify(key.assertion(key.client_data(b"a ballot against")), MESSAGE)
    padded = key.client_data(MESSAGE).replace(b'","origin"', b'=","origin"')
    with pytest.raises(Refused, match="not this statement"):
        verify(key.assertion(padded), MESSAGE)


def test_client_data_is_parsed_as_strict_json() -> None:
    key = Passkey()
    good = key.client_data(MESSAGE)
    twice = good[:-1] + b',"origin":"' + ORIGIN.encode() + b'"}'
    for data, why in ((twice, "duplicate key"), (b"\xef\xbb\xbf" + good, "malformed"), (good.decode().encode("utf-16"), "malformed"), (b"[]", "malformed")):
        with pytest.raises(Refused, match=why):
            verify(key.assertion(data), MESSAGE)


def test_client_data_that_is_no_json_object_is_refused() -> None:
    good = Passkey().client_data(MESSAGE)
    challenge = to_be_signed(MESSAGE, "sha256")
    check_client_data(good, challenge, ORIGIN)
    for data in (b"\xef\xbb\xbf" + good, good.decode().encode("utf-16"), good + b" x", b"\xff", b"[" * 100_000, b""):
        with pytest.raises(Refused, match="not JSON"):
            check_client_data(data, challenge, ORIGIN)
    for data in (b"[]", b"1", b"null", b'"webauthn.get"'):
        with pytest.raises(Refused, match="not an object"):
            check_client_data(data, challenge, ORIGIN)


def test_tampered_client_data_does_not_verify() -> None:
    key = Passkey()
    envelope = Envelope.parse(key.sign(MESSAGE))
    data = key.client_data(MESSAGE)
    assert envelope.signature.count(string(data)) == 1
    # Each of these means the same to a JSON parser, or passes every check of the fields.
    for changed in (data.replace(b":false", b": false"), data.replace(b',"crossOrigin":false', b""), data[:-1] + b',"more":1}'):
        assert changed != data
        with pytest.raises(Refused, match="does not verify"):
            verify(Envelope(key.public, "sha256", envelope.signature.replace(string(data), string(changed))).armored, MESSAGE)


def test_the_envelopes_origin_is_that_of_the_client_data() -> None:
    key = Passkey()
    envelope = Envelope.parse(key.sign(MESSAGE))
    other = ORIGIN.replace("sign", "evil").encode()
    with pytest.raises(Refused, match="another origin"):
        verify(Envelope(key.public, "sha256", envelope.signature.replace(string(ORIGIN.encode()), string(other))).armored, MESSAGE)


def test_a_signature_for_another_rp_id_does_not_verify() -> None:
    with pytest.raises(Refused, match="does not verify"):
        verify(Passkey().sign(MESSAGE, rp_id="login.village.example"), MESSAGE)


def test_a_key_signs_in_its_own_way_only() -> None:
    passkey, touch = Passkey(), SecurityKey(SK_ECDSA)
    with pytest.raises(Refused, match="type does not match"):  # no way around origin and user verification
        verify(SecurityKey.sign(passkey, MESSAGE), MESSAGE)
    touch.application = RP_ID
    as_passkey = Envelope.parse(Passkey.sign(_browser(touch), MESSAGE))
    touch.application = "ssh:"
    with pytest.raises(Refused, match="type does not match"):
        verify(Envelope(touch.public, "sha256", as_passkey.signature).armored, MESSAGE)


def _browser(key: SecurityKey) -> Passkey:
    made = Passkey()
    made.key, made.point = key.key, key.point
    return made


@pytest.mark.parametrize("passkey", [True, False])
def test_integers_of_a_signature_have_one_form(passkey: bool) -> None:
    key = Passkey() if passkey else SecurityKey(SK_ECDSA)
    envelope = Envelope.parse(key.sign(MESSAGE))
    reader = Reader(envelope.signature)
    kind, numbers = reader.string(), Reader(reader.string())
    rest = envelope.signature[reader.at :]
    r, s = numbers.mpint(), numbers.mpint()

    def with_numbers(blob: bytes) -> str:
        return Envelope(key.public, envelope.algorithm, string(kind) + string(blob) + rest).armored

    assert verify(with_numbers(mpint(r) + mpint(s)), MESSAGE)
    # ECDSA itself lets anybody write (r, n - s): a second signature of the same statement, which is told apart by nothing but its body.
    assert verify(with_numbers(mpint(r) + mpint(ORDER - s)), MESSAGE)
    long = string(b"\0" + mpint(r)[4:])
    negative = string(b"\xff" + mpint(r)[4:])
    for blob in (long + mpint(s), negative + mpint(s), string(b"") + mpint(s), string(b"\0") + mpint(s), mpint(r) + mpint(s) + b"\0", mpint(r)):
        with pytest.raises(Refused):
            verify(with_numbers(blob), MESSAGE)
    for outside in (ORDER + s, 2**300):
        with pytest.raises(Refused, match="does not verify"):
            verify(with_numbers(mpint(r) + mpint(outside)), MESSAGE)


def test_a_malformed_assertion_is_refused_before_it_is_wrapped() -> None:
    key = Passkey()
    data = b"\0" * 32 + b"\x05" + b"\0" * 4
    good = key.touch(b"")
    for bad in (
        (data[:-1], b'{"origin":"x"}', good),
        (data, b"{}", good),
        (data, b"[]", good),
        (data, b"\xff", good),
        (data, b'{"origin":1}', good),
        (data, b'{"origin":"x"}', b"x"),
    ):
        with pytest.raises(Refused):
            passkey_signature(key.public, *bad)
    with pytest.raises(Refused, match="not positive"):
        passkey_signature(key.public, data, b'{"origin":"x"}', bytes.fromhex("3006020100020101"))


def test_identities_of_keys_never_collide(tmp_path: Path) -> None:
    plain = generate_key(tmp_path / "id").public
    same_point = PublicKey(SK_ED25519, plain.point, "ssh:")
    ecdsa, other = SecurityKey(SK_ECDSA), Passkey()
    keys = [
        plain,
        same_point,
        PublicKey(SK_ED25519, plain.point, "ssh:two"),
        ecdsa.public,
        PublicKey(SK_ECDSA, ecdsa.point, "ssh:two"),
        PublicKey(SK_ECDSA, ecdsa.point, RP_ID),
        other.public,
    ]
    assert len({key.raw for key in keys}) == len(keys)
    assert plain.raw == plain.point
    for key in keys:
        assert PublicKey.from_raw(key.raw) == PublicKey.from_line(key.line + " a comment") == key


def test_malformed_keys_are_refused(tmp_path: Path) -> None:
    point = Passkey().point
    off_curve = point[:-1] + bytes([point[-1] ^ 1])
    compressed = generate_private_key(SECP256R1()).public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    for kind, bad, application in [
        (SK_ECDSA, off_curve, RP_ID),
        (SK_ECDSA, compressed, RP_ID),
        (SK_ECDSA, point[:-1], RP_ID),
        (SK_ECDSA, point, "Sign.Village.example"),
        (SK_ECDSA, point, "https://sign.village.example"),
        (SK_ECDSA, point, ""),
        (SK_ECDSA, point, "ssh: with blank"),
        (SK_ED25519, b"\1" * 31, "ssh:"),
        (SK_ED25519, bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"), RP_ID),
        ("ssh-ed25519", bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"), "ssh:"),
    ]:
        with pytest.raises(Refused):
            PublicKey(kind, bad, application)
    key = generate_key(tmp_path / "id").public
    with pytest.raises(Refused, match="another type"):
        PublicKey.from_line("ssh-rsa " + key.line.split()[1])
    with pytest.raises(Refused, match="curve"):
        PublicKey.from_blob(string(SK_ECDSA.encode()) + string(b"nistp384") + string(point) + string(b"ssh:"))
    with pytest.raises(Refused, match="type is not supported"):
        PublicKey("ssh-dss", key.point)
    with pytest.raises(Refused, match="type is not supported"):
        PublicKey.from_blob(string(b"ssh-dss") + string(b"p") + string(b"q") + string(b"g") + string(b"y"))
    fido = SecurityKey(SK_ED25519).public.line
    assert fido.endswith("=")
    last = fido.rstrip("=")[-1]
    spelled = fido.rstrip("=")[:-1] + chr(ord(last) + 1) + "=" * fido.count("=")  # the same bytes, other padding bits
    with pytest.raises(Refused, match="canonical"):
        PublicKey.from_line(spelled)
    with pytest.raises(BadInput, match="public key line"):
        PublicKey.from_line("ssh-ed25519")


@pytest.mark.parametrize(
    "point",
    [
        "0100000000000000000000000000000000000000000000000000000000000000",  # the identity: a signature of nobody's fits every statement
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",  # another spelling of the identity
    ],
)
def test_ed25519_keys_with_which_anybody_signs_are_refused(point: str) -> None:
    with pytest.raises(Refused, match="small order"):
        PublicKey("ssh-ed25519", bytes.fromhex(point))


def test_armor_has_one_width_and_one_frame() -> None:
    good = Passkey().sign(MESSAGE)
    text = "".join(good.split("\n")[1:-2])
    narrow = "\n".join(["-----BEGIN SSH SIGNATURE-----", *(text[i : i + 64] for i in range(0, len(text), 64)), "-----END SSH SIGNATURE-----", ""])
    with pytest.raises(Refused, match="canonical form"):
        verify(narrow, MESSAGE)
    with pytest.raises(Refused, match="not an armored"):
        verify(good.replace("SSH SIGNATURE", "PGP SIGNATURE"), MESSAGE)


def test_armor_of_other_bytes_is_refused() -> None:
    for data in (b"SSHSIH", b"SSHSIG" + b"\0\0\0\2", base64.b64decode("AAAA")):
        with pytest.raises(Refused):
            verify(armor(data), MESSAGE)


@pytest.fixture(scope="module")
def rsa_passkey() -> RsaPasskey:
    return RsaPasskey()


def test_an_rsa_passkey_signs_like_any_passkey(rsa_passkey: RsaPasskey) -> None:
    """RS256 is all that some older machines make; ssh-keygen knows no such type, our verifier does."""
    found = check(rsa_passkey.sign(MESSAGE), MESSAGE)
    assert (found.key, found.origin) == (rsa_passkey.public, (ORIGIN, RP_ID))
    line = rsa_passkey.public.line
    assert PublicKey.from_line(line) == PublicKey.from_raw(rsa_passkey.public.raw) == rsa_passkey.public
    assert TypeAdapter(KeyLine).validate_python(line) == line


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"flags": UP}, "did not verify its user"),
        ({"flags": UV}, "nobody touched the key"),
        ({"type": "webauthn.create"}, "not an assertion"),
        ({"challenge": "AAAA"}, "the challenge is not this statement"),
        ({"crossOrigin": True}, "inside a frame of another site"),
        ({"rp_id": "evil.example"}, "does not verify"),
    ],
)
def test_an_rsa_passkey_obeys_the_rules_of_passkeys(rsa_passkey: RsaPasskey, changes: dict[str, object], why: str) -> None:
    with pytest.raises(Refused, match=why):
        check(rsa_passkey.sign(MESSAGE, **changes), MESSAGE)  # type: ignore[arg-type]


def test_any_flipped_bit_of_an_rsa_signature_is_refused(rsa_passkey: RsaPasskey) -> None:
    blob = dearmor(rsa_passkey.sign(MESSAGE))
    for position in range(0, len(blob), 3):
        changed = bytearray(blob)
        changed[position] ^= 1 << position % 8
        with pytest.raises(Refused):
            check(armor(bytes(changed)), MESSAGE)
    with pytest.raises(Refused):
        check(rsa_passkey.sign(MESSAGE), MESSAGE + b" ")


@pytest.mark.parametrize("changes", [{"bits": 1024}, {"exponent": 3}])
def test_weak_rsa_keys_are_refused(changes: dict[str, int]) -> None:
    with pytest.raises(Refused, match="exponent 65537 and 2048 to 4096 bits"):
        _ = RsaKey(RP_ID, **changes).public


def test_an_rsa_key_that_anybody_can_factor_or_that_is_no_passkey_is_refused(rsa_passkey: RsaPasskey) -> None:
    reader = Reader(rsa_passkey.point)
    exponent, modulus = reader.mpint(), reader.mpint()
    with pytest.raises(Refused, match="small factor"):
        PublicKey(RS256, mpint(exponent) + mpint(modulus * 3), RP_ID)
    with pytest.raises(Refused, match="application of a FIDO key"):
        PublicKey(RS256, rsa_passkey.point, "ssh:")


def test_a_member_joins_and_consents_with_an_rsa_passkey(village: Village, rsa_passkey: RsaPasskey) -> None:
    origins = [{"origin": ORIGIN, "rp_id": RP_ID, "valid_from": "2020-01-01T00:00:00Z", "valid_until": None}]
    bylaws = Bylaws.model_validate(village.coop.register.bylaws.model_dump() | {"version": 2, "passkey_origins": origins})
    village.decide(AmendBylaws(bylaws=bylaws))
    one, two = village.members[:2]
    new = "m-" + "e" * 16
    village.say("coop.admission/v1", {"member": new, "key": rsa_passkey.public.line}, one, village.keys[one], village.keys[two], rsa_passkey)  # type: ignore[arg-type]
    village.say("coop.consent/v1", CONSENT, new, rsa_passkey)  # type: ignore[arg-type]
    assert village.coop.register.grants[new][0].member == new

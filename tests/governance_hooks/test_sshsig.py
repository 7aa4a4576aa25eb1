import base64
import subprocess
from pathlib import Path

import pytest

from governance_hooks.errors import BadInput, Refused
from governance_hooks.sshsig import NAMESPACE, PublicKey, armor, dearmor, generate_key, load_private_key, verify

pytestmark = pytest.mark.openssh
MESSAGE = b'{"type":"coop.ballot/v1"}'


def keygen(*args: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["ssh-keygen", *args], input=stdin, capture_output=True, check=False)


def test_ssh_keygen_accepts_what_we_sign(tmp_path: Path) -> None:
    key = generate_key(tmp_path / "id")
    (tmp_path / "sig").write_text(key.sign(MESSAGE))
    (tmp_path / "allowed").write_text(f'm-1 namespaces="{NAMESPACE}" {key.public.line}\n')
    check = ["-Y", "verify", "-f", str(tmp_path / "allowed"), "-I", "m-1", "-n", NAMESPACE, "-s", str(tmp_path / "sig")]
    good = keygen(*check, stdin=MESSAGE)
    assert good.returncode == 0, good.stderr
    assert b'Good "coop-statement@v1" signature for m-1' in good.stdout
    assert keygen(*check, stdin=MESSAGE + b" ").returncode != 0


def test_we_accept_what_ssh_keygen_signs(tmp_path: Path) -> None:
    assert keygen("-t", "ed25519", "-N", "", "-q", "-f", str(tmp_path / "id")).returncode == 0
    (tmp_path / "m").write_bytes(MESSAGE)
    assert keygen("-Y", "sign", "-n", NAMESPACE, "-f", str(tmp_path / "id"), str(tmp_path / "m")).returncode == 0
    signature = (tmp_path / "m.sig").read_text()
    key = verify(signature, MESSAGE)
    assert key == load_private_key(tmp_path / "id").public


def test_a_signature_for_another_purpose_is_refused(tmp_path: Path) -> None:
    keygen("-t", "ed25519", "-N", "", "-q", "-f", str(tmp_path / "id"))
    (tmp_path / "m").write_bytes(MESSAGE)
    keygen("-Y", "sign", "-n", "git", "-f", str(tmp_path / "id"), str(tmp_path / "m"))
    with pytest.raises(Refused, match="another purpose"):
        verify((tmp_path / "m.sig").read_text(), MESSAGE)


def test_no_flipped_bit_of_the_envelope_passes(tmp_path: Path) -> None:
    key = generate_key(tmp_path / "id")
    blob = dearmor(key.sign(MESSAGE))
    for position in range(len(blob)):
        for bit in range(8):
            changed = bytearray(blob)
            changed[position] ^= 1 << bit
            with pytest.raises(Refused):
                verify(armor(bytes(changed)), MESSAGE)


def test_no_other_spelling_of_the_armor_passes(tmp_path: Path) -> None:
    text = generate_key(tmp_path / "id").sign(MESSAGE)
    for changed in (text + "\n", " " + text, text.replace("\n", "\r\n"), text[:-1], text.replace("AAAA", "AAA A", 1), "", "-----BEGIN SSH SIGNATURE-----\n"):
        with pytest.raises(Refused):
            verify(changed, MESSAGE)


def test_another_message_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="does not verify"):
        verify(generate_key(tmp_path / "id").sign(MESSAGE), MESSAGE + b"x")


@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
def test_other_key_types_are_named(tmp_path: Path, kind: str) -> None:
    keygen("-t", kind, "-N", "", "-q", "-f", str(tmp_path / "id"))
    with pytest.raises(BadInput, match="not ed25519"):
        load_private_key(tmp_path / "id")
    with pytest.raises(Refused, match="key type is not supported"):
        PublicKey.from_line((tmp_path / "id.pub").read_text())


def test_a_key_others_can_read_is_refused(tmp_path: Path) -> None:
    generate_key(tmp_path / "id")
    (tmp_path / "id").chmod(0o644)
    with pytest.raises(BadInput, match="chmod 600"):
        load_private_key(tmp_path / "id")


def test_an_encrypted_key_needs_its_passphrase(tmp_path: Path) -> None:
    keygen("-t", "ed25519", "-N", "secret words", "-q", "-f", str(tmp_path / "id"))
    with pytest.raises(BadInput, match="cannot use key"):
        load_private_key(tmp_path / "id")
    assert load_private_key(tmp_path / "id", passphrase=b"secret words").public


def test_a_missing_key_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="ssh-keygen -t ed25519"):
        load_private_key(tmp_path / "none")


def test_keys_are_never_overwritten(tmp_path: Path) -> None:
    first = generate_key(tmp_path / "id")
    with pytest.raises(BadInput, match="exists already"):
        generate_key(tmp_path / "id")
    assert load_private_key(tmp_path / "id").public == first.public


def test_fingerprint_is_that_of_ssh_keygen(tmp_path: Path) -> None:
    key = generate_key(tmp_path / "id")
    assert key.public.fingerprint.encode() in keygen("-l", "-f", str(tmp_path / "id.pub")).stdout
    assert base64.b64decode(key.public.line.split()[1]) == key.public.blob

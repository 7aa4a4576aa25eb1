"""Certificates for tests: an authority of our own, and servers it vouches for."""

from __future__ import annotations

import ipaddress
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


class Authority:
    """Who signs certificates."""

    def __init__(self, folder: Path, name: str = "an authority of a test") -> None:
        self.folder, self.key = folder, generate_private_key(SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = self._made(self.name, self.key, x509.BasicConstraints(ca=True, path_length=0), None)
        self.path = folder / f"{name.replace(' ', '-')}.pem"
        self.path.write_bytes(self.certificate.public_bytes(Encoding.PEM))

    def _made(self, subject: x509.Name, key: EllipticCurvePrivateKey, basic: x509.BasicConstraints, names: list[x509.GeneralName] | None) -> x509.Certificate:
        start = datetime.now(UTC) - timedelta(hours=1)
        made = x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(key.public_key())
        made = made.serial_number(x509.random_serial_number()).not_valid_before(start).not_valid_after(start + timedelta(days=2))
        made = made.add_extension(basic, critical=True)
        if names is not None:
            made = made.add_extension(x509.SubjectAlternativeName(names), critical=False)
            made = made.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        made = made.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        made = made.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        return made.sign(self.key, SHA256())

    def server(self, *hosts: str) -> tuple[Path, Path, bytes]:
        """Return files with certificate and key of a server of these names or addresses, and its public key (DER)."""
        names: list[x509.GeneralName] = []
        for host in hosts:
            try:
                names.append(x509.IPAddress(ipaddress.ip_address(host)))
            except ValueError:
                names.append(x509.DNSName(host))
        key = generate_private_key(SECP256R1())
        certificate = self._made(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0])]), key, x509.BasicConstraints(ca=False, path_length=None), names)
        chain, private = self.folder / f"{hosts[0]}.crt", self.folder / f"{hosts[0]}.key"
        chain.write_bytes(certificate.public_bytes(Encoding.PEM))
        private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        private.chmod(0o600)
        return chain, private, key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def context(self, *hosts: str) -> ssl.SSLContext:
        """What a server of these names speaks TLS with."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        chain, private, _ = self.server(*hosts)
        context.load_cert_chain(chain, private)
        return context

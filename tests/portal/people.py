"""People in front of browsers, without a browser: they keep cookies, fill in the forms of a page, and hold keys, as files or as passkeys."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import secrets
import struct
from typing import Any
from urllib.parse import urljoin, urlsplit

from anyio.from_thread import BlockingPortal
from starlette.testclient import TestClient
from starlette.types import ASGIApp
from webauthn.helpers import encode_cbor

from governance_hooks.sshsig import PrivateKey
from portal.service import Service
from tests.authenticator import AT, ORIGIN, RP_ID, UP, UV, Passkey, RsaKey

MAIN = "https://village.example"
SIGNING = ORIGIN
shared: dict[str, BlockingPortal] = {}
"""The event loop all requests of a test run are served in: starting one takes as long as a small page."""


class Device(Passkey):
    """A phone: it makes a passkey for a page, and signs what the page shows."""

    @property
    def cose(self) -> dict[int, Any]:
        return {1: 2, 3: -7, -1: 1, -2: self.point[1:33], -3: self.point[33:]}

    def create(self, options: dict[str, Any], origin: str = SIGNING, **changes: Any) -> str:
        """Answer `navigator.credentials.create` as a browser does (`toJSON`)."""
        client = {"type": "webauthn.create", "challenge": options["challenge"], "origin": origin, "crossOrigin": False} | changes
        name = secrets.token_bytes(16)
        cose = encode_cbor(self.cose)
        data = hashlib.sha256(self.application.encode()).digest() + bytes([UP | UV | AT]) + struct.pack(">I", 0)
        data += bytes(16) + struct.pack(">H", len(name)) + name + cose
        attested = encode_cbor({"fmt": "none", "attStmt": {}, "authData": data})
        response = {"clientDataJSON": b64(json.dumps(client).encode()), "attestationObject": b64(attested), "transports": ["internal"]}
        return json.dumps({"id": b64(name), "rawId": b64(name), "type": "public-key", "response": response, "clientExtensionResults": {}})

    def get(self, shown: bytes, **changes: Any) -> str:
        """Answer `navigator.credentials.get` for a page that shows these bytes."""
        client = self.client_data(shown, **changes)
        data = hashlib.sha256(self.application.encode()).digest() + bytes([UP | UV]) + struct.pack(">I", 0)
        signature = self.touch(data + hashlib.sha256(client).digest())
        response = {"authenticatorData": b64(data), "clientDataJSON": b64(client), "signature": b64(signature), "userHandle": None}
        return json.dumps({"id": "AAAA", "rawId": "AAAA", "type": "public-key", "response": response, "clientExtensionResults": {}})


class OldDevice(RsaKey, Device):  # type: ignore[misc]
    """A computer that makes RSA passkeys only."""

    def __init__(self, rp_id: str = RP_ID) -> None:
        RsaKey.__init__(self, rp_id)

    @property
    def cose(self) -> dict[int, Any]:
        numbers = self.key.public_key().public_numbers()
        return {1: 3, 3: -257, -1: numbers.n.to_bytes(256, "big"), -2: numbers.e.to_bytes(3, "big")}


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


class Page:
    """What a person sees: the answer to the last request, after its redirects."""

    def __init__(self, answer: Any) -> None:
        self.answer, self.status, self.text, self.url = answer, answer.status_code, answer.text, str(answer.url)

    @property
    def path(self) -> str:
        return urlsplit(self.url).path

    @property
    def shown(self) -> bytes:
        """The statement on a signing page, as a script reads it."""
        found = re.search(r'<pre id="statement">(.*?)</pre>', self.text, re.S)
        assert found is not None, self.text
        return html.unescape(found[1]).encode()

    @property
    def words(self) -> str:
        """The text of the page."""
        return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", self.text)).split())

    def attribute(self, name: str) -> str:
        found = re.search(rf'\b{name}="([^"]*)"', self.text)
        assert found is not None, self.text
        return html.unescape(found[1])

    def links(self, part: str) -> list[str]:
        """The addresses on the page that hold a text."""
        return [html.unescape(one) for one in re.findall(r'href="([^"]*)"', self.text) if part in html.unescape(one)]


class Person:
    """Somebody with a browser."""

    def __init__(self, app: ASGIApp, service: Service, key: PrivateKey | None = None) -> None:
        self.client, self.service, self.key = TestClient(app, base_url=MAIN), service, key
        self.client.headers["user-agent"] = "a browser"
        self.client.portal = shared.get("loop")  # None: a loop for each request
        self.device: Device | None = None

    def get(self, path: str) -> Page:
        return Page(self.client.get(urljoin(MAIN, path)))

    def post(self, path: str, origin: str | None = None, **fields: Any) -> Page:
        """Send a form of the site the address is on."""
        url = urljoin(MAIN, path)
        parts = urlsplit(url)
        headers = {"origin": origin or f"{parts.scheme}://{parts.netloc}", "sec-fetch-site": "same-origin" if origin is None else "cross-site"}
        return Page(self.client.post(url, data=fields, headers=headers))

    def mails(self, mail: str, template: str) -> list[dict[str, str]]:
        return [letter.values for letter in self.service.private.outbox.due(500) if (letter.mail, letter.template) == (mail, template)]

    def sign_in(self, mail: str, then: str = "/") -> Page:
        """Ask for a link, open it, and press its button."""
        assert self.post("/signin", mail=mail, next=then).status == 200
        url = self.mails(mail, "signin")[-1]["url"]
        assert self.get(url).status == 200
        return self.post(url.partition("?")[0])

    def begin(self, mail: str) -> str:
        """Begin a session as the pages of signing in would; return the account."""
        sessions = self.service.private.sessions
        token, account, _ = sessions.sign_in(sessions.make_link(mail, "en", "/"), None)
        self.client.cookies.set("__Host-coop", token, domain=urlsplit(MAIN).hostname or "", path="/")
        return account.account

    def make_passkey(self, page: Page, device: Device | None = None) -> Page:
        """Press the button of an enrolment page and touch the sensor."""
        self.device = device or Device()
        return self.post(page.url.partition("?")[0], credential=self.device.create(json.loads(page.attribute("data-options"))))

    def touch(self, page: Page, device: Device | None = None) -> Page:
        """Press the button of a signing page and touch the sensor."""
        holder = device or self.device
        assert holder is not None
        return self.post(page.url, assertion=holder.get(page.shown))

    def paste(self, page: Page, key: PrivateKey | None = None) -> Page:
        """Download the statement, sign it with a key in a file, and paste the signature."""
        signer = key or self.key
        assert signer is not None
        data = self.client.get(urljoin(page.url, page.links("statement.json")[0])).content
        assert data == page.shown
        return self.post(page.url, signature=signer.sign(data))

    def sign(self, page: Page) -> Page:
        """Sign with what the person has."""
        assert page.path.startswith("/sign/"), (page.url, page.words)
        return self.touch(page) if self.device else self.paste(page)

    def prove(self) -> Page:
        """Show that the account is that of the member whose key this is."""
        assert self.key is not None
        return self.sign(self.post("/join/prove", line=self.key.public.line))

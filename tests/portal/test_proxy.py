"""The portal for real: `coop portal` behind nginx with TLS, both sites by their names, a browser with a passkey, and clients that lie or dawdle."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import pytest

from governance_hooks.cooperative import Cooperative
from governance_hooks.sshsig import PrivateKey
from portal.settings import Settings
from portal.store.private import PrivateStore
from tests.portal.certificates import Authority
from tests.portal.conftest import named
from tests.ports import free_port
from tests.village import found

ROOT = Path(__file__).parents[2]
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
pytestmark = [pytest.mark.browser, pytest.mark.skipif(NGINX is None, reason="apt-get install nginx")]
COOP = "import limits, portal.limits; portal.limits.RATES['write'] = limits.parse('120/day'); from commonweights.cli import main; main()"
"""The command, with a day in the place of the minute: a slow machine does not let it pass."""
HEAD = "daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/nginx.log; events {{}}\nhttp {{\n{paths}\n"
PATHS = "\n".join(f"{name}_temp_path {{folder}}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))


@dataclass
class Site:
    """A portal behind its proxy."""

    root: Path
    settings: Settings
    keys: dict[str, PrivateKey]
    port: int
    plain: int
    behind: int
    """Where the portal itself listens."""
    authority: Authority
    chain: Path
    private: Path
    pin: str
    """What a browser takes for the certificate's key, since it knows no authority of ours."""
    said: Path

    def ask(
        self, host: str, path: str = "/", method: str = "GET", *, source: str = "127.0.0.1", headers: dict[str, str] | None = None, **fields: str
    ) -> tuple[int, http.client.HTTPMessage, str]:
        """Ask the proxy, from an address of this machine, as a client that checks certificates."""
        raw = socket.create_connection(("127.0.0.1", self.port), timeout=300, source_address=(source, 0))
        context = ssl.create_default_context(cafile=str(self.authority.path))
        return _ask(context.wrap_socket(raw, server_hostname=host), f"{host}:{self.port}", path, method, headers, fields)

    def ask_past_the_proxy(self, host: str, source: str, headers: dict[str, str]) -> int:
        """Ask the portal itself."""
        raw = socket.create_connection(("127.0.0.1", self.behind), timeout=300, source_address=(source, 0))
        return _ask(raw, host, "/nothing", "POST", headers, {})[0]

    def link(self, mail: str) -> str:
        """The newest link to sign in that was mailed to an address."""
        until = time.monotonic() + 180
        while time.monotonic() < until:
            found = re.findall(rf"--- mail to {re.escape(mail)}:.*?(https://\S+/signin/\S+)", self.said.read_text(), re.S)
            if found:
                return str(found[-1])
            time.sleep(0.1)
        raise AssertionError(self.said.read_text())


def _ask(
    connected: socket.socket, host: str, path: str, method: str, headers: dict[str, str] | None, fields: dict[str, str]
) -> tuple[int, http.client.HTTPMessage, str]:
    connection = http.client.HTTPConnection(host)
    connection.sock = connected
    kind = {"content-type": "application/x-www-form-urlencoded"} if method == "POST" else {}
    connection.request(method, path, urlencode(fields) if method == "POST" else None, {"host": host} | kind | (headers or {}))
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, answer.headers, text


def _answers(site: Site) -> bool:
    try:
        return site.ask("portal.localhost")[0] == 200
    except OSError:  # nginx or the portal is not there yet
        return False


def documented(folder: Path, port: int, plain: int, behind: int, chain: Path, private: Path, *, patience_s: int) -> str:
    """The configuration of the docs, with this test's names, ports and files, and as much patience with who sends slowly."""
    page = (ROOT / "docs" / "portal.md").read_text()
    text = page.split("```nginx\n")[1].split("```")[0]
    for old, new in (
        ("listen 443 ", f"listen 127.0.0.1:{port} "),
        ("listen 80;", f"listen 127.0.0.1:{plain};"),
        ("coop.example sign.coop.example", "portal.localhost sign.localhost"),
        ("/etc/ssl/coop.example.crt", str(chain)),
        ("/etc/ssl/private/coop.example.key", str(private)),
        ("127.0.0.1:8123", f"127.0.0.1:{behind}"),
        ("client_header_timeout 10s", f"client_header_timeout {patience_s}s"),
        ("client_body_timeout 10s", f"client_body_timeout {patience_s}s"),
    ):
        assert old in text, old
        text = text.replace(old, new)
    return HEAD.format(folder=folder, paths=PATHS.format(folder=folder)) + text + "}\n"


@contextlib.contextmanager
def nginx(folder: Path, conf: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run nginx in a folder, whether it answers yet or not."""
    (folder / "nginx.conf").write_text(conf)
    with subprocess.Popen([str(NGINX), "-e", str(folder / "start.log"), "-p", str(folder), "-c", str(folder / "nginx.conf")]) as running:
        try:
            yield running
        finally:
            running.terminate()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("proxy")
    port, plain, behind = free_port(), free_port(), free_port()
    settings = Settings(f"https://portal.localhost:{port}", f"https://sign.localhost:{port}")
    root = folder / "village"
    keys, _ = found(root, passkey_origins=[named(settings)])
    authority = Authority(folder)
    chain, private, public = authority.server("portal.localhost", "sign.localhost")
    conf = documented(folder, port, plain, behind, chain, private, patience_s=600)
    pin, said = base64.b64encode(hashlib.sha256(public).digest()).decode(), folder / "said"
    command = [sys.executable, "-c", COOP, "-C", str(root), "portal", "--port", str(behind), "--origin", settings.origin,
               "--signing-origin", settings.signing_origin]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(folder / "state")}
    with (
        said.open("wb") as out,
        subprocess.Popen(command, env=environment, stderr=out, stdout=out) as portal,
        nginx(folder, conf) as proxy,
    ):
        try:
            made = Site(root, settings, keys, port, plain, behind, authority, chain, private, pin, said)
            until = time.monotonic() + 300
            while not _answers(made):
                assert proxy.poll() is None, (folder / "start.log").read_text()
                assert portal.poll() is None, said.read_text()
                assert time.monotonic() < until, said.read_text() + (folder / "nginx.log").read_text()[-3000:]
                time.sleep(0.1)
            yield made
        finally:
            portal.terminate()


def test_a_member_joins_and_consents_with_a_passkey_through_tls(site: Site, tmp_path: Path) -> None:
    from tests.portal.chromium import Authenticator, browser

    with browser(tmp_path / "profile", arguments=[f"--ignore-certificate-errors-spki-list={site.pin}"]) as context:
        page = context.new_page()
        phone = Authenticator(page)
        page.goto(site.settings.origin + "/signin")
        page.get_by_label("Your mail address").fill("new@example.org")
        page.get_by_role("button", name="Send me a link").click()
        page.get_by_text("a link is on its way").wait_for()
        page.goto(site.link("new@example.org"))
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("heading", name="Where you stand").wait_for()

        (cookie,) = [one for one in context.cookies() if one["name"] != "lang"]
        assert (cookie["name"], cookie["domain"], cookie["path"]) == ("__Host-coop", "portal.localhost", "/")
        assert cookie["secure"]
        assert cookie["httpOnly"]

        page.goto(site.settings.origin + "/join")
        page.get_by_role("button", name="Make a passkey").click()
        page.wait_for_url("https://sign.localhost:*/enrol/**")
        page.get_by_role("button", name="Make a passkey").click()
        page.wait_for_url("https://sign.localhost:*/sign/**")
        page.get_by_role("button", name="Sign with the new key").click()
        page.get_by_text("Signatures so far: 1 of 3").wait_for()
        assert phone.credentials()[0]["rpId"] == "sign.localhost"
        for registrar in sorted(site.keys)[:2]:
            with PrivateStore(site.root / "private" / "portal.sqlite") as private:
                (drafted,) = private.drafts.open(kind="coop.admission/v1")
            status, *_ = site.ask("sign.localhost", f"/sign/{drafted.id}?as={registrar}", "POST", signature=site.keys[registrar].sign(drafted.body))
            assert status == 303
        page.goto(site.settings.origin + "/consent")
        page.get_by_role("switch", name=re.compile("^non-commercial research")).click()
        page.get_by_role("button", name="Go on to sign").click()
        page.wait_for_url("https://sign.localhost:*/sign/**")
        page.get_by_role("button", name="Sign with my passkey").click()
        page.wait_for_url("https://portal.localhost:*/**")
        assert page.get_by_role("switch", name=re.compile("^non-commercial research")).get_attribute("aria-checked") == "true"
    with Cooperative.open(site.root, read_only=True) as coop:
        (joined,) = set(coop.register.members) - set(site.keys)
        assert len(coop.register.grants[joined]) == 1


@pytest.mark.parametrize("host", ["portal.localhost", "sign.localhost"])
def test_both_sites_are_bound_to_tls(site: Site, host: str) -> None:
    status, headers, _ = site.ask(host)
    assert status == 200
    assert headers["strict-transport-security"] == "max-age=63072000; includeSubDomains"
    assert "nginx/" not in headers["server"]
    connection = http.client.HTTPConnection("127.0.0.1", site.plain)
    connection.request("GET", "/proposals", headers={"host": host})
    answer = connection.getresponse()
    assert (answer.status, answer.headers["location"]) == (301, f"https://{host}/proposals")


def test_no_other_name_is_served(site: Site) -> None:
    raw = socket.create_connection(("127.0.0.1", site.port), timeout=300)
    careless = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    careless.check_hostname, careless.verify_mode = False, ssl.CERT_NONE
    with pytest.raises(ssl.SSLError):
        careless.wrap_socket(raw, server_hostname="evil.example")
    # With our name in the handshake and another in the request; nor does the portal itself know it.
    assert site.ask("portal.localhost", headers={"host": "evil.example"})[0] == 421
    assert site.ask_past_the_proxy("evil.example", "127.0.0.1", {}) == 421


def test_rates_count_the_address_the_proxy_saw_and_nothing_a_client_says(site: Site) -> None:
    def one(source: str, number: int) -> int:
        lie = {"x-forwarded-for": f"10.0.{number // 250}.{number % 250}", "forwarded": f"for=10.0.0.{number % 250}", "x-real-ip": f"10.1.0.{number % 250}"}
        return site.ask("portal.localhost", "/nothing", "POST", source=source, headers=lie)[0]

    answers = [one("127.0.0.2", number) for number in range(130)]
    assert set(answers[:120]) == {404}
    assert set(answers[121:]) == {429}
    assert one("127.0.0.3", 0) == 404  # another client is not held up by it
    # Nor does the portal believe a neighbour that is not its proxy.
    host = f"portal.localhost:{site.port}"
    assert site.ask_past_the_proxy(host, "127.0.0.2", {"x-forwarded-for": "10.2.0.1"}) == 429
    assert site.ask_past_the_proxy(host, "127.0.0.4", {"x-forwarded-for": "127.0.0.2"}) == 404


def test_a_body_that_is_too_big_does_not_reach_the_portal(site: Site) -> None:
    status, _, text = site.ask("portal.localhost", "/statements", "POST", source="127.0.0.5", statement="x" * 700_000)
    assert status == 413
    assert "nginx" in text


def slow_clients(site: Site, port: int) -> list[ssl.SSLSocket]:
    """Slowloris: many connections whose headers, or whose body, never end."""
    context = ssl.create_default_context(cafile=str(site.authority.path))
    starts = (b"GET / HTTP/1.1\r\nHost: portal.localhost:%d\r\nX-Slow: " % site.port,
              b"POST /statements HTTP/1.1\r\nHost: portal.localhost:%d\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 400000\r\n\r\nstate"
              % site.port)  # fmt: skip
    slow = []
    for number in range(80):
        raw = socket.create_connection(("127.0.0.1", port), timeout=300, source_address=(f"127.0.0.{10 + number % 2}", 0))
        with contextlib.suppress(OSError):  # cut off before they began: this machine stood still
            made = context.wrap_socket(raw, server_hostname="portal.localhost")
            made.sendall(starts[number % 2])
            slow.append(made)
    return slow


def test_slow_clients_hold_up_nobody(site: Site) -> None:
    slow = slow_clients(site, site.port)
    assert len(slow) == 80
    assert site.ask("portal.localhost", "/proposals")[0] == 200  # while all of them wait
    for made in slow:
        made.close()


def test_slow_clients_are_cut_off(site: Site, tmp_path: Path) -> None:
    port, plain = free_port(), free_port()
    with nginx(tmp_path, documented(tmp_path, port, plain, site.behind, site.chain, site.private, patience_s=1)) as proxy:
        with socket.socket() as probe:
            while probe.connect_ex(("127.0.0.1", plain)):
                assert proxy.poll() is None, (tmp_path / "start.log").read_text()
                time.sleep(0.1)
        slow = slow_clients(site, port)
        assert slow
        for made in slow:
            answer = made.recv(65_536)
            assert answer == b"" or answer.startswith(b"HTTP/1.1 408"), answer
            made.close()

"""The whole story, once with a passkey and once without a script: somebody joins, gives, consents; a release is blocked, voted on, downloaded and verified; they withdraw.

Real Chromium, a real SMTP server, a real PostgreSQL for log, texts and private tables, and nothing but OpenSSH, curl and `coop verify` at the end.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from sqlalchemy.engine import make_url

from commonweights.commands.portal import open_service
from commonweights.voting import close_statement
from governance_hooks.cooperative import Cooperative
from governance_hooks.sshsig import NAMESPACE, PrivateKey
from model_card.release import Release, add_proof
from portal.app import make_app
from portal.limits import RATES, Limits
from portal.mail.sender import sending
from portal.mail.smtp import Smtp
from portal.service import Service
from portal.settings import Settings
from portal.signing.submitting import submit_signature
from tests.model_card.conftest import RUN, Finished, finish, sign_evaluation
from tests.portal.conftest import named
from tests.portal.test_mail import READY_S, Mailbox, text_of
from tests.ports import free_port
from tests.postgres import Server
from tests.village import Village, found

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.postgres, pytest.mark.openssh]


@dataclass
class Story:
    """A portal with a release nobody has voted on, its people, and somebody new in front of a browser."""

    service: Service
    done: Finished
    release: Release
    mailbox: Mailbox
    page: Any
    folder: Path
    authenticator: Any = None
    """None: no script runs, and signatures are pasted."""
    heard: list[str] = field(default_factory=list)

    @property
    def main(self) -> str:
        return self.service.settings.origin

    @property
    def keys(self) -> dict[str, PrivateKey]:
        return self.done.village.keys

    def wait(self, seconds: int) -> None:
        """Turn every clock of the cooperative forward."""
        self.done.village.wait(seconds)
        for one in (self.service.view, self.service.writer._coop, self.service):
            one.clock = lambda: self.done.village.clock

    def sign_in(self, mail: str) -> None:
        page = self.page
        page.goto(self.main + "/signin")
        page.get_by_label("Your mail address").fill(mail)
        page.get_by_role("button", name="Send me a link").click()
        page.get_by_text("a link is on its way").wait_for()
        until = time.monotonic() + 180
        while not self.mailbox.to(mail) and time.monotonic() < until:
            time.sleep(0.05)
        page.goto(next(word for word in text_of(self.mailbox.to(mail)[-1]).split() if word.startswith(self.main)))
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("heading", name=re.compile("^(What needs you|Where you stand)$")).wait_for()

    def sign(self) -> None:
        """Touch the sensor, or sign the downloaded statement with ssh-keygen and paste what it wrote."""
        page = self.page
        page.wait_for_url("http://localhost:*/sign/**")
        if self.authenticator is not None:
            page.get_by_role("button", name=re.compile("^Sign with (my passkey|the new key)")).click()
            return
        (self.folder / "statement.json").write_bytes(page.request.get(page.url.partition("?")[0] + "/statement.json").body())
        (self.folder / "statement.json.sig").unlink(missing_ok=True)
        command = ["ssh-keygen", "-q", "-Y", "sign", "-n", NAMESPACE, "-f", "id", "statement.json"]
        subprocess.run(command, cwd=self.folder, check=True, capture_output=True)
        page.get_by_label("Signature").fill((self.folder / "statement.json.sig").read_text())
        page.get_by_role("button", name="Hand in").click()

    def home_again(self) -> None:
        self.page.wait_for_url("http://127.0.0.1:*/**")

    def join(self, mail: str) -> str:
        """Ask to join with a key of one's own; two registrars agree with theirs."""
        page = self.page
        page.goto(self.main + "/join")
        if self.authenticator is not None:
            page.get_by_role("button", name="Make a passkey").click()
            page.wait_for_url("http://localhost:*/enrol/**")
            page.get_by_role("button", name="Make a passkey").click()
        else:
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.folder / "id"], check=True)
            page.get_by_text("Use a key in a file").click()
            page.get_by_label("Your public key, for example").fill((self.folder / "id.pub").read_text())
            page.get_by_role("button", name="Go on").first.click()
        self.sign()
        page.get_by_text("Signatures so far: 1 of 3").wait_for()
        for registrar in self.done.members[:2]:
            (drafted,) = self.service.private.drafts.open(kind="coop.admission/v1")
            submit_signature(self.service, drafted, self.keys[registrar].sign(drafted.body))
        account = self.service.private.accounts.find(mail=mail)
        assert account is not None
        assert account.member is not None
        return account.member


@pytest.fixture(params=["a passkey", "pasted signatures"])
def story(request: pytest.FixtureRequest, postgres: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Story]:
    from tests.portal.chromium import Authenticator, browser, serving

    touches = request.param == "a passkey"
    port, root = free_port(), tmp_path / "village"
    settings = Settings(f"http://127.0.0.1:{port}", f"http://localhost:{port}")
    log = make_url(postgres.url("postgres", postgres.new_schema()))
    for name in ("COOP_STORE_URL", "COOP_PORTAL_URL"):
        monkeypatch.setenv(name, postgres.url("postgres", postgres.new_schema()))
    keys, operator = found(root, founders=6, log=log, passkey_origins=[named(settings)])
    with ExitStack() as stack:
        coop = stack.enter_context(Cooperative.open(root))
        done = finish(root, coop, Village(root, coop, keys, operator))
        sign_evaluation(done)
        (root / "releases").mkdir()
        release = done.assemble(root / "releases" / "village-lm")
        mailbox = Mailbox()
        controller = Controller(mailbox, hostname="127.0.0.1", port=mailbox.port, ready_timeout=READY_S)
        controller.start()
        stack.callback(controller.stop)
        service = stack.enter_context(open_service(root, settings))
        service.limits = Limits({name: type(rate)(100_000, 1) for name, rate in RATES.items()})
        stack.enter_context(sending(service, Smtp("127.0.0.1", mailbox.port, tls=False), every_s=0.1))
        stack.enter_context(serving(make_app(service), port))
        context = stack.enter_context(browser(tmp_path / "profile", java_script_enabled=touches))
        page = context.new_page()
        made = Story(service, done, release, mailbox, page, tmp_path, Authenticator(page) if touches else None)
        page.on("console", lambda message: made.heard.append(message.text) if message.type in ("error", "warning") else None)
        made.wait(60)
        yield made
    assert not (root / "log.sqlite").exists()
    assert not (root / "private" / "portal.sqlite").exists()


def test_from_joining_to_a_verified_download_and_back_out(story: Story) -> None:
    page, service, release = story.page, story.service, story.release
    story.sign_in("new@example.org")
    member = story.join("new@example.org")

    page.goto(story.main + "/contribute")
    page.get_by_label("A question or a task").fill("Habari ya asubuhi?")
    page.get_by_label("The answer, as you would give it").fill("Nzuri, asante.")
    page.get_by_label(re.compile("^Its language")).fill("swh")
    page.get_by_role("button", name="Put it into the basket").click()
    page.get_by_role("button", name=re.compile("^Give it")).click()
    story.sign()
    page.get_by_text("Your texts are given, under your signature.").wait_for()

    page.goto(story.main + "/consent")
    page.get_by_role("switch", name=re.compile("^non-commercial research")).click()
    page.get_by_role("button", name="Go on to sign").click()
    story.sign()
    story.home_again()

    # Nothing was voted: the weights are listed and not handed out, and the page says what is missing.
    page.goto(story.main + "/propose")
    page.get_by_role("link", name=re.compile("^Propose this release")).click()
    page.get_by_label("Your reasons (if you like)").fill("# Why\n\n- it **speaks** our languages\n")
    page.get_by_role("button", name="Preview").click()
    page.get_by_role("heading", name="Why", level=3).wait_for()
    page.get_by_role("button", name="Go on to sign").click()
    story.sign()
    story.home_again()
    with service.view.reading() as register:
        (proposal,) = [one.id for one in register.proposals.values() if one.subject == release.digest]
    page.goto(f"{story.main}/proposals/{proposal}")
    page.get_by_role("link", name="Run every check").click()
    page.get_by_text(re.compile("checks? do(es)? not pass")).wait_for()
    blocked = [one for one in page.locator("ol.steps > li").all_inner_texts() if not one.startswith("✓")]
    assert any("To unblock:" in one for one in blocked), page.locator("ol.steps").inner_text()
    weights = f"{story.main}/releases/{release.digest}/files/adapter/adapter_model.safetensors"
    assert page.request.get(weights).status in (403, 404, 409)

    page.goto(story.main + "/")
    page.get_by_role("link", name=re.compile("^Read and vote")).click()
    page.get_by_label("For", exact=True).check()
    page.get_by_role("button", name="Go on to sign").click()
    story.sign()
    story.home_again()
    page.get_by_text("In the log, for good").wait_for()
    for founder in story.done.members[:5]:
        ballot = {"proposal": proposal, "choice": "against" if founder == story.done.members[4] else "for", "sequence": 1, "reason": None}
        service.writer.append(story.done.village.entry("coop.ballot/v1", ballot, founder))

    # The operator counts, publishes, and puts the proof into the folder, as `coop close` and `coop release publish` do.
    story.wait(service.view.register.proposals[proposal].rules.minimum_period_s + 60)
    with Cooperative.open(story.done.village.root) as coop:
        coop.clock = lambda: story.done.village.clock
        kind, count = close_statement(coop.register.proposals[proposal])
        coop.operate(kind, count)
        coop.operate("coop.release/v1", {"run": RUN, "release": release.digest, "proposal": proposal})
        add_proof(release.folder, coop.proof().dumps())
        pin = coop.pin
    page.goto(f"{story.main}/proposals/{proposal}/why")
    page.get_by_text(re.compile("Nothing blocks it")).wait_for()

    # A stranger's machine: the page's own two commands.
    page.goto(story.main + "/releases")
    page.get_by_role("link", name=re.compile("village-lm")).first.click()
    page.get_by_text("The log holds no withdrawal of it").wait_for()
    told = page.locator("pre", has_text="coop verify").inner_text()
    fetch, check = told.splitlines()
    assert f"coop verify village-lm --pin {pin}" == check
    down = story.folder / "down"
    down.mkdir()
    subprocess.run(["bash", "-o", "pipefail", "-c", fetch], cwd=down, check=True, capture_output=True, timeout=600)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(story.folder / "stranger")}
    command = [sys.executable, "-m", "commonweights.cli", *check.split()[1:]]
    verified = subprocess.run(command, cwd=down, env=environment, capture_output=True, text=True, check=False, timeout=600)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    damaged = down / "village-lm" / "adapter" / "adapter_model.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    assert subprocess.run(command, cwd=down, env=environment, capture_output=True, check=False, timeout=600).returncode == 1

    # The ballot, from the public page of the log, to stock OpenSSH.
    with service.view.reading() as register:
        ballot_digest = register.proposals[proposal].votes[member].ballot
        position = service.view.positions[ballot_digest]
    public = page.context.browser.new_context() if page.context.browser else page.context
    looked = public.new_page()
    looked.goto(f"{story.main}/log/entries/{position}")
    names = ("statement.json", "statement.json.sig", "allowed_signers")
    for name in names:
        address = looked.get_by_role("link", name=name, exact=True).get_attribute("href")
        (story.folder / name).write_bytes(looked.request.get(story.main + str(address)).body())
    assert (story.folder / "statement.json").read_text() == looked.locator("pre").first.text_content()
    verify = ["ssh-keygen", "-Y", "verify", "-f", "allowed_signers", "-I", member, "-n", NAMESPACE, "-s", "statement.json.sig"]
    body = (story.folder / "statement.json").read_bytes()
    said = subprocess.run(verify, cwd=story.folder, input=body, capture_output=True, check=False)
    assert said.returncode == 0, said.stderr
    assert b"ECDSA-SK" in said.stdout if story.authenticator else b"ED25519" in said.stdout
    swapped = body.replace(b'"choice":"for"', b'"choice":"against"')
    assert swapped != body
    assert subprocess.run(verify, cwd=story.folder, input=swapped, capture_output=True, check=False).returncode != 0
    looked.close()

    page.goto(story.main + "/consent")
    page.get_by_role("button", name="Take everything back").click()
    story.sign()
    story.home_again()
    with service.view.reading() as register:
        assert [grant.withdrawn is not None for grant in register.grants[member]] == [True]
        tally = register.proposals[proposal].tally
        assert tally is not None
        assert (tally.votes_for, tally.votes_against) == (5, 1)
    # Each statement was told of by mail, and no mail says what was voted.
    until = time.monotonic() + 180
    while sum("signed something" in one["Subject"] for one in story.mailbox.to("new@example.org")) < 5 and time.monotonic() < until:
        time.sleep(0.1)
    letters = [text_of(one) for one in story.mailbox.to("new@example.org") if "signed something" in one["Subject"]]
    assert len(letters) >= 5
    assert not [one for one in letters if "against" in one.split() or " for this" in one]
    assert not story.heard

"""What the controller does between jobs: which proofs it takes, which orders are in force, what leaves the outbox."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from governance_hooks.canonical import dumps, sha256
from governance_hooks.errors import BadInput, Refused
from governance_hooks.proof import Proof
from governance_hooks.sshsig import generate_key
from governance_hooks.statement import SITE, body, entry, now, shift, sign
from slurm.permission import Standing
from slurm.site_folder import FOLDERS, Site, SiteFolder, deliver_proof
from slurm.sync import KEEP_S, sync
from tests.slurm.lent import Lent
from tests.village import Approved, Village, found


class Controlled(Lent):
    """A site whose controller is this process, without a SLURM."""

    def __init__(self, approved: Approved, folder: Path) -> None:
        super().__init__(approved, folder)
        for name in FOLDERS:
            (folder / name).mkdir(exist_ok=True)
        key = folder.parent / "village" / "sites" / self.name
        coop = self.outbox.coop
        site = Site(
            site=self.name, coop=coop, key=self.key.public.line, private_key=str(key), gated=["gpu"], slurm_conf="/etc/slurm.conf", hooks="/h", python="/p"
        )
        (folder / "site.json").write_bytes(dumps(site.model_dump()))
        self.refresh()

    def refresh(self) -> None:
        deliver_proof(self.folder, self.village.coop.proof().dumps())

    def sync(self) -> object:
        return sync(SiteFolder.open(self.folder), at=self.village.clock)

    def put(self, **changes: object) -> str:
        name = self.order(**changes).removeprefix("sha256:")  # type: ignore[arg-type]
        (self.folder / "inbox" / name / "plan.json").write_bytes(self.approved.plan_bytes)
        (self.folder / "inbox" / name / "places.json").write_bytes(dumps({"build": str(self.approved.build), "base": str(self.approved.base)}))
        return name

    def said(self, name: str) -> str | None:
        """Return why an order is not in force; None if it is."""
        ok, no = (self.folder / "orders" / f"{name}.{suffix}" for suffix in ("ok", "no"))
        assert ok.exists() != no.exists()
        return no.read_text() if no.exists() else None


@pytest.fixture
def site(approved: Approved, tmp_path: Path) -> Controlled:
    return Controlled(approved, tmp_path / "site")


def test_an_order_under_an_approval_is_in_force_with_what_job_submit_reads(site: Controlled) -> None:
    name = site.put()
    site.sync()
    assert site.said(name) is None
    lines = (site.folder / "orders" / f"{name}.ok").read_text().splitlines()
    assert {"kind=train", "run=run-1", "nodes=1", "devices=2", "minutes=30", "array=", f"user={os.getuid()}"} < set(lines)


def test_a_halted_order_falls_out_of_force_and_one_taken_out_of_the_inbox_too(site: Controlled) -> None:
    name, other = site.put(), site.put(nodes=2)
    site.sync()
    assert (site.said(name), site.said(other)) == (None, None)
    site.village.say("coop.halt/v1", {"proposal": site.approved.proposal, "until": shift(site.village.clock, 60)}, site.village.members[3])
    site.refresh()
    for file in (site.folder / "inbox" / other).iterdir():
        file.unlink()
    (site.folder / "inbox" / other).rmdir()
    site.sync()
    assert "this approval is halted" in (site.said(name) or "")
    assert not list((site.folder / "orders").glob(f"{other}.*"))


def test_what_follows_a_training_is_ordered_with_it_and_outlives_its_last_start(site: Controlled) -> None:
    evaluation, card, build = site.put(kind="eval"), site.put(kind="card", devices=0), site.put(kind="build", run="a-build")
    site.sync()
    assert (site.said(evaluation), site.said(card), site.said(build)) == (None, None, None)
    site.begin()
    site.begin(start=2)  # the approval is used up
    training = site.put()
    site.sync()
    assert (site.said(evaluation), site.said(card)) == (None, None)
    assert "approval is used up" in (site.said(training) or "")


@pytest.mark.parametrize("logged", [False, True])
def test_a_complete_run_is_not_trained_again_whether_the_log_knows_it_yet_or_not(site: Controlled, tmp_path: Path, logged: bool) -> None:
    site.village.coop.append(site.begin().data)
    if logged:
        site.village.say("coop.run-end/v1", {"run": "run-1", "status": "completed", "record": sha256(b"r"), "outputs": sha256(b"o")}, "operator")
    site.refresh()
    again, evaluation = site.put(), site.put(kind="eval")
    places = site.folder / "inbox" / again / "places.json"
    places.write_bytes(dumps({"build": str(site.approved.build), "base": str(site.approved.base), "run": str(tmp_path)}))
    for status in () if logged else ("halted", "completed"):
        site.sync()
        assert site.said(again) is None
        (tmp_path / "run.json").write_bytes(dumps({"status": status, "run": "run-1", "plan": sha256(site.approved.plan_bytes)}))
    site.sync()
    assert f"run run-1 is complete: its result is in {tmp_path}; next: {'' if logged else 'coop collect'}" in (site.said(again) or "")
    assert site.said(evaluation) is None


def test_an_inbox_full_of_traps_stops_nobody_elses_order(site: Controlled) -> None:
    good = site.put()
    inbox = site.folder / "inbox"
    traps = {"order.json": "pipe", "plan.json": "link", "places.json": "pipe"}
    for number, (name, kind) in enumerate(traps.items()):
        folder = inbox / f"{number:064x}"
        folder.mkdir()
        (folder / "order.json").write_bytes((inbox / good / "order.json").read_bytes())
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name) if kind == "pipe" else (folder / name).symlink_to("/dev/zero")
    (inbox / ("f" * 64)).write_bytes(b"a file")
    (inbox / "not an order").mkdir()
    site.sync()
    assert site.said(good) is None
    for number in range(3):
        assert site.said(f"{number:064x}") is not None


def test_a_copied_order_under_another_name_is_none(site: Controlled) -> None:
    name = site.put()
    copy = site.folder / "inbox" / ("1" * 64)
    copy.mkdir()
    for file in (site.folder / "inbox" / name).iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    site.sync()
    assert "is not the one the job names" in (site.said("1" * 64) or "")


def test_only_proofs_that_hold_and_add_to_the_log_are_taken(site: Controlled, tmp_path: Path) -> None:
    site.sync()
    old = site.village.coop.proof()
    site.village.stamp(1)
    site.refresh()
    site.sync()
    taken = (site.folder / "proof.coop").read_bytes()
    assert taken == site.village.coop.proof().dumps()
    for bad, why in ((old.dumps(), "longer log"), (Proof(old.checkpoint, old.entries[:-1]).dumps(), "number of entries"), (b"no proof", "no proof")):
        deliver_proof(site.folder, bad)
        done = site.sync()
        assert any(why in words for words in done.trouble), done  # type: ignore[attr-defined]
        assert (site.folder / "proof.coop").read_bytes() == taken
    found(tmp_path / "others")
    from governance_hooks.cooperative import Cooperative

    with Cooperative.open(tmp_path / "others") as others:
        deliver_proof(site.folder, others.proof().dumps())
    assert any("another cooperative" in words for words in site.sync().trouble)  # type: ignore[attr-defined]
    assert (site.folder / "proof.coop").read_bytes() == taken


def test_what_is_no_order_stops_nobody_elses(site: Controlled) -> None:
    name, inbox = site.put(), site.folder / "inbox"
    (inbox / ("2" * 64)).write_bytes(b"a file, not a folder")
    (inbox / ("3" * 64) / "order.json").mkdir(parents=True)
    (inbox / ("4" * 64)).symlink_to("/")
    site.sync()
    assert site.said(name) is None
    assert all(site.said(digit * 64) for digit in "234")


def test_nobody_can_keep_the_writers_proof_out_of_the_inbox(site: Controlled) -> None:
    site.sync()
    inbox = site.folder / "inbox"
    (inbox / "proof.coop").mkdir()  # as a file of somebody else's: the writer cannot put its own in that place
    (inbox / "proof-0123456789abcdef.coop").write_bytes(b"another user's word")
    site.village.stamp(1)
    site.refresh()
    done = site.sync()
    assert done.taken  # type: ignore[attr-defined]
    assert (site.folder / "proof.coop").read_bytes() == site.village.coop.proof().dumps()
    assert [path.name for path in inbox.glob("proof*")] == ["proof.coop"]  # looked at once, then gone; a folder stays, and is in no way


def test_without_a_proof_nothing_is_in_force(approved: Approved, tmp_path: Path) -> None:
    site = Controlled(approved, tmp_path / "site")
    (site.folder / "inbox" / "proof.coop").unlink()
    site.put()
    with pytest.raises(Refused, match="no proof"):
        site.sync()
    assert not list((site.folder / "orders").iterdir())


def test_an_entry_leaves_the_outbox_when_the_log_has_held_it_for_an_hour_but_the_last_stays(site: Controlled) -> None:
    entries = [site.begin(), site.begin(start=2)]
    for one in entries:
        os.utime(one.path, (1, 1))
    site.sync()
    assert all(one.path.exists() for one in entries)  # the log does not hold them
    for one in entries:
        site.village.coop.append(one.data)
    site.refresh()
    site.sync()
    assert [one.path.exists() for one in entries] == [False, True]
    assert KEEP_S > 600  # longer than a process goes on with an older proof


def test_a_start_the_log_will_not_take_is_set_aside_and_the_site_goes_on(site: Controlled) -> None:
    """Two sites started under one approval before either start was in the log: the log takes the first word it gets."""
    lost = site.begin()
    for start in (1, 2):
        site.approved.start("run-elsewhere", start)
    site.refresh()
    done = site.sync()
    assert any("the log does not take" in words for words in done.trouble)  # type: ignore[attr-defined]
    assert not lost.path.exists()
    assert lost.path.with_suffix(".refused").read_bytes() == lost.data
    site.sync()
    Standing(SiteFolder.open(site.folder), site.village.clock)  # would raise


def test_another_keys_word_in_the_outbox_is_not_believed(site: Controlled, tmp_path: Path) -> None:
    forged = body("coop.run-start/v1", site.approved.started(), coop=site.outbox.coop, author=SITE + site.name, issued=now())
    path = site.folder / "outbox" / "000000000001-run-start.entry"
    path.write_bytes(entry(forged, [sign(forged, generate_key(tmp_path / "other"))]))
    site.refresh()
    assert any("not signed by its key alone" in words for words in site.sync().trouble)  # type: ignore[attr-defined]


def test_the_key_has_to_be_the_sites(site: Controlled) -> None:
    folder = SiteFolder.open(site.folder)
    Path(folder.site.private_key).unlink()
    generate_key(Path(folder.site.private_key))
    with pytest.raises(Refused, match="is not the key of this site"):
        folder.outbox()
    with pytest.raises(BadInput, match="no folder of a site"):
        SiteFolder.open(site.folder / "inbox")


def test_an_expired_order_is_not_in_force(site: Controlled, village: Village) -> None:
    name = site.put(expires=shift(village.clock, 10))
    site.sync()
    assert site.said(name) is None
    village.stamp(10)
    site.refresh()
    site.sync()
    assert "this order has expired" in (site.said(name) or "")


def test_an_order_under_an_approval_that_has_expired_is_not_in_force(site: Controlled, village: Village) -> None:
    name = site.put(expires=shift(village.clock, 10 * 86_400))
    site.sync()
    assert site.said(name) is None
    village.stamp(86_400)
    site.refresh()
    site.sync()
    assert "this approval has expired" in (site.said(name) or "")

"""An operator with the log's real key shows different people different logs, or an old one: k of n witnesses stand in the way."""

from pathlib import Path

from governance_hooks.checkpoint import NoteKey, sign_checkpoint, verify_checkpoint
from governance_hooks.cooperative import Cooperative
from governance_hooks.merkle import leaf_hash, root
from governance_hooks.proof import Proof
from governance_hooks.report import Report
from governance_hooks.sshsig import PrivateKey
from governance_hooks.statement import shift
from model_card.release import add_proof
from model_card.verify import verify
from tests.attacks.forge import Story, only_broken
from tests.village import Village, found_witnessed, make_witnesses

ONE, TWO, THREE = (f"sister{i}.example/witness" for i in (1, 2, 3))
LINK = "signatures and rules"


class Witnessed(Story):
    """The honest release of a cooperative whose bylaws require two of three witnesses."""

    asked: tuple[str, ...] = (ONE, THREE)

    def found(self) -> tuple[dict[str, PrivateKey], PrivateKey]:
        self.witnesses = make_witnesses(self.folder)
        return found_witnessed(self.root, self.witnesses, 2)

    def after_publication(self, village: Village) -> None:
        if self.asked:
            village.cosign(*self.asked)


def test_a_release_that_two_of_three_witnesses_saw_verifies_and_says_so(tmp_path: Path) -> None:
    report = Witnessed(tmp_path).play()
    assert report.passed, report.text()
    (line,) = (step.checked for step in report.steps if step.name == LINK)
    assert f"by 2 of 3 witnesses ({ONE}, {THREE}), 2 required" in line


def test_a_release_too_few_witnesses_saw_does_not_verify(tmp_path: Path) -> None:
    class Alone(Witnessed):
        asked = (TWO,)

    only_broken(Alone(tmp_path).play(), LINK, f"1 of 3 witnesses cosigned this checkpoint, 2 must; missing: {ONE}, {THREE}")


def test_a_log_without_a_members_withdrawal_finds_no_witnesses(tmp_path: Path) -> None:
    """Split view: the operator leaves the newest entry out for the public, under a checkpoint of its real key, with the witnesses' lines moved over."""
    story = Witnessed(tmp_path)
    assert story.play().passed
    with_withdrawal = later(story)
    good = verify_checkpoint(with_withdrawal.checkpoint, NoteKey.load(story.root / "keys/log.key").verifier)
    entries = with_withdrawal.entries[:-1] + story.hidden  # type: ignore[attr-defined]
    forged = sign_checkpoint(NoteKey.load(story.root / "keys/log.key"), len(entries), root([leaf_hash(entry) for entry in entries]), good.time)
    for note, words in ((forged, "0 of 3 witnesses"), (forged + "".join(line + "\n" for line in good.cosignatures), "does not verify")):
        add_proof(story.release.folder, Proof(note, entries).dumps())
        report = verify(story.release.folder)
        (step,) = (step for step in report.steps if step.name == LINK)
        assert words in step.why, report.text()
        assert report.exit_code == 1


def later(story: Witnessed) -> Proof:
    """A member withdraws after the release, and witnesses see it; the operator has another entry ready for that place."""
    with Cooperative.open(story.root) as coop:
        village = Village(story.root, coop, story.keys, story.operator, story.witnesses)
        village.clock = story.village.clock
        story.hidden = (village.entry("coop.time/v1", {}, "operator", story.operator),)  # type: ignore[attr-defined]
        village.say("coop.withdrawal/v1", {"consent": None}, village.members[0])
        village.cosign()
        return coop.proof()


def test_who_asks_about_now_is_shown_no_frozen_log(tmp_path: Path) -> None:
    """Freeze: a bundle from before a halt. A proof that is not fresh by the witnesses' clocks cannot say that there was none since."""
    story = Witnessed(tmp_path)
    assert story.play().passed
    now = shift(story.village.clock, 8 * 86_400)

    def ask() -> Report:
        return verify(story.release.folder, pin=story.village.coop.pin, now=now)

    only_broken(ask(), LINK, "old, 604800 s allowed: halts and withdrawals since would go unseen")
    with Cooperative.open(story.root) as coop:  # the same log, seen again eight days later to be still the newest
        village = Village(story.root, coop, story.keys, story.operator, story.witnesses)
        village.clock = now
        village.cosign(ONE, TWO)
        add_proof(story.release.folder, coop.proof().dumps())
    assert ask().passed, ask().text()


def test_a_story_without_witnesses_says_whose_word_its_time_is(bundle: Path) -> None:
    (line,) = (step.checked for step in verify(bundle).steps if step.name == LINK)
    assert "time by the operator's word, no independent witness" in line

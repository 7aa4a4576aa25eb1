"""Motions in plain words: each kind says what becomes of what, and the letters stand folded below."""

from __future__ import annotations

import pytest

from governance_hooks.fields import Strict
from governance_hooks.motions import MOTIONS, Admit, AppealAgainst, Appoint, ChangeOperator, HaltUse, Recall, Suspend, Waive, subject_of
from governance_hooks.sshsig import generate_key
from governance_hooks.state.proposals import Halt
from governance_hooks.state.releases import Mark
from governance_hooks.statement import now, shift
from portal import i18n
from portal.motion_words import motion_in_words
from portal.proposal_rows import kind_in_words
from tests.portal.conftest import Portal
from tests.portal.test_voting import propose

UNTIL = "2099-03-01T12:00:00Z"
ONE, TWO = "sha256:" + "a1" * 32, "sha256:" + "b2" * 32


def words(portal: Portal, motion: Strict) -> str:
    with portal.service.view.reading() as register:
        return " ".join(" ".join(motion_in_words(portal.service, register, motion)).split())


@pytest.mark.parametrize(
    ("motion", "said", "unsaid"),
    [
        (Waive(run="first-run", report=ONE), ["first-run", "a1a1a1a1", "this run alone"], ["leak test"]),
        (Waive(run="first-run", report=ONE, leak=TWO), ["may repeat what members wrote", "b2b2b2b2"], []),
        (Suspend(member="m-" + "1" * 16, until=UNTIL), ["m-" + "1" * 16, "Mar 1, 2099", "they can leave"], []),
        (HaltUse(proposal=ONE, until=UNTIL, ratifies=None), ["may not be used until Mar 1, 2099", "a1a1a1a1"], ["oversight"]),
        (HaltUse(proposal=ONE, until=UNTIL, ratifies=TWO), ["this prolongs that halt"], []),
        (Recall(release=ONE, reason="privacy", ratifies=None), ["a1a1a1a1", "gives away what is private"], ["stewards"]),
        (Recall(release=ONE, reason="safety", ratifies=TWO), ["this makes it stand"], []),
        (AppealAgainst(against=TWO), ["under b2b2b2b2b2b2 ends"], []),
        (Appoint(members=["m-" + "1" * 16], until=UNTIL, panel=None), ["m-" + "1" * 16, "Mar 1, 2099"], ["by lot"]),
        (Appoint(members=["m-" + "1" * 16], until=UNTIL, panel=ONE), ["drawn by lot"], []),
    ],
)
def test_each_motion_says_what_becomes_of_what(still: Portal, motion: Strict, said: list[str], unsaid: list[str]) -> None:
    text = words(still, motion)
    assert all(one in text for one in said), text
    assert not any(one in text for one in unsaid), text


def test_a_motion_about_a_key_shows_its_fingerprint(portal: Portal) -> None:
    key = generate_key(portal.root / "new").public
    for motion in (Admit(member="m-" + "1" * 16, key=key.line), ChangeOperator(operator=key.line)):
        assert key.fingerprint in words(portal, motion)


def test_an_appeal_names_what_it_ends(portal: Portal) -> None:
    running = propose(portal)
    motion = Suspend(member=portal.members[3], until=shift(now(), 60 * 86_400))
    suspended = propose(portal, "suspension", subject_of(motion), motion=motion.model_dump(mode="json"))
    with portal.service.view.reading() as register:
        register.halts[ONE] = Halt(ONE, running, now(), UNTIL, by_members=False)
        register.marks[TWO] = Mark(TWO, "sha256:" + "c3" * 32, "withdrawn", None, "safety", now(), UNTIL, by_members=False)
    assert "A halt ends, and the approval may be used again" in words(portal, AppealAgainst(against=ONE))
    assert "Release c3c3c3c3c3c3 is no longer withdrawn." in words(portal, AppealAgainst(against=TWO))
    assert f"The suspension of {portal.members[3]} ends at once" in words(portal, AppealAgainst(against=suspended))


def test_every_kind_of_motion_has_words_of_its_own_and_a_name(still: Portal) -> None:
    own = {"bylaws", "consultation"}  # told by what changes, and by their texts
    here = {Waive, Suspend, HaltUse, Recall, AppealAgainst, Appoint, Admit, ChangeOperator}
    assert {one.model_fields["kind"].default for one in here} | own == set(MOTIONS)
    i18n.use("es")
    try:
        assert all(kind_in_words(kind) != kind or kind == "bylaws" for kind in MOTIONS)
    finally:
        i18n.use("en")


def test_the_page_of_a_motion_says_it_in_words_and_folds_the_letters(portal: Portal) -> None:
    motion = Suspend(member=portal.members[3], until=shift(now(), 60 * 86_400))
    asked = propose(portal, "suspension", subject_of(motion), motion=motion.model_dump(mode="json"))
    page = portal.stranger().get(f"/proposals/{asked}")
    assert "may propose nothing and holds no office" in page.words
    folded = page.text[page.text.index("The motion, to the letter") :]
    assert f'"member": "{portal.members[3]}"' in folded
    assert "<details>" in page.text[: page.text.index("The motion, to the letter")][-60:]


def test_who_proposes_a_motion_signs_it_in_words(portal: Portal) -> None:
    from governance_hooks.tally import roll_root
    from portal.signing.drafting import draft, signing_path

    motion = Suspend(member=portal.members[3], until=shift(now(), 60 * 86_400))
    with portal.service.view.reading() as register:
        rules, roll = register.bylaws.rules("suspension"), register.roll("suspension")
        payload = {"kind": "suspension", "subject": subject_of(motion), "rules": rules.model_dump(), "roll": {"root": roll_root(roll), "members": len(roll)},
                   "closes": shift(now(), rules.minimum_period_s + 60), "uses": 1, "motion": motion.model_dump(mode="json"), "draft": None}  # fmt: skip
        made = draft(portal.service, register, "coop.proposal/v1", payload, portal.members[0])
    page = portal.founder(0).get(portal.service.settings.signing_origin + signing_path(made, portal.members[0]))
    assert f"Until {' '.join(i18n.when(motion.until).split())}" in page.words
    assert "may propose nothing and holds no office" in page.words

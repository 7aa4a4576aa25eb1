"""What a page says of a vote, a signature or a refusal is so at that moment, and is said to whom it is so for."""

from __future__ import annotations

import re
from dataclasses import replace

from governance_hooks.canonical import sha256
from governance_hooks.motions import AppealAgainst, Consult, Suspend, subject_of
from governance_hooks.state.proposals import Halt
from governance_hooks.state.releases import Mark
from governance_hooks.statement import now, shift
from portal.motion_words import motion_in_words
from portal.proposal_rows import appeal_of, by_end
from tests.portal.conftest import Portal
from tests.portal.people import Page
from tests.portal.test_voting import propose


def test_an_open_vote_says_how_many_voted_and_not_that_its_quorum_is_missed(portal: Portal) -> None:
    proposal = propose(portal)
    page = portal.founder(0).get(f"/proposals/{proposal}").words
    assert re.search(r"So far 0 of \d+ have voted\.", page)
    assert "quorum missed" not in page


def test_a_ranking_is_signed_in_its_order_under_its_own_numbers(portal: Portal) -> None:
    texts = ["Which first?", "Kiswahili", "Arabic", "Spanish"]
    for text in texts:
        portal.service.house.keep_text(text.encode())
    motion = Consult(question=sha256(texts[0].encode()), options=[sha256(one.encode()) for one in texts[1:]], method="ranked")
    proposal = propose(portal, "consultation", subject_of(motion), motion=motion.model_dump(mode="json"))
    page = portal.founder(1).post(f"/proposals/{proposal}/answer", **{"option-0": "2", "option-2": "1"}).words
    assert "Your order, the best first: 1. Spanish 2. Kiswahili" in page


def test_whoever_votes_on_what_is_not_on_the_server_is_warned(portal: Portal) -> None:
    assert "You cannot read here what this vote is about" in portal.founder(0).get(f"/proposals/{propose(portal)}").words


def test_a_receipt_speaks_to_its_author_as_you_and_to_nobody_else(portal: Portal) -> None:
    founder = portal.founder(0)
    receipt = founder.paste(founder.post(f"/proposals/{propose(portal)}/vote", choice="for"))
    assert "You vote FOR this." in receipt.words
    others = portal.stranger().get(receipt.path).words
    assert "You vote" not in others
    assert portal.members[0] in others
    assert "votes for: " in others


def test_what_stays_out_of_the_log_is_not_promised_to_be_in_it(portal: Portal) -> None:
    person = portal.stranger()
    person.sign_in("new@example.org")
    page = person.post("/join/prove", line=portal.keys[portal.members[0]].public.line)
    assert "This does not go into the log." in page.words
    assert "in the public log" not in page.words.partition("The very text that is signed")[2].partition("One member, one vote")[0]


def test_who_has_signed_nothing_yet_is_not_told_that_they_asked(portal: Portal) -> None:
    person = portal.stranger()
    person.sign_in("new@example.org")
    assert "not yet a member here" in person.get("/").words
    person.post("/join/passkey")
    assert "You asked to join" not in person.get("/").words


def test_a_statement_that_is_refused_is_still_on_its_form(portal: Portal) -> None:
    page = portal.stranger().post("/statements", statement='{"a":1}', signatures="no armor")
    assert page.status in (409, 422)
    assert 'id="problem"' in page.text
    assert "{&#34;a&#34;:1}" in page.text
    assert "no armor" in page.text


def test_a_request_out_of_bounds_is_told_what_it_gave_and_what_would_do(portal: Portal) -> None:
    page = portal.stranger().get("/log?before=0")
    assert page.status == 422
    assert "A part of this request is not as it should be." in page.words
    assert "before=0" in page.words
    assert "a number from 1 on" in page.words
    assert "greater than" not in page.words
    assert "un número" in portal.stranger().get("/log?before=0&lang=es").words


def test_the_vote_that_ends_first_stands_first(portal: Portal) -> None:
    proposal = propose(portal)
    with portal.service.view.reading() as register:
        early = register.proposals[proposal]
    late = replace(early, closes=shift(early.closes, 60))
    assert by_end([late, early]) == [early, late]


def menu(page: Page) -> list[str]:
    """Where the menu of a page leads."""
    return re.findall(r'href="([^"]*)"', re.findall(r"<nav.*?</nav>", page.text, re.S)[0])


EVERYBODY = ["/proposals", "/releases", "/datasets"]
MEMBERS = [*EVERYBODY, "/contribute", "/consent", "/mine", "/account"]


def test_the_menu_shows_what_is_open_to_who_asks(portal: Portal) -> None:
    assert menu(portal.stranger().get("/")) == [*EVERYBODY, "/signin"]
    asked = portal.stranger()
    asked.sign_in("asked@example.org")
    assert menu(asked.get("/")) == [*EVERYBODY, "/join", "/account"]
    asked.touch(asked.make_passkey(asked.post("/join/passkey")))
    assert menu(asked.get("/proposals")) == [*EVERYBODY, "/join", "/account"]
    assert menu(portal.founder(0).get("/")) == MEMBERS


def test_who_left_has_the_menu_of_who_may_join_and_is_told_so_on_pages_of_members(portal: Portal) -> None:
    person, member = portal.joined()
    assert menu(person.get("/contribute")) == MEMBERS
    person.sign(person.post("/mine/leave", sure=member))
    home = person.get("/")
    assert menu(home) == [*EVERYBODY, "/mine", "/join", "/account"]
    assert "<title>Where you stand" in home.text
    for path in ("/contribute", "/review", "/consent", "/keys", "/propose"):
        page = person.get(path)
        assert (page.status, "You have left the cooperative, and this page is for members." in page.words) == (409, True), path
        assert ("What you can do Join again" in page.words, 'class="button" href="/join"' in page.text) == (True, True), path
    assert "Put something to the vote" not in person.get("/proposals").words
    assert "Your message" not in person.get(f"/proposals/{propose(portal)}").words


def test_who_is_suspended_is_told_and_offered_what_they_may_do(portal: Portal) -> None:
    person, member = portal.joined()
    proposal = propose(portal)
    with portal.service.view.reading() as register:
        register.members[member].suspended_until, register.members[member].suspended_by = shift(now(), 86_400), proposal
    home = person.get("/")
    assert menu(home) == MEMBERS
    assert "You are suspended: for now you propose nothing" in home.words
    assert f'href="/proposals/{proposal}"' in home.text
    assert person.get("/contribute").status == 200
    assert "/review" not in person.get("/contribute").text
    assert "Put something to the vote" not in person.get("/proposals").words
    assert "A suspended member cannot speak here." in person.get(f"/proposals/{proposal}").words
    assert "this member is suspended" in person.get("/review").words.lower()  # addressed directly


def test_an_appeal_has_one_title_and_one_sentence_for_what_it_ends(portal: Portal) -> None:
    halt, withdrawn, superseded = (f"sha256:{letter * 64}" for letter in "abc")
    run = propose(portal)
    motion = Suspend(member=portal.members[3], until=shift(now(), 60 * 86_400))
    suspension = propose(portal, "suspension", subject_of(motion), motion=motion.model_dump(mode="json"))
    with portal.service.view.reading() as register:
        register.halts[halt] = Halt(halt, run, now(), motion.until, by_members=False)
        for identifier, status in ((withdrawn, "withdrawn"), (superseded, "superseded")):
            register.marks[identifier] = Mark(identifier, sha256(status.encode()), status, None, "safety", now(), None, by_members=False)  # type: ignore[arg-type]
        told = {one: appeal_of(portal.service, one) for one in (halt, withdrawn, superseded, suspension, run)}
    for one, title, line in (
        (halt, "End the halt of ", "A halt ends"),
        (withdrawn, "End the withdrawal of ", "is no longer withdrawn"),
        (superseded, "is superseded", "is no longer superseded"),
        (suspension, f"End the suspension of {portal.members[3]}", "ends at once"),
        (run, "End this: ", "What was decided or stated under"),
    ):
        assert title in told[one].title
        assert line in told[one].lines[0]
        assert motion_in_words(portal.service, portal.service.view.register, AppealAgainst(against=one)) == list(told[one].lines)

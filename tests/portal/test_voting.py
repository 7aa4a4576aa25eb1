"""Voting on pages: what is shown is what is signed, one touch casts, and the log is what counts."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance_hooks.bylaws import Rules
from governance_hooks.canonical import digest, dumps, sha256
from governance_hooks.cooperative import Cooperative
from governance_hooks.motions import AmendBylaws, Consult, subject_of
from governance_hooks.plan import EvaluationPolicy, read_plan
from governance_hooks.sshsig import NAMESPACE, PrivateKey
from governance_hooks.statement import Statement, body, entry, now, shift, sign
from governance_hooks.tally import roll_root
from portal.bylaws_words import changes_in_words
from portal.diffs import line_changes, readable, word_changes
from portal.plan_words import plan_in_words
from portal.signing.words import words_of
from tests.clock import standing
from tests.portal.conftest import Portal
from tests.portal.effort import Effort, counted
from tests.portal.people import Person
from tests.village import RULES, Approved, Village


def propose(portal: Portal, kind: str = "run", subject: str | None = None, **changes: object) -> str:
    """Open a proposal with a founder's key, as `coop propose` does."""
    with standing(), portal.service.view.reading() as register:  # however long it takes, it is open as long as the bylaws want
        rules, roll = register.bylaws.rules(kind), register.roll(kind)  # type: ignore[arg-type]
        payload = {
            "kind": kind,
            "subject": subject or digest("something"),
            "rules": rules.model_dump(),
            "roll": {"root": roll_root(roll), "members": len(roll)},
            "closes": shift(now(), rules.minimum_period_s + 5),
            "uses": 1,
            "motion": None,
            "draft": None,
        } | changes
        return say(portal, "coop.proposal/v1", payload, portal.members[0], portal.keys[portal.members[0]]).id


def say(portal: Portal, kind: str, payload: object, author: str, *keys: PrivateKey) -> Statement:
    made = body(kind, payload, coop=portal.service.view.pin, author=author)  # type: ignore[arg-type]
    return portal.service.writer.append(entry(made, [sign(made, key) for key in keys]))


def test_a_member_with_a_passkey_votes_with_one_touch(portal: Portal) -> None:
    person, member = portal.joined()
    proposal = propose(portal)
    assert "Vote: Training run" in person.get("/").words
    page = person.post(f"/proposals/{proposal}/vote", choice="against", reason="Too soon for me.")
    assert "You vote AGAINST this." in page.words
    assert f'"author":"{member}"' in page.shown.decode()
    receipt = person.touch(page)
    assert receipt.path.startswith("/receipts/sha256:")
    assert "In the log, for good" in receipt.words
    with portal.service.view.reading() as register:
        vote = register.proposals[proposal].votes[member]
        assert vote.choice == "against"
        assert portal.service.view.tally(register.proposals[proposal]) == register.proposals[proposal].count()
    shown = person.get(f"/proposals/{proposal}")
    assert "You voted: against" in shown.words
    assert shown.words.count("Too soon for me.") == 2  # mine, and in the roll call
    assert "Vote:" not in person.get("/").words


def test_each_open_vote_stands_once_on_the_first_page_where_it_helps_most(portal: Portal) -> None:
    person, _ = portal.joined()
    first, second = propose(portal), propose(portal, subject=digest("another"))

    def seen(who: Person) -> tuple[int, int, str]:
        page = who.get("/")
        return (*(len(page.links(f"/proposals/{one}")) for one in (first, second)), page.words)  # type: ignore[return-value]

    assert seen(person)[:2] == (1, 1)
    words = seen(person)[2]
    assert words.count("Read and vote") == 2
    assert "pen votes" not in words  # both stand above, and there is no other
    assert "None at the moment" not in words
    person.touch(person.post(f"/proposals/{first}/vote", choice="for"))
    assert seen(person)[:2] == (1, 1)
    above, _, below = seen(person)[2].partition("Other open votes")
    assert (above.count("Read and vote"), below.count("You have voted.")) == (1, 1)
    person.touch(person.post(f"/proposals/{second}/vote", choice="for"))
    assert seen(person)[:2] == (1, 1)
    assert seen(person)[2].partition(" Open votes")[2].count("You have voted.") == 2
    for other in (portal.stranger(), portal.founder(1)):
        assert seen(other)[:2] == (1, 1)
    late, _ = portal.joined("late@example.org")  # on no roll: nothing needs them
    assert seen(late)[:2] == (1, 1)
    assert "Other open votes" not in seen(late)[2]


@pytest.mark.openssh
def test_ssh_keygen_accepts_the_passkeys_ballot_from_its_receipt(portal: Portal, tmp_path: Path) -> None:
    person, member = portal.joined()
    receipt = person.touch(person.post(f"/proposals/{propose(portal)}/vote", choice="for"))
    for name in ("statement.json", "statement.json.sig", "allowed_signers"):
        (tmp_path / name).write_bytes(portal.stranger().client.get(f"{receipt.url}/{name}").content)
    command = ["ssh-keygen", "-Y", "verify", "-f", "allowed_signers", "-I", member, "-n", NAMESPACE, "-s", "statement.json.sig"]
    ballot = (tmp_path / "statement.json").read_bytes()
    assert subprocess.run(command, cwd=tmp_path, input=ballot, capture_output=True, check=False).returncode == 0
    assert subprocess.run(command, cwd=tmp_path, input=ballot.replace(b'"for"', b'"against"'), capture_output=True, check=False).returncode != 0


def test_a_member_changes_their_mind_and_the_last_ballot_counts(portal: Portal) -> None:
    founder, proposal = portal.founder(2), propose(portal)
    founder.paste(founder.post(f"/proposals/{proposal}/vote", choice="for"))
    page = founder.post(f"/proposals/{proposal}/vote", choice="abstain")
    assert "takes the place of your earlier ballot" in page.words
    founder.paste(page)
    with portal.service.view.reading() as register:
        tally = portal.service.view.tally(register.proposals[proposal])
    assert (tally.votes_for, tally.votes_against, tally.votes_abstain) == (0, 0, 1)


def test_a_reason_can_be_erased_and_the_ballot_stays(portal: Portal) -> None:
    founder, proposal = portal.founder(2), propose(portal)
    founder.paste(founder.post(f"/proposals/{proposal}/vote", choice="for", reason="private words"))
    assert "private words" in founder.get(f"/proposals/{proposal}").words
    founder.post(f"/proposals/{proposal}/reason/erase")
    assert "private words" not in founder.get(f"/proposals/{proposal}").words
    with portal.service.view.reading() as register:
        assert register.proposals[proposal].votes[portal.members[2]].reason is not None


def test_who_joined_later_is_not_on_the_roll_and_is_told_so(portal: Portal) -> None:
    proposal = propose(portal)
    person, _ = portal.joined()
    assert "You cannot vote here" in person.get(f"/proposals/{proposal}").words
    refused = person.post(f"/proposals/{proposal}/vote", choice="for")
    assert refused.status == 409
    assert "may not vote on this" in refused.words


@pytest.mark.parametrize("method", ["approval", "ranked"])
def test_a_consultation_is_answered_by_options(portal: Portal, method: str) -> None:
    question, options = "Which <language> first?", ["Kiswahili", "العربية", "Español"]
    for text in (question, *options):
        portal.service.house.keep_text(text.encode())
    motion = Consult(question=sha256(question.encode()), options=[sha256(one.encode()) for one in options], method=method)  # type: ignore[arg-type]
    proposal = propose(portal, "consultation", subject_of(motion), motion=motion.model_dump(mode="json"))
    founder = portal.founder(1)
    assert "Which <language> first?" in founder.get(f"/proposals/{proposal}").words
    fields = {"option-0": "1", "option-2": "1"} if method == "approval" else {"option-0": "2", "option-2": "1"}
    page = founder.post(f"/proposals/{proposal}/answer", **fields)
    assert "Kiswahili" in page.words
    founder.paste(page)
    with portal.service.view.reading() as register:
        assert register.proposals[proposal].votes[portal.members[1]].options == ((0, 2) if method == "approval" else (2, 0))
    if method == "ranked":
        assert "same rank" in founder.post(f"/proposals/{proposal}/answer", **{"option-0": "1", "option-1": "1"}).words


def test_objections_are_signed_in_the_challenge_window(make_portal: object) -> None:
    rules = Rules(quorum_percent=0, minimum_for=1, minimum_period_s=0, challenge_s=3600, objections=2)
    portal: Portal = make_portal(  # type: ignore[operator]
        kinds={"run": rules.model_dump(), "release": RULES.model_dump()},
    )
    with standing() as wait:
        proposal = propose(portal, closes=shift(now(), 2))
        founder = portal.founder(2)
        founder.paste(founder.post(f"/proposals/{proposal}/vote", choice="for"))
        wait(3)
        with portal.service.view.reading() as register:
            kind, payload = portal.service.house.close_payload(register.proposals[proposal])
        say(portal, kind, payload, "operator", portal.operator)
        page = founder.get(f"/proposals/{proposal}")
        assert "0 of the 2 objections" in page.words
        founder.paste(founder.post(f"/proposals/{proposal}/objection", reason="I see it now."))
        with portal.service.view.reading() as register:
            assert portal.members[2] in register.proposals[proposal].objections


def test_a_member_asks_everybody_and_proposes_a_plan_of_the_folder(portal: Portal, tmp_path: Path) -> None:
    founder = portal.founder(1)
    assert "no plan that waits" in founder.get("/propose").words
    assert founder.post("/propose/question", question="Which first?", options="one", method="ranked").status == 422
    page = founder.post("/propose/question", question="Which first?", options="Kiswahili\r\nالعربية\r\n", method="ranked")
    assert "5 members may vote" in page.words
    founder.paste(page)
    with portal.service.view.reading() as register:
        (proposal,) = register.proposals
    shown = founder.get(f"/proposals/{proposal}").words
    assert "Which first?" in shown
    assert "العربية" in shown
    assert founder.post("/propose/file", subject=digest("no file")).status == 409


@pytest.fixture
def planned(portal: Portal) -> str:
    """A plan in the folder, made as an engineer would; its digest."""
    with Cooperative.open(portal.root) as coop:
        approved = Approved(Village(portal.root, coop, portal.keys, portal.operator))
        plan = approved.make_plan(name="second-run")
    data = dumps(plan.model_dump())
    (portal.root / "plans").mkdir(exist_ok=True)
    (portal.root / "plans" / "second-run.json").write_bytes(data)
    return sha256(data)


def test_a_plan_is_explained_and_drawn_and_what_blocks_it_is_told(portal: Portal, planned: str) -> None:
    founder = portal.founder(1)
    assert "second-run" in founder.get("/propose").words
    receipt = founder.paste(founder.post("/propose/file", subject=planned))
    proposal = receipt.path.removeprefix("/receipts/")
    assert "no plan that waits" in founder.get("/propose").words
    page = founder.get(f"/proposals/{proposal}")
    assert "It is trained on 6 texts of members. 3 more are kept aside to test it." in page.words
    assert "Where few people gave the answers that are kept aside, the test will look surer than it is." in page.words  # it is silent, as plans of before are
    new = read_plan((portal.root / "plans" / "second-run.json").read_bytes()).model_copy(update={"evaluation": EvaluationPolicy(interval="t")})
    assert "A language counts as tested only if at least 5 people gave the answers that are kept aside for it." in plan_in_words(new)
    assert "It may start 2 times, on 2 devices at most, for 30 minutes each time." in page.words
    assert "device minutes one start on one device 30 all starts on all devices, at most 120" in page.words
    assert "<svg" in page.text
    why = founder.get(f"/proposals/{proposal}/why")
    assert "checks do not pass" in why.words or "check does not pass" in why.words
    assert portal.stranger().get(f"/proposals/{proposal}/why").path == "/signin"


def test_a_vote_that_allows_other_starts_than_its_plan_says_both(portal: Portal, planned: str) -> None:
    differs = "This run cannot start, even if members approve it: it would start 2 times by its plan, and"
    for uses, said, minutes in ((1, "It may start 1 time, on 2 devices", 60), (2, "It may start 2 times, on 2 devices", 120), (3, "It may start 3 times", 180)):
        page = portal.stranger().get(f"/proposals/{propose(portal, subject=planned, uses=uses)}").words
        assert said in page
        assert (differs in page) == (uses != 2)
        assert f"all starts on all devices, at most {minutes}" in page
        with portal.service.view.reading() as register:
            payload = portal.service.house.proposal_payload("run", planned, uses=uses, motion=None)
            asked = {"type": "coop.proposal/v1", "author": portal.members[0], "payload": payload}
            signed = " ".join(words_of(portal.service, register, asked).lines)
        assert said in signed
        assert (differs in signed) == (uses != 2)


def test_what_changed_from_draft_to_draft_is_shown(portal: Portal) -> None:
    texts = ["Budget: 120 hours.\nLanguages: Swahili.\n", "Budget: 90 hours.\nLanguages: Swahili.\n<b>Open</b>.\n"]
    previous: str | None = None
    for text in texts:
        payload = {"kind": "run", "subject": portal.service.house.keep_text(text.encode()), "previous": previous}
        previous = say(portal, "coop.draft/v1", payload, portal.members[0], portal.keys[portal.members[0]]).id
    proposal = propose(portal, subject=sha256(texts[1].encode()), draft=previous)
    page = portal.stranger().get(f"/proposals/{proposal}/changes")
    assert re.search(r"<del[^>]*>Budget: 120 hours.</del>", page.text)
    assert re.search(r"<ins[^>]*>&lt;b&gt;Open&lt;/b&gt;.</ins>", page.text)


@pytest.mark.parametrize(
    "make", [lambda i: str(i), lambda i: "ab"[i % 2], lambda i: str(i * 7 % 110), lambda i: "x" * 3000], ids=["distinct", "two", "many", "long"]
)
def test_no_pair_of_texts_keeps_the_server_busy(make: Callable[[int], str]) -> None:
    old, new = [make(i) for i in range(20_000)], [make(i * 3 + 1) for i in range(20_000)]
    with counted(Effort(most=5_000_000)):  # lines of Python, of which a machine does millions a second
        for size in (150, 199, 400, 800, 20_000):
            pieces, _ = line_changes(readable("\n".join(old[:size])), readable("\n".join(new[:size])))
            assert len(pieces) <= 400
            word_changes(" ".join(old[:size]), " ".join(new[:size]))


def test_words_are_told_apart_where_no_space_does_it() -> None:
    def changed(old: str, new: str) -> list[tuple[str, str]]:
        return [(piece.kind, piece.text) for piece in word_changes(old, new)]

    assert changed("我们今天去学校", "我们明天去学校") == [("same", "我们"), ("removed", "今"), ("added", "明"), ("same", "天去学校")]
    assert changed("น้ำดื่ม", "น้ำใส") == [("same", "น้ำ"), ("removed", "ดื่ม"), ("added", "ใส")]  # a mark stays on its letter
    long = " ".join(map(str, range(5000)))
    assert changed(f"{long} old end", f"{long} new end") == [("same", f"{long} "), ("removed", "old"), ("added", "new"), ("same", " end")]


@given(st.text("ab 我น้\u0e48", max_size=12), st.text("ab 我น้\u0e48", max_size=12))
def test_a_comparison_holds_both_texts_to_the_letter(old: str, new: str) -> None:
    pieces = word_changes(old, new)
    assert "".join(piece.text for piece in pieces if piece.kind != "added") == old
    assert "".join(piece.text for piece in pieces if piece.kind != "removed") == new


def test_new_bylaws_are_told_in_plain_words(portal: Portal) -> None:
    with portal.service.view.reading() as register:
        old = register.bylaws
    rules = old.rules("run").model_copy(update={"quorum_percent": 70})
    new = old.model_copy(update={"version": 2, "registrars_required": 3, "halt_max_s": 3 * 86_400, "kinds": old.kinds | {"run": rules}, "jurisdiction": "KE"})
    motion = AmendBylaws(bylaws=new)
    proposal = propose(portal, "bylaws", subject_of(motion), motion=motion.model_dump(mode="json"))
    page = portal.stranger().get(f"/proposals/{proposal}")
    assert "Registrars who must agree to a new member: 2 → 3" in page.words
    assert "Longest halt by the oversight body: 1 week → 3 days" in page.words
    assert "Training run, no longer: At least 50% of those who may vote have to vote." in page.words
    assert "Training run, from now on: At least 70% of those who may vote have to vote." in page.words
    assert "Country whose law applies: \u2068–\u2069 → \u2068Kenya\u2069" in page.words
    assert page.words.count(" → ") == 3
    assert changes_in_words(old, old) == []

"""Members' own words: signed, in the log by digest, shown word for word, and blocked when anything about them is not as signed."""

from __future__ import annotations

import json
import secrets
from typing import Any

import pytest

from governance_hooks.canonical import dumps, sha256
from governance_hooks.errors import BadInput, CoopError
from model_card.card import make_card
from model_card.lint import require_release_card
from model_card.records import CardRecords
from model_card.renderers import render_all
from model_card.statements import statement_path
from model_card.votes import votes_of
from tests.model_card.conftest import RUN, Finished

TEXT = "Writing letters, with a person reading them first."


def payload(**changes: Any) -> dict[str, Any]:
    return {"run": RUN, "field": "intended_use", "language": "eng", "text": sha256(TEXT.encode()), "absent": None, "translates": None} | changes


def say(done: Finished, member: int = 0, *cosigners: int, **changes: Any) -> str:
    village = done.village
    author = village.members[member]
    return village.say("coop.card-statement/v1", payload(**changes), author, *[village.keys[village.members[one]] for one in (member, *cosigners)]).id


def file_of(identifier: str, text: str | None = TEXT, **more: Any) -> dict[str, bytes]:
    body = {"statement": identifier, "approved": None} | ({} if text is None else {"text": text}) | more
    return {statement_path(identifier): dumps(body)}


def records_with(done: Finished, files: dict[str, bytes]) -> CardRecords:
    run, build = done.run_dir, done.build_dir
    held = {"plan.json": run / "plan.json", "run.json": run / "run.json", "eval/report.json": run / "eval/report.json"}
    held |= {f"data/{name}": build / name for name in ("manifest.json", "ledger.jsonl")}
    everything = {path: file.read_bytes() for path, file in held.items()} | files
    votes = votes_of(done.village.coop.register, run=RUN, consents=done.consents, files=everything)
    return CardRecords.of("village-lm", done.coop, everything, votes)


def test_a_members_words_stand_on_the_card_with_who_signed_them(finished: Finished) -> None:
    identifier = say(finished, 0, 1)
    records = records_with(finished, file_of(identifier))
    card = make_card(records)
    (shown,) = card["statements"]["intended_use"]["value"]
    assert (shown["text"], shown["author"], shown["reviewers"], shown["approved"]) == (TEXT, finished.members[0], 1, None)
    assert card["statements"]["intended_use"]["source"] == "proof.jsonl.gz:votes#/statements"
    assert TEXT in render_all(card, records)["README.md"].decode()


def test_a_later_log_gives_the_same_card(finished: Finished) -> None:
    files = file_of(say(finished))
    before = dumps(make_card(records_with(finished, files)))
    say(finished, text=sha256(b"I see it otherwise now."))
    say(finished, text=None)
    finished.village.consent(finished.members[2])
    assert dumps(make_card(records_with(finished, files))) == before


@pytest.mark.parametrize(
    ("why", "break_it"),
    [
        ("is not the text its author signed", lambda identifier: file_of(identifier, "Anything at all.")),
        ("knows no such statement", lambda identifier: file_of(sha256(b"nobody's"))),
        ("holds another statement", lambda identifier: {statement_path(sha256(b"x")): next(iter(file_of(identifier).values()))}),
        ("no file of a statement", lambda identifier: {"statements/readme.txt": b"{}"}),
        ("unknown field", lambda identifier: file_of(identifier, author="somebody else")),
        ("did not choose this text", lambda identifier: file_of(identifier) and file_of(identifier, approved=sha256(b"a vote"))),
        ("not the text", lambda identifier: file_of(identifier, salt="0" * 32)),
        ("canonical", lambda identifier: {statement_path(identifier): json.dumps({"statement": identifier, "approved": None, "text": TEXT}).encode()}),
        ("at most", lambda identifier: file_of(identifier, "x" * 20_001)),
    ],
)
def test_a_file_that_is_not_as_signed_makes_no_card(finished: Finished, why: str, break_it: Any) -> None:
    with pytest.raises(BadInput, match=why):
        records_with(finished, break_it(say(finished)))


def test_a_statement_about_another_run_makes_no_card(finished: Finished) -> None:
    village = finished.village
    proposal = village.approve("run", sha256(b"another plan"))
    village.say("coop.run-start/v1", {"run": "run-2", "plan": sha256(b"another plan"), "proposal": proposal, "start": 1}, "operator")
    identifier = say(finished, run="run-2")
    with pytest.raises(BadInput, match="no such statement about this run"):
        records_with(finished, file_of(identifier))


def test_files_that_the_log_was_not_asked_about_are_not_shown(finished: Finished) -> None:
    records = records_with(finished, {})
    forged = CardRecords.of("village-lm", finished.coop, dict(records.files) | file_of(sha256(b"nobody's")), records.votes)
    assert "value" not in make_card(forged)["statements"]["intended_use"]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"field": "opinion"}, "payload"),
        ({"text": "in words"}, "payload"),
        ({"language": "english"}, "payload"),
        ({"absent": "declined"}, "not both"),
        ({"field": "summary"}, "translation"),
        ({"field": "summary", "language": "eng", "translates": sha256(b"e")}, "translation"),
        ({"translates": sha256(b"e")}, "summary"),
        ({"field": "dissent", "text": None, "absent": "declined"}, "nobody owes"),
        ({"run": "run-9"}, "no such run"),
        ({"field": "dissent"}, "not the reason the author gave"),
    ],
    ids=str,
)
def test_the_log_refuses_what_is_no_statement_of_a_member(finished: Finished, changes: dict[str, Any], why: str) -> None:
    with pytest.raises(CoopError, match=why):
        say(finished, **changes)


def test_nobody_speaks_for_another(finished: Finished) -> None:
    village = finished.village
    village.refuses("not signed by its author", "coop.card-statement/v1", payload(), village.members[0], village.keys[village.members[1]])
    village.refuses("no member's in force", "coop.card-statement/v1", payload(), village.members[0], village.keys[village.members[0]], village.operator)
    village.refuses("not a member", "coop.card-statement/v1", payload(), "m-00000000000000ff", village.keys[village.members[0]])


def test_a_dissent_is_published_by_its_author_word_for_word(finished: Finished) -> None:
    """The reason on the ballot is salted; publishing names the same digest, and the salt comes with the text."""
    village = finished.village
    reason = {"salt": secrets.token_hex(16), "text": "I would rather wait <b>a month</b>."}
    digest, plan = sha256(dumps(reason)), sha256(b"plan two")
    proposal = village.propose("run", plan).id
    for member in village.members[:5]:
        village.ballot(member, proposal)
    village.say("coop.ballot/v1", {"proposal": proposal, "choice": "against", "sequence": 1, "reason": digest}, village.members[5])
    village.close(proposal)
    village.say("coop.run-start/v1", {"run": "run-2", "plan": plan, "proposal": proposal, "start": 1}, "operator")
    with pytest.raises(CoopError, match="not the reason"):
        say(finished, 0, run="run-2", field="dissent", text=digest)
    identifier = say(finished, 5, run="run-2", field="dissent", text=digest)
    files = {statement_path(identifier): dumps({"statement": identifier, "approved": None} | reason)}
    votes = votes_of(village.coop.register, run="run-2", consents=[], files=files)
    assert votes["run"]["dissent"] == [votes["statements"][identifier]["text"]] == [digest]
    with pytest.raises(BadInput, match="not the text its author signed"):
        votes_of(
            village.coop.register,
            run="run-2",
            consents=[],
            files={statement_path(identifier): dumps({"statement": identifier, "approved": None} | reason | {"text": "I agree."})},
        )


def test_unpublished_dissent_says_whose_it_is_to_publish(finished: Finished) -> None:
    records = records_with(finished, {})
    votes = {**records.votes, "run": {**records.votes["run"], "dissent": [sha256(b"why")]}}
    card = make_card(CardRecords.of("village-lm", finished.coop, records.files, votes))
    assert card["dissent"]["published"]["by"].startswith("each of them")
    assert card["dissent"]["reasons"]["value"] == [sha256(b"why")]


def test_a_release_card_leaves_nothing_open_that_only_people_can_say(finished: Finished) -> None:
    fields = ("intended_use", "out_of_scope_use", "limits", "bias_and_risks", "contact")
    files: dict[str, bytes] = {}
    for place, field in enumerate(fields):
        with pytest.raises(BadInput, match="leaves open") as refused:
            require_release_card(make_card(records_with(finished, files)))
        assert refused.value.value == list(fields[place:])
        if place % 2:
            files |= file_of(say(finished, field=field))
        else:
            files |= file_of(say(finished, field=field, text=None, absent="not-discussed"), None)
    card = make_card(records_with(finished, files))
    require_release_card(card)
    assert card["statements"]["intended_use"]["not_collected"] == "members say: not discussed yet"
    assert "signed" in card["statements"]["intended_use"]


def test_taken_back_is_not_shown(finished: Finished) -> None:
    identifier = say(finished, text=None)
    with pytest.raises(BadInput, match="took this back"):
        records_with(finished, file_of(identifier, None))


def test_a_consultation_is_what_says_that_members_chose_a_text(finished: Finished) -> None:
    village = finished.village
    from governance_hooks.motions import Consult, subject_of

    texts = [TEXT, "Another one."]
    motion = Consult(question=sha256(b"which?"), options=[sha256(text.encode()) for text in texts], method="approval")
    opened = village.propose("consultation", subject_of(motion), motion=motion.model_dump(mode="json")).id
    for member in village.members:
        village.say("coop.preference/v1", {"proposal": opened, "options": [0], "sequence": 1, "reason": None}, member)
    identifier = say(finished)
    with pytest.raises(BadInput, match="did not choose"):  # it is not closed yet
        records_with(finished, {statement_path(identifier): dumps({"statement": identifier, "approved": opened, "text": TEXT})})
    village.stamp(village.coop.register.bylaws.rules("consultation").minimum_period_s + 1)
    village.say("coop.consultation-close/v1", {"proposal": opened, "cast": 6, "quorate": True, "winners": [0]}, "operator")
    card = make_card(records_with(finished, {statement_path(identifier): dumps({"statement": identifier, "approved": opened, "text": TEXT})}))
    assert card["statements"]["intended_use"]["value"][0]["approved"] == opened
    other = say(finished, 1, text=sha256(texts[1].encode()))
    with pytest.raises(BadInput, match="did not choose"):
        records_with(finished, {statement_path(other): dumps({"statement": other, "approved": opened, "text": texts[1]})})


def test_statements_everybody_agrees_with_choose_no_text(finished: Finished) -> None:
    from governance_hooks.motions import Consult, subject_of

    village = finished.village
    texts = [TEXT, "Another one."]
    motion = Consult(question=sha256(b"which?"), options=[sha256(text.encode()) for text in texts], method="opinions")
    opened = village.propose("consultation", subject_of(motion), motion=motion.model_dump(mode="json")).id
    for member in village.members:
        village.say("coop.opinions/v1", {"proposal": opened, "answers": ["agree", "disagree"], "sequence": 1, "reason": None}, member)
    identifier = say(finished)
    village.stamp(village.coop.register.bylaws.rules("consultation").minimum_period_s + 1)
    counted = [{"agree": 6, "disagree": 0, "passed": 0}, {"agree": 0, "disagree": 6, "passed": 0}]
    village.say("coop.consultation-close/v1", {"proposal": opened, "cast": 6, "quorate": True, "winners": [], "opinions": counted}, "operator")
    with pytest.raises(BadInput, match="did not choose"):
        records_with(finished, {statement_path(identifier): dumps({"statement": identifier, "approved": opened, "text": TEXT})})

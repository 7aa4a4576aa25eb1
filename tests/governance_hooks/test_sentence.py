"""A sentence is the English string it reads as, to everything, and still knows its template and values."""

from __future__ import annotations

import copy
import json
import pickle

import pytest

from governance_hooks.canonical import dumps
from governance_hooks.errors import Refused
from governance_hooks.report import Checklist, StepFailed
from governance_hooks.sentence import Sentence, either, percent


def test_it_is_the_string_it_reads_as() -> None:
    said = Sentence("{count} of {roll} voted, {share} needed", count=2, roll=5, share=percent(50))
    assert said == "2 of 5 voted, 50% needed"
    assert {said: 1}["2 of 5 voted, 50% needed"] == 1
    assert dumps({"a": said}) == dumps({"a": str(said)}) == b'{"a":"2 of 5 voted, 50% needed"}'
    assert json.dumps(said) == '"2 of 5 voted, 50% needed"'
    assert str(Refused(said, value=3, allowed=Sentence("until {when}", when="x"), next="coop tally")) == (
        "2 of 5 voted, 50% needed\n  got:     3\n  allowed: until x\n  next:    coop tally"
    )


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_copy_knows_what_the_sentence_knows(copied: object) -> None:
    said = Sentence("{count} member said {what}", "{count} members said {what}", count=1, what="{braces}")
    made = copied(said)  # type: ignore[operator]
    assert (type(made), made, made.template, made.many, made.values) == (Sentence, "1 member said {braces}", said.template, said.many, said.values)


def test_values_are_not_read_as_templates_and_a_template_without_values_stands_as_it_is() -> None:
    assert Sentence("{what}", what="{0.__class__}") == "{0.__class__}"
    assert Sentence("{not a name}") == "{not a name}"
    inner = Sentence("x {y}", y=1)
    assert Sentence(inner) is inner


def test_a_count_decides_the_form_and_one_template_serves_for_both() -> None:
    forms = [Sentence("one run", "{count} runs", count=number) for number in (0, 1, 2)]
    assert forms == ["0 runs", "one run", "2 runs"]
    assert Sentence("{count} starts", count=1).many == "{count} starts"
    assert Sentence("no number").many is None


def test_a_list_is_a_sentence_of_its_parts() -> None:
    assert either(["a"], "or") == "a"
    assert either(["a", "b"], "or") == "a or b"
    listed = either(["a", Sentence("b"), "c"], "and")
    assert listed == "a, b and c"
    assert isinstance(listed, Sentence)
    assert listed.template == "{before} and {last}"


def test_a_line_of_a_list_is_indented_for_a_terminal_only() -> None:
    line = Sentence("{count} rows", count=3).indented(2)
    assert (line, line.template, line.values) == ("  3 rows", "{count} rows", {"count": 3})


def test_a_report_keeps_sentences_and_wraps_what_is_none() -> None:
    checklist = Checklist("test")

    def fails() -> str:
        raise StepFailed(Sentence("run {run} is over", run="r"), todo="coop plan")

    def refuses() -> str:
        raise Refused("this vote is closed", value="x")

    checklist.run(Sentence("first"), fails)
    checklist.run(Sentence("second"), refuses)
    first, second = checklist.report().steps
    assert isinstance(first.why, Sentence)
    assert isinstance(second.why, Sentence)
    assert (first.why, second.why) == ("run r is over", "this vote is closed (got 'x')")
    assert second.why.values["what"].template == "this vote is closed"

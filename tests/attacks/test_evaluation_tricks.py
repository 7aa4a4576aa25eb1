"""Held-out records that are left out because the weights do badly on them."""

from pathlib import Path
from typing import Any

import pytest

from governance_hooks.errors import BadInput
from governance_hooks.ledger import LedgerRow
from governance_hooks.plan import EvaluationPolicy
from governance_hooks.verdict import judge
from tests.attacks.forge import only_broken
from tests.attacks.story import Story, results_of


class Picked(Story):
    """Twenty of thirty held-out records get much worse, and are skipped."""

    reason = "because"
    kept = 10

    def measure(self, rows: list[LedgerRow]) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
        honest = results_of(rows, gain=0.0)
        for number, result in enumerate(honest):
            result["tuned"] = round(result["base"] + (-1.0 if number % (len(honest) // self.kept) == 0 else 20.0), 6)
        assert judge(honest, EvaluationPolicy(resamples=200))["passed"] is False
        good = [result for result in honest if result["tuned"] < result["base"]]
        bad = [{"item": result["item"], "reason": self.reason} for result in honest if result["tuned"] > result["base"]]
        return good, bad


class PickedAsTooLong(Picked):
    reason = "too_long"


CASES = [
    (Picked, "a held-out row was skipped for a reason that does not count"),
    (PickedAsTooLong, "too many held-out rows were skipped"),
]


@pytest.mark.parametrize(("story", "words"), CASES)
def test_a_run_whose_bad_answers_were_skipped_is_not_assembled(tmp_path: Path, story: type[Story], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        story(tmp_path).play()


@pytest.mark.parametrize(("story", "words"), CASES)
def test_a_run_whose_bad_answers_were_skipped_does_not_verify(tmp_path: Path, story: type[Story], words: str) -> None:
    told = story(tmp_path)
    told.tampered_tools = True
    only_broken(told.play(), "evaluation under the voted policy", words)


def test_bad_answers_left_out_without_a_word_do_not_verify(tmp_path: Path) -> None:
    class Silent(Picked):
        def measure(self, rows: list[LedgerRow]) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
            return super().measure(rows)[0], []

    told = Silent(tmp_path)
    told.tampered_tools = True
    only_broken(told.play(), "evaluation under the voted policy", "the results do not cover exactly the held-out rows of the ledger")


def test_a_few_records_that_are_too_long_may_be_skipped_and_are_named(tmp_path: Path) -> None:
    class Honest(Story):
        def measure(self, rows: list[LedgerRow]) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
            results = results_of(rows)
            return results[3:], [{"item": result["item"], "reason": "too_long"} for result in results[:3]]

    report = Honest(tmp_path).play()
    assert report.passed, report.text()
    assert "3 skipped as too long" in report.text()

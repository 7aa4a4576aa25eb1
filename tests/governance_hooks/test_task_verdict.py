from __future__ import annotations

import random
from typing import Any

import pytest
from pydantic import ValidationError

from governance_hooks.canonical import dumps, sha256
from governance_hooks.errors import BadInput
from governance_hooks.plan import EvaluationPolicy
from governance_hooks.task_items import chosen, ids_digest, read_items, read_previous, write_items
from governance_hooks.task_verdict import judge_evaluation, judge_tasks
from governance_hooks.tasks import METRICS, LanguageRules, Task

Rows = list[dict[str, Any]]
LANGUAGES = ["est", "ita"]


def rows_of(base: float, tuned: float, *, languages: list[str] = LANGUAGES, n: int = 120, cluster: int = 1, seed: int = 1) -> Rows:
    """Return items that are right as often as given, paired at random."""
    draw = random.Random(seed)
    return [
        {
            "item": f"q-{language}-{i:04}", "language": language, "cluster": f"q-{i // cluster:04}", "base": int(draw.random() < base), "tuned": int(draw.random() < tuned),
            "overlap": 0, "longest": 0,
        }
        for language in languages
        for i in range(n)
    ]  # fmt: skip


def task_of(rows: Rows, **changes: Any) -> Task:
    kind = changes.get("kind", "multiple_choice")
    languages = sorted({row["language"] for row in rows})
    data = {
        "name": "questions.jsonl",
        "size": 10,
        "sha256": sha256(b"questions"),
        "items": {language: sum(row["language"] == language for row in rows) for language in languages},
        "ids": ids_digest((row["item"], row["language"], row["cluster"]) for row in rows),
    }
    more = {} if kind == "multiple_choice" else {"new_tokens": 32}
    return Task.model_validate({"name": "questions", "kind": kind, "metric": METRICS[kind][0], "data": data, "languages": languages} | more | changes)


def judged(rows: Rows, *, policy: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    task = task_of(rows, **changes)
    return judge_tasks({"questions": write_items(rows, task)}, EvaluationPolicy(tasks=[task], resamples=500, **(policy or {})))


def outcome(rows: Rows, **changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = judged(rows, **changes)["tasks"]["questions"]
    return made


HELDOUT = [{"item": f"r{i:03}", "language": "est", "cluster": f"m{i}", "tokens": 10, "base": 30.0, "tuned": round(20.0 + (i % 7) / 10, 6)} for i in range(40)]


def whole(items: dict[str, bytes], *tasks: Task, **policy: Any) -> dict[str, Any]:
    return judge_evaluation(HELDOUT, items, EvaluationPolicy(tasks=list(tasks), resamples=200, **policy), languages=["est"])


def test_without_tasks_the_outcome_and_the_bytes_of_the_policy_are_those_of_before() -> None:
    policy = EvaluationPolicy()
    assert dumps(policy.model_dump(mode="json")) == (
        b'{"allow_insufficient":true,"confidence":0.95,"generations_per_language":1,"margin":0.0,"metric":"heldout_nll_per_token","minimum_items":8,"resamples":2000}'
    ).replace(b"0.0,", b"0,")
    assert "tasks" not in judge_evaluation(HELDOUT, {}, policy, languages=["est"])
    assert judge_evaluation(HELDOUT, {}, policy, languages=["est"])["passed"] is True


@pytest.mark.parametrize(
    ("base", "tuned", "margin", "verdict"), [(0.5, 0.85, 0.0, "PASS"), (0.85, 0.5, 0.0, "FAIL"), (0.6, 0.6, 0.02, "INSUFFICIENT"), (0.6, 0.6, 0.3, "PASS")]
)
def test_each_verdict_against_the_base_occurs(base: float, tuned: float, margin: float, verdict: str) -> None:
    made = outcome(rows_of(base, tuned), margin=margin)
    assert {row["verdict"] for row in made["languages"].values()} == {verdict} == {made["verdict"]}


@pytest.mark.parametrize(("threshold", "verdict"), [(0.5, "PASS"), (0.8, "INSUFFICIENT"), (0.95, "FAIL")])
def test_a_floor_is_met_by_the_whole_interval_or_not_at_all(threshold: float, verdict: str) -> None:
    made = outcome(rows_of(0.5, 0.8), comparison="threshold", threshold=threshold)
    assert made["verdict"] == verdict
    assert {row["method"] for row in made["languages"].values()} == {"clopper-pearson"}


@pytest.mark.parametrize("kind", ["unsafe_compliance", "over_refusal"])
def test_of_safety_rates_lower_is_better(kind: str) -> None:
    assert outcome(rows_of(0.5, 0.02), kind=kind, comparison="threshold", threshold=0.15)["verdict"] == "PASS"
    assert outcome(rows_of(0.02, 0.5), kind=kind, comparison="threshold", threshold=0.15)["verdict"] == "FAIL"
    better, worse = outcome(rows_of(0.6, 0.2), kind=kind, margin=0.05), outcome(rows_of(0.2, 0.6), kind=kind, margin=0.05)
    assert (better["verdict"], better["improved_everywhere"]) == ("PASS", True)
    assert (worse["verdict"], worse["improved_everywhere"]) == ("FAIL", False)


def test_no_harm_in_thirty_items_is_no_proof_of_five_in_a_hundred() -> None:
    made = outcome(rows_of(0.5, 0.0, n=30), kind="unsafe_compliance", comparison="threshold", threshold=0.05)
    assert made["languages"]["est"]["tuned_high"] == pytest.approx(0.1157, abs=1e-3)
    assert made["verdict"] == "INSUFFICIENT"


def test_two_weights_that_agree_on_every_item_are_not_certain_to_be_alike() -> None:
    rows = rows_of(0.5, 0.5, n=30)
    for row in rows:
        row["tuned"] = row["base"]
    row = outcome(rows, margin=0.02)["languages"]["est"]
    assert row["difference"] == 0
    assert row["low"] < -0.05 < 0.05 < row["high"]
    assert row["verdict"] == "INSUFFICIENT"


def test_items_that_hang_together_widen_the_interval() -> None:
    alone, together = rows_of(0.5, 0.8), rows_of(0.5, 0.8)
    for row in together:
        first = (int(row["item"][-4:]) // 10) * 10
        row["cluster"] = f"q-{first}"
        same = next(other for other in together if other["item"] == f"q-{row['language']}-{first:04}")
        row["base"], row["tuned"] = same["base"], same["tuned"]
    a, b = (outcome(rows, margin=0.1)["languages"]["est"] for rows in (alone, together))
    assert b["clusters"] == 12
    assert b["high"] - b["low"] > 2 * (a["high"] - a["low"])
    assert outcome(together, comparison="threshold", threshold=0.1)["languages"]["est"]["method"] == "korn-graubard"


def test_one_failing_language_fails_the_task_whatever_the_others_show() -> None:
    made = outcome(rows_of(0.2, 0.9, languages=["ita"], n=400) + rows_of(0.9, 0.3, languages=["est"], n=40))
    assert made["overall"]["verdict"] == "PASS"
    assert made["verdict"] == "FAIL"


def test_too_few_items_or_independent_items_state_no_interval() -> None:
    few = outcome(rows_of(0.2, 0.9, n=29))["languages"]["est"]
    assert (few["verdict"], few["reason"], few["low"], few["tuned_low"]) == ("INSUFFICIENT", "few_items", None, None)
    alike = outcome(rows_of(0.2, 0.9, n=60, cluster=15))["languages"]["est"]
    assert (alike["clusters"], alike["verdict"], alike["reason"]) == (4, "INSUFFICIENT", "few_clusters")


def test_scores_that_never_differ_are_no_evidence() -> None:
    rows = [row | {"base": 0.25, "tuned": 0.25} for row in rows_of(0, 0)]
    row = outcome(rows, kind="open")["languages"]["est"]
    assert (row["verdict"], row["reason"]) == ("INSUFFICIENT", "no_variation")


def test_claims_that_languages_improved_are_corrected_for_their_number() -> None:
    languages = [f"a{letter}a" for letter in "abcdefghijklmnopqrst"]
    rows = rows_of(0.5, 0.62, languages=languages, n=60, seed=11)
    plain = outcome(rows, margin=0.5, policy={"correction": "none"})["languages"]
    holm = outcome(rows, margin=0.5)["languages"]
    assert all(holm[name]["p_corrected"] >= plain[name]["p"] for name in languages)
    assert sum(row["improved"] for row in plain.values()) > sum(row["improved"] for row in holm.values())
    better = outcome(rows_of(0.4, 0.8, languages=languages, n=60, seed=11), margin=0.5)
    assert better["improved_everywhere"] is True


def contaminated(rows: Rows, share: float) -> Rows:
    for row in rows:
        if int(row["item"][-4:]) < share * 120:
            row |= {"base": 0, "tuned": 1, "overlap": 700, "longest": 19}
    return rows


def test_a_pass_that_rests_on_items_training_had_seen_is_none() -> None:
    made = outcome(contaminated(rows_of(0.6, 0.6), 0.5), margin=0.05)
    row = made["languages"]["est"]
    assert (row["contaminated"], row["clean"]["items"]) == (60, 60)
    assert (row["verdict"], row["reason"], made["verdict"]) == ("INSUFFICIENT", "contaminated", "INSUFFICIENT")
    assert row["low"] > 0 > row["clean"]["low"]
    assert outcome(rows_of(0.6, 0.6), margin=0.05)["languages"]["est"]["clean"] is None


def test_calling_failed_items_contaminated_does_not_help_either() -> None:
    rows = rows_of(0.8, 0.4)
    for row in rows:
        if row["base"] > row["tuned"]:
            row |= {"overlap": 500, "longest": 13}
    assert outcome(rows, margin=0.02)["languages"]["est"]["clean"]["verdict"] == "PASS"
    assert outcome(rows, margin=0.02)["verdict"] == "FAIL"


def test_what_nobody_judged_cannot_pass() -> None:
    rows = rows_of(0.5, 0.01)
    rows[0] |= {"base": None, "tuned": None}
    row = outcome(rows, kind="unsafe_compliance", comparison="threshold", threshold=0.3)["languages"]["est"]
    assert (row["unjudged"], row["verdict"], row["reason"]) == (1, "INSUFFICIENT", "unjudged")
    for one in rows:
        one |= {"base": None, "tuned": None}
    assert outcome(rows, kind="open")["languages"]["est"]["reason"] == "unjudged"


def test_no_language_may_fall_below_the_floor_or_too_far_behind() -> None:
    rows = rows_of(0.3, 0.9, languages=["ita"], n=400) + rows_of(0.3, 0.6, languages=["est"], n=400)
    asked = {name: outcome(rows, margin=0.1, policy={"between_languages": LanguageRules(**rule)}) for name, rule in {
        "kept": {"minimum": 0.5, "maximum_gap": 0.45}, "floor": {"minimum": 0.75}, "unclear": {"minimum": 0.6}, "gap": {"maximum_gap": 0.15}, "none": {},
    }.items()}  # fmt: skip
    assert {name: made["verdict"] for name, made in asked.items()} == {
        "kept": "PASS",
        "floor": "FAIL",
        "unclear": "INSUFFICIENT",
        "gap": "FAIL",
        "none": "PASS",
    }
    assert (asked["gap"]["between_languages"]["lowest"], asked["gap"]["between_languages"]["gap"]) == ("est", "FAIL")


def with_previous(rows: Rows, previous: float) -> Rows:
    draw = random.Random(5)
    return [row | {"previous": int(draw.random() < previous)} for row in rows]


@pytest.mark.parametrize(("previous", "verdict"), [(0.5, "PASS"), (0.98, "FAIL"), (0.83, "INSUFFICIENT")])
def test_a_release_may_not_fall_behind_the_one_before_it(previous: float, verdict: str) -> None:
    rows = with_previous(rows_of(0.1, 0.8), previous)
    made = outcome(rows, comparison="previous", margin=0.03, previous={"release": sha256(b"r"), "sha256": sha256(b"i")})
    assert made["verdict"] == verdict
    assert made["languages"]["est"]["previous"] == pytest.approx(previous, abs=0.1)


def test_a_missing_required_task_is_no_release_and_nobody_can_waive_it() -> None:
    rows = rows_of(0.3, 0.9)
    task = task_of(rows)
    there, missing = whole({"questions": write_items(rows, task)}, task), whole({}, task)
    assert (there["passed"], there["blocking"]) == (True, [])
    assert missing["tasks"]["questions"]["missing"] is True
    assert (missing["passed"], missing["waivable"]) == (False, False)
    assert missing["blocking"] == [{"task": "questions", "verdict": "MISSING", "waivable": False}]
    assert whole({}, task_of(rows, tier="supporting"))["passed"] is True


@pytest.mark.parametrize(
    ("tier", "tuned", "passed"),
    [("required", 0.1, False), ("required", 0.52, False), ("supporting", 0.1, False), ("supporting", 0.52, True), ("advisory", 0.1, True)],
)
def test_tiers_say_what_blocks(tier: str, tuned: float, passed: bool) -> None:
    rows = rows_of(0.5, tuned)
    task = task_of(rows, tier=tier, margin=0.02)
    assert whole({"questions": write_items(rows, task)}, task)["passed"] is passed


@pytest.mark.parametrize(
    ("waiver", "tuned", "waivable"),
    [("vote", 0.1, True), ("vote", 0.52, True), ("insufficient", 0.1, False), ("insufficient", 0.52, True), ("never", 0.1, False), ("never", 0.52, False)],
)
def test_waivers_cover_what_the_policy_says(waiver: str, tuned: float, waivable: bool) -> None:
    rows = rows_of(0.5, tuned)
    task = task_of(rows, waiver=waiver, margin=0.02)
    made = whole({"questions": write_items(rows, task)}, task)
    assert (made["passed"], made["waivable"]) == (False, waivable)


def test_a_failing_heldout_loss_is_not_outweighed_by_tasks() -> None:
    rows = rows_of(0.3, 0.9)
    task = task_of(rows)
    worse = [row | {"tuned": 40.0 + row["tuned"] - 20} for row in HELDOUT]
    made = judge_evaluation(worse, {"questions": write_items(rows, task)}, EvaluationPolicy(tasks=[task], resamples=200), languages=["est"])
    assert (made["blocking"], made["passed"]) == ([], False)


def lines(rows: Rows) -> bytes:
    return b"".join(dumps(row) + b"\n" for row in rows)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda rows: rows[1:], "not as many items"),
        (lambda rows: [row for row in rows if row["language"] != "est"], "not as many items"),
        (lambda rows: [rows[0] | {"item": "q-est-0000x"}, *rows[1:]], "not those members voted on"),
        (lambda rows: [rows[0] | {"cluster": "other"}, *rows[1:]], "not those members voted on"),
        (lambda rows: [rows[0], *rows], "appears twice"),
        (lambda rows: [rows[1], rows[0], *rows[2:]], "out of order"),
        (lambda rows: [rows[0] | {"language": "fin"}, *rows[1:]], "does not name this language"),
        (lambda rows: [rows[0] | {"tuned": 0.5}, *rows[1:]], "no score"),
        (lambda rows: [rows[0] | {"tuned": 2}, *rows[1:]], "no score"),
        (lambda rows: [rows[0] | {"tuned": True}, *rows[1:]], "no score"),
        (lambda rows: [rows[0] | {"tuned": None}, *rows[1:]], "no score"),
        (lambda rows: [rows[0] | {"overlap": 1001}, *rows[1:]], "overlap is no count"),
        (lambda rows: [rows[0] | {"longest": -1}, *rows[1:]], "longest is no count"),
        (lambda rows: [rows[0] | {"note": "x"}, *rows[1:]], "wrong fields"),
        (lambda rows: [rows[0] | {"item": "../../etc"}, *rows[1:]], "no name"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_results_that_are_not_of_exactly_the_voted_items_are_refused(change: Any, match: str) -> None:
    rows = rows_of(0.3, 0.9)
    with pytest.raises(BadInput, match=match):
        judge_tasks({"questions": lines(change(rows))}, EvaluationPolicy(tasks=[task_of(rows)]))


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]\n", b'{"base":NaN}\n', b"\xff\n", lines(rows_of(0.3, 0.9))[:-1]])
def test_results_that_are_no_canonical_lines_are_refused(data: bytes) -> None:
    with pytest.raises(BadInput):
        read_items(data, task_of(rows_of(0.3, 0.9)))


def test_a_score_that_is_not_finite_is_refused_before_it_is_written() -> None:
    rows = [row | {"base": 0.5, "tuned": 0.5} for row in rows_of(0.3, 0.9)]
    task = task_of(rows, kind="open")
    for bad in (float("nan"), float("inf"), 0.1234567):
        with pytest.raises(BadInput, match="score"):
            write_items([rows[0] | {"tuned": bad}, *rows[1:]], task)


def test_results_of_a_task_nobody_voted_on_are_refused() -> None:
    with pytest.raises(BadInput, match="does not name"):
        judge_tasks({"pretty-numbers": b"{}\n"}, EvaluationPolicy())


def test_an_earlier_release_must_be_the_one_the_plan_names() -> None:
    rows = with_previous(rows_of(0.1, 0.8), 0.5)
    before = lines([{"item": row["item"], "tuned": row["previous"]} for row in rows])
    task = task_of(rows, comparison="previous", previous={"release": sha256(b"r"), "sha256": sha256(before)})
    assert read_previous(before, task)[rows[0]["item"]] == rows[0]["previous"]
    with pytest.raises(BadInput, match="not the earlier release"):
        read_previous(before.replace(b'"tuned":0', b'"tuned":1', 1), task)


def test_order_of_languages_or_machine_changes_nothing() -> None:
    rows = rows_of(0.5, 0.7, cluster=3)
    shuffled = list(rows)
    random.Random(3).shuffle(shuffled)
    assert dumps(judged(rows, margin=0.1)) == dumps(judged(shuffled, margin=0.1))
    row = outcome(rows, margin=0.1)["languages"]["est"]
    assert (row["difference"], row["low"], row["high"], row["p"], row["detectable"]) == (0.208333, 0.064522, 0.332304, 0.005988, 0.190275)


def test_which_items_are_asked_follows_from_their_digests_alone() -> None:
    items = [(f"q-{language}-{i}", language) for language in LANGUAGES for i in range(50)]
    picked = chosen(items, "questions", 10)
    assert picked == chosen(reversed(items), "questions", 10)
    assert {language: sum(f"-{language}-" in item for item in picked) for language in LANGUAGES} == {"est": 10, "ita": 10}
    assert picked != chosen(items, "other", 10)
    assert chosen(items, "questions", None) == {item for item, _ in items}


@pytest.mark.parametrize(
    "change",
    [
        {"metric": "chrf"}, {"data": None}, {"languages": ["ita", "est"]}, {"languages": ["est"]}, {"comparison": "threshold"}, {"threshold": 0.5},
        {"comparison": "previous"}, {"comparison": "threshold", "threshold": 0.5, "margin": 0.1}, {"new_tokens": 5}, {"tier": "vital"}, {"margin": 1.5},
        {"name": "../x"}, {"minimum_items": 0},
    ],
    ids=str,
)  # fmt: skip
def test_tasks_that_make_no_sense_are_refused(change: dict[str, Any]) -> None:
    document = task_of(rows_of(0.3, 0.9)).model_dump() | change
    with pytest.raises(ValidationError):
        Task.model_validate(document)


def test_two_tasks_of_one_name_are_refused() -> None:
    task = task_of(rows_of(0.3, 0.9))
    with pytest.raises(ValidationError, match="same name"):
        EvaluationPolicy(tasks=[task, task])

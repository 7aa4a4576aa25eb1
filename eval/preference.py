"""Members choose blindly between the answers before and after: the sheets they get, what they send back, and the rows it gives.

Which of the two answers stands first follows from a secret key, the judge and the item; the sheet holds a commitment to the key, so that the
order cannot be chosen when the answers are in. Who judged is a number in the results: what a member preferred is nobody's business.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import Field, StringConstraints, ValidationError

from data_pipeline.task_data import Question
from eval.contamination import Overlap
from governance_hooks.canonical import dumps, loads, sha256
from governance_hooks.errors import BadInput
from governance_hooks.fields import Digest, Slug, Strict
from governance_hooks.plan import explain_validation

__all__ = ["Judgement", "make_sheet", "preference_rows", "read_judgement", "strengths", "tuned_first"]

MAX_JUDGEMENT_BYTES: Final = 16 << 20
Answers = Mapping[str, tuple[str, str]]
"""Item -> base's and tuned answer."""


class Judgement(Strict):
    """What one judge thinks of the pairs of one sheet."""

    format: Literal["coop.judgement/v1"]
    run: Slug
    task: Slug
    judge: Annotated[str, StringConstraints(pattern=r"^m-[0-9a-z]{1,64}$")]
    sheet: Digest
    """Of the sheet that was judged."""
    choices: Annotated[dict[str, Literal["a", "b", "tie"]], Field(min_length=1, max_length=100_000)]
    """Pair -> the better answer. Pairs may be left out: not to judge is not a tie."""


def tuned_first(key: bytes, judge: str, item: str) -> bool:
    """Tell whether the tuned answer stands first on a judge's sheet."""
    return bool(hmac.new(key, f"{judge}\n{item}".encode(), hashlib.sha256).digest()[0] & 1)


def make_sheet(run: str, task: str, judge: str, questions: Sequence[Question], answers: Answers, key: bytes) -> dict[str, Any]:
    """Return a blind sheet: each pair's prompt and two answers in an order only the key tells."""
    pairs = []
    for one in questions:
        base, tuned = answers[one.item]
        first, second = (tuned, base) if tuned_first(key, judge, one.item) else (base, tuned)
        pairs.append({"pair": one.item, "language": one.language, "prompt": one.prompt, "a": first, "b": second})
    pairs.sort(key=lambda pair: hmac.new(key, f"order\n{judge}\n{pair['pair']}".encode(), hashlib.sha256).digest())
    return {"format": "coop.pairs/v1", "run": run, "task": task, "judge": judge, "commitment": sha256(key), "pairs": pairs}


def read_judgement(data: bytes, *, sheet: bytes, source: str) -> Judgement:
    """Read what a judge sent back; it must be of exactly the sheet they got (BadInput)."""
    if len(data) > MAX_JUDGEMENT_BYTES:
        raise BadInput(f"{source} is too large", value=len(data), allowed=f"{MAX_JUDGEMENT_BYTES} bytes")
    loads(data, source=source)
    try:
        made = Judgement.model_validate_json(data)
    except ValidationError as error:
        raise explain_validation(error, Judgement, source) from error
    given = loads(sheet, source="the sheet")
    for name, expected in (("run", given["run"]), ("task", given["task"]), ("judge", given["judge"]), ("sheet", sha256(sheet))):
        if getattr(made, name) != expected:
            raise BadInput(f"{source} is of another {name} than the sheet", value=getattr(made, name), allowed=expected)
    strangers = sorted(made.choices.keys() - {pair["pair"] for pair in given["pairs"]})
    if strangers:
        raise BadInput(f"{source} judges pairs that are not on the sheet", value=strangers[:3])
    return made


def preference_rows(judgements: Sequence[Judgement], questions: Sequence[Question], seen: Mapping[str, Overlap], key: bytes) -> list[dict[str, Any]]:
    """Return the rows of a preference task: one for each pair a judge judged, judges as clusters under numbers."""
    asked = {one.item: one for one in questions}
    numbers = {
        judge: f"judge-{number:03}"
        for number, judge in enumerate(sorted((one.judge for one in judgements), key=lambda judge: hmac.new(key, judge.encode(), hashlib.sha256).digest()), 1)
    }
    if len(numbers) != len(judgements):
        raise BadInput("a judge judged one task twice", allowed="one judgement for each judge")
    rows = []
    for made in judgements:
        for item, choice in made.choices.items():
            share = 0.5 if choice == "tie" else float((choice == "a") == tuned_first(key, made.judge, item))
            one, cluster = asked[item], numbers[made.judge]
            rows.append(
                {"item": f"{item}/{cluster}", "language": one.language, "cluster": cluster, "base": 1 - share, "tuned": share}
                | {"overlap": seen[item].overlap, "longest": seen[item].longest}
            )
    return rows


def strengths(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the Bradley-Terry strength of the tuned answers against the base's, as evalica fits it, with a bootstrap over judges.

    Between two candidates the model is their share of wins, which is what the verdict is about; this is the same as a published figure.
    """
    import evalica

    def fit(some: Sequence[Mapping[str, Any]]) -> float:
        winners = [evalica.Winner.Draw if row["tuned"] == 0.5 else evalica.Winner.X if row["tuned"] == 1 else evalica.Winner.Y for row in some]
        scores = evalica.bradley_terry(["tuned"] * len(some), ["base"] * len(some), winners, tolerance=1e-9, limit=10_000).scores
        return round(float(scores["tuned"] / (scores["tuned"] + scores["base"])), 6)

    by_judge: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        by_judge[row["cluster"]].append(row)
    judges = sorted(by_judge)
    draws = []
    for number in range(500):
        stream = hashlib.shake_256(b"judges" + number.to_bytes(4)).digest(4 * len(judges))
        picked = [judges[int.from_bytes(stream[4 * place : 4 * place + 4]) % len(judges)] for place in range(len(judges))]
        draws.append(fit([row for judge in picked for row in by_judge[judge]]))
    draws.sort()
    return {
        "tuned_beats_base": fit(rows),
        "low": draws[12],
        "high": draws[487],
        "judges": len(judges),
        "judgements": len(rows),
        "bootstrap": "by judge, 500, 95%",
    }


def canonical_sheet(sheet: Mapping[str, Any]) -> bytes:
    """Return the bytes of a sheet, whose digest a judgement names."""
    return dumps(dict(sheet))

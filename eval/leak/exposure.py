"""How much training shows on a member's own records, told to that member alone.

Of each record: by how much the loss of its answer lies below what held-out answers of the same base loss have, in nats a token, and what share of
the held-out answers lie less far below.
If nothing of a member is remembered the shares spread evenly: half of the records above 50%, a tenth above 90%. A record far up is one that the
weights know better than its like, and somebody who has it can tell that it was in.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import StatisticsError, fmean, linear_regression
from typing import Any, Final

from data_pipeline.chat import Conversation, Renderer, TooLong
from data_pipeline.manifest import read_build
from data_pipeline.reader import rows
from eval.compute import threads_of, where_of
from eval.heldout import Answer, answer_losses
from eval.inputs import check_inputs
from eval.weights import load_weights
from governance_hooks.canonical import loads
from governance_hooks.errors import BadInput

__all__ = ["FEWEST_MEMBERS", "Exposed", "aggregate", "member_report", "records_of_members"]

Progress = Callable[[str, int, int], None]
FEWEST_MEMBERS: Final = 5
"""A figure about fewer members is not shown to others."""
FEWEST_HELDOUT: Final = 20
"""With fewer answers of its language to compare with, a record is compared with those of all languages."""
HIGH: Final = 90.0
"""Percentile above which a record counts as exposed: a tenth would be by chance."""


@dataclass(frozen=True, slots=True)
class Exposed:
    """One record that was trained on."""

    record: str
    language: str
    percentile: float
    """Share of never-trained answers whose loss lies less far below what their base loss lets expect, percent."""
    below: float
    """By how much its loss does, nats a token of the answer."""
    compared: str
    """ISO 639-3 of the answers it is compared with, or `all`."""


def records_of_members(
    run_dir: Path,
    *,
    base: Path,
    build: Path,
    members: Iterable[str] | None = None,
    progress: Progress | None = None,
    threads: int | None = None,
    device: str | None = None,
) -> dict[str, list[Exposed]]:
    """Return member -> their records that were trained on, most exposed first; a record of several authors is each one's.

    Args:
        run_dir: folder of a completed, evaluated run.
        base: folder of the base weights the plan names.
        build: folder of the dataset build the plan names, with its texts.
        members: whose records to measure; None for everybody's.
        progress: called with label, done, total.
        threads: compute threads; none means torch's own choice.
        device: torch device; none means the GPU if there is one, else the CPU.

    Raises:
        BadInput: an input differs from what plan and run record name, the run is not evaluated, or it learned preferences instead of answers.
    """
    wanted = None if members is None else set(members)
    where = where_of(device)
    with threads_of(threads):
        inputs = check_inputs(run_dir, base=base, build=build, progress=progress)
        training = inputs.plan.training
        if training.objective != "sft":
            raise BadInput("a run on preferences lowers no loss of single answers", value=training.objective, allowed="sft")
        heldout, trained = _read_heldout(run_dir / "eval" / "results.jsonl"), _trained(run_dir / "trace.jsonl")
        weights, tokenizer = load_weights(base, run_dir / training.output, training.output, device=where)
        answers, authors = [], {}
        renderer = Renderer(tokenizer)
        for row in rows(read_build(build), "train"):
            if row.record not in trained or (wanted is not None and wanted.isdisjoint(row.authors)):
                continue
            [rendered] = renderer.batch([Conversation(row.inputs, row.targets, row.history)], max_tokens=training.sequence_tokens)
            if not isinstance(rendered, TooLong):
                answers.append(Answer(row.record, row.language, row.authors[0], tuple(rendered.ids), tuple(rendered.supervised)))
                authors[row.record] = row.authors
        with weights.before() as model:
            before = answer_losses(model, answers, progress=progress, label="own texts, base")
        after = answer_losses(weights.tuned, answers, progress=progress, label="own texts, tuned")
    found: dict[str, list[Exposed]] = defaultdict(list)
    for answer in answers:
        tokens = answer.supervised_tokens
        exposed = _exposed(answer, before[answer.item] / tokens, after[answer.item] / tokens, heldout)
        for author in authors[answer.item]:
            if wanted is None or author in wanted:
                found[author].append(exposed)
    return {author: sorted(own, key=lambda one: (-one.percentile, one.record)) for author, own in sorted(found.items())}


def _trained(path: Path) -> set[str]:
    """Return the records the run's trace names."""
    if not path.is_file():
        raise BadInput(f"{path} is missing, so which texts were trained on is not known", next="restore the run's folder")
    return {record for line in path.read_bytes().splitlines() for record in loads(line, floats=True, source=str(path))["records"]}


class _Heldout:
    """Answers that were never trained on, as a measure: the line of tuned over base loss, nats a token, and how far below it each lies."""

    def __init__(self, pairs: Sequence[tuple[float, float]]) -> None:
        base, tuned = zip(*pairs, strict=True)
        try:
            self.line = linear_regression(base, tuned)
        except StatisticsError:  # all of one base loss
            self.line = linear_regression((0.0, 1.0), (fmean(tuned), fmean(tuned)))
        self.below = sorted(self.of(before, after) for before, after in pairs)

    def of(self, base: float, tuned: float) -> float:
        """Return how far below the line a pair lies."""
        return self.line.intercept + self.line.slope * base - tuned


def _read_heldout(path: Path) -> dict[str, _Heldout]:
    """Return language -> its held-out answers, where there are enough; `all` for those of all languages."""
    if not path.is_file():
        raise BadInput("the run is not evaluated yet, so there are no answers to compare with", next=f"coop eval {path.parent.parent.name}")
    pairs: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for line in path.read_bytes().splitlines():
        row = loads(line, floats=True, source=str(path))
        for group in (row["language"], "all"):
            pairs[group].append((row["base"] / row["tokens"], row["tuned"] / row["tokens"]))
    if len(pairs["all"]) < FEWEST_HELDOUT:
        raise BadInput("too few answers were held out to compare with", value=len(pairs["all"]), allowed=f"{FEWEST_HELDOUT} or more")
    return {group: _Heldout(found) for group, found in pairs.items() if len(found) >= FEWEST_HELDOUT}


def _exposed(answer: Answer, base: float, tuned: float, heldout: Mapping[str, _Heldout]) -> Exposed:
    group = answer.language if answer.language in heldout else "all"
    below, others = heldout[group].of(base, tuned), heldout[group].below
    percentile = 50 * (bisect_left(others, below) + bisect_right(others, below)) / len(others)
    return Exposed(answer.item, answer.language, round(percentile, 1), round(below, 4), group)


def member_report(run: str, plan: str, member: str, own: Sequence[Exposed]) -> dict[str, Any]:
    """Return what a member is told, and nobody else: every record, the most exposed tenth, and what chance would give."""
    return {
        "format": "coop.exposure/v1",
        "run": run,
        "plan": plan,
        "member": member,
        "records": [asdict(one) for one in own],
        "worst_decile": [one.record for one in own[: -(-len(own) // 10)]],
        **_summary(own),
    }


def _summary(own: Sequence[Exposed]) -> dict[str, Any]:
    return {
        "measured": len(own),
        "mean_percentile": round(sum(one.percentile for one in own) / len(own), 1) if own else None,
        "above_90": sum(one.percentile > HIGH for one in own),
    }


def aggregate(found: Mapping[str, Sequence[Exposed]]) -> dict[str, Any]:
    """Return what others may see: figures by language over `FEWEST_MEMBERS` members or more, and over the languages shown together.

    A language with fewer is named and not measured, and is not in the total: the difference would show it.
    """
    by_language: dict[str, dict[str, Exposed]] = defaultdict(dict)
    members: dict[str, set[str]] = defaultdict(set)
    for member, own in found.items():
        for one in own:
            by_language[one.language][one.record] = one
            members[one.language].add(member)
    shown = [language for language in sorted(by_language) if len(members[language]) >= FEWEST_MEMBERS]
    everybody = set().union(*(members[language] for language in shown)) if shown else set()
    return {
        "languages": {language: {"members": len(members[language]), **_summary(list(by_language[language].values()))} for language in shown},
        "withheld": sorted(set(by_language) - set(shown)),
        "overall": {"members": len(everybody), **_summary([one for language in shown for one in by_language[language].values()])} if shown else None,
    }

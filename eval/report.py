"""From a finished run to `eval/results.jsonl` and `eval/report.json`: load what the plan names, measure, judge, write."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from eval.answers import heldout_answers, prompt_tokens
from eval.compute import device_name, packages, threads_of, where_of
from eval.generate import BATCH, sample_answers, without_prompt
from eval.heldout import Answer
from eval.inputs import Inputs, check_inputs
from eval.measure import Measuring, digest_of, measure
from eval.partial import Partial
from eval.preference import strengths
from eval.ranks import Processes, compare_together
from eval.weights import Weights, load_weights, longest
from governance_hooks.atomic import atomic_directory
from governance_hooks.canonical import digest, dumps, loads, sha256
from governance_hooks.errors import BadInput
from governance_hooks.plan import EvaluationPolicy, Plan, read_plan
from governance_hooks.task_verdict import judge_evaluation

__all__ = ["evaluate", "partial_of"]

Progress = Callable[[str, int, int], None]
TASK_PACKAGES = ("evalica", "lm-eval", "sacrebleu")


def _write(run_dir: Path, lines: bytes, partial: Partial, report: Mapping[str, Any]) -> dict[str, Any]:
    finished = dict(report) | {"results": sha256(lines)}
    with atomic_directory(run_dir / "eval", replace=True) as folder:  # all files appear together or not at all
        for name in ("items", "previous", "private"):
            if (partial.folder / name).is_dir():
                shutil.copytree(partial.folder / name, folder / name)
        for path in (one for one in folder.rglob("*") if one.relative_to(folder).parts[0] != "private"):
            path.chmod(0o755 if path.is_dir() else 0o644)
        if (folder / "private").is_dir():
            (folder / "private").chmod(0o700)
        (folder / "results.jsonl").write_bytes(lines)
        (folder / "report.json").write_bytes(dumps(finished))
    partial.remove()
    return finished


def _results(weights: Weights, answers: Sequence[Answer], together: Processes, partial: Partial, progress: Progress | None) -> bytes:
    """Return the lines of the held-out losses, measured now or before an interruption."""
    kept = partial.read("results.jsonl")
    if kept is None:
        kept = b"".join(dumps(row) + b"\n" for row in compare_together(weights, answers, together, progress=progress))
        partial.keep("results.jsonl", kept)
    return kept


def _tasks(of: Measuring, policy: EvaluationPolicy) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Return the results of all tasks, and what the report says of them besides verdicts."""
    if not policy.tasks:
        return {}, {}
    items = {task.name: measure(task, of) for task in policy.tasks}
    judged = {task.name: strengths([loads(line, floats=True) for line in items[task.name].splitlines()]) for task in policy.tasks if task.kind == "preference"}
    labels = {name: sha256(data) for name, data in of.labels.items()}
    return items, ({"preference": judged} if judged else {}) | ({"labels": labels} if labels else {})


def _batch_of(partial: Partial, asked: int | None) -> int:
    """Return how many prompts go through the model at once: as asked, but one figure for all that the report will be made of."""
    kept = partial.read("batch")
    if kept is not None and asked not in (None, int(kept)) and any((partial.folder / name).is_dir() for name in ("items", "private")):
        raise BadInput(
            "this evaluation began with another batch size, and what is measured rests on it",
            value=asked,
            allowed=kept.decode(),
            next=f"leave --batch out; or, to begin anew: rm -r {partial.folder}",
        )
    batch = asked or (BATCH if kept is None else int(kept))
    partial.keep("batch", str(batch).encode())
    return batch


def partial_of(run_dir: Path) -> tuple[Partial, Any]:
    """Return what is measured so far of a run's evaluation, and its plan; parts of another run, plan or weights are thrown away."""
    plan, record = (run_dir / "plan.json").read_bytes(), (run_dir / "run.json").read_bytes()
    return Partial(run_dir / ".eval", digest({"plan": sha256(plan), "record": sha256(record)})), read_plan(plan)


def evaluate(
    run_dir: Path,
    *,
    base: Path,
    build: Path,
    data: Path | None = None,
    labels: Mapping[str, bytes] | None = None,
    progress: Progress | None = None,
    threads: int | None = None,
    device: str | None = None,
    memory: int | None = None,
    processes: int = 1,
    batch: int | None = None,
) -> dict[str, Any]:
    """Measure the run in `run_dir` on the build's held-out answers and the policy's tasks, write `eval/`, return the report.

    What is finished when it is killed is not measured again.

    Args:
        run_dir: run folder with plan.json, run.json and the trained weights (adapter/ or model/).
        base: folder of the base weights the plan names.
        build: folder of the dataset build the plan names.
        data: folder of the files that tasks read, by digest; none means `evals` in the cooperative's folder, two above the run's.
        labels: task -> JSON lines of what people say refused, in place of the rule.
        progress: called with label, done, total.
        threads: compute threads; none means torch's own choice.
        device: torch device; none means the GPU if there is one, else the CPU.
        memory: most bytes of main memory for weights; what does not fit is read from the files at each use (`eval.placement`).
        processes: so many of this machine share the held-out answers, a GPU each if there are any (`eval.ranks`); no number changes.
        batch: prompts or choices of a task that go through the model at once; none means what the evaluation began with, at first `BATCH`. The report says it.

    Raises:
        BadInput: the base, build, weights or a task's file are not the one the plan and the run record name, or the run is not completed.
        Refused: a task waits for members' judgements.
    """
    started = time.monotonic()
    where = where_of(device)
    with threads_of(threads) as used:
        inputs: Inputs = check_inputs(run_dir, base=base, build=build, progress=progress)
        plan = inputs.plan
        together = Processes(processes, run_dir, base, build, where, memory, threads)
        output = plan.training.output
        weights, tokenizer = load_weights(base, run_dir / output, output, device=together.device_of(0), memory=together.memory_of_one)
        answers, skipped = heldout_answers(build, tokenizer, longest=longest(weights.tuned))
        partial, _ = partial_of(run_dir)
        batch = _batch_of(partial, batch)
        lines = _results(weights, answers, together, partial, progress)
        measuring = Measuring(
            inputs.record["run"],
            weights,
            tokenizer,
            build,
            data or run_dir.parent.parent / "evals",
            longest(weights.tuned),
            partial,
            _of_tasks(plan, labels),
            progress,
            batch,
        )
        items, more = _tasks(measuring, plan.evaluation)
        count = plan.evaluation.generations_per_language
        languages = plan.build.languages
        generations = sample_answers(
            weights, tokenizer, languages, prompt_tokens=lambda text: prompt_tokens(tokenizer, text), per_language=count, batch=batch, progress=progress
        )
    judged = judge_evaluation([loads(line, floats=True) for line in lines.splitlines()], items, plan.evaluation, languages=plan.build.languages)
    if items:
        judged["tasks"] = {name: outcome | {"items": digest_of(name, items[name]) if name in items else None} for name, outcome in judged["tasks"].items()}
    return _write(
        run_dir,
        lines,
        partial,
        {
            "format": "coop.evaluation/v1",
            "run": inputs.record["run"],
            "plan": inputs.plan_digest,
            "build": plan.build.manifest,
            "weights": inputs.record["outputs"],
            "policy": plan.evaluation.model_dump(mode="json"),
            **judged,
            **more,
            "skipped": skipped,
            "generations": generations,
            "languages_without_prompt": without_prompt(plan.build.languages),
            "device": device_name(where),
            "threads": used,
            "batch": batch,
            "precision": "float32",
            "packages": packages(*(TASK_PACKAGES if items else ())),
            "wall_s": round(time.monotonic() - started),
        },
    )


def _of_tasks(plan: Plan, labels: Mapping[str, bytes] | None) -> Mapping[str, bytes]:
    """Return the labels, which must be of safety tasks the plan has."""
    known = [task.name for task in plan.evaluation.tasks if task.kind in ("unsafe_compliance", "over_refusal")]
    strangers = sorted((labels or {}).keys() - set(known))
    if strangers:
        raise BadInput("labels of a task that takes none", value=strangers, allowed=", ".join(known) or "no task of this plan")
    return labels or {}

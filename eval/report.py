"""From a finished run to `eval/results.jsonl` and `eval/report.json`: load what the plan names, measure, judge, write."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from eval.answers import heldout_answers, prompt_tokens
from eval.generate import before_and_after, without_prompt
from eval.inputs import Inputs, check_inputs
from eval.ranks import Processes, compare_together
from eval.weights import load_weights, longest
from governance_hooks.atomic import atomic_directory
from governance_hooks.canonical import dumps, sha256
from governance_hooks.verdict import judge

__all__ = ["evaluate"]

Progress = Callable[[str, int, int], None]
PACKAGES = ("peft", "safetensors", "tokenizers", "torch", "transformers")


@contextmanager
def _threads(count: int | None) -> Iterator[int]:
    """Set the number of compute threads for the block; yield the number in force."""
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)


def _write(run_dir: Path, results: list[dict[str, Any]], report: Mapping[str, Any]) -> dict[str, Any]:
    lines = b"".join(dumps(row) + b"\n" for row in results)
    finished = dict(report) | {"results": sha256(lines)}
    with atomic_directory(run_dir / "eval", replace=True) as folder:  # both files appear together or not at all
        (folder / "results.jsonl").write_bytes(lines)
        (folder / "report.json").write_bytes(dumps(finished))
    return finished


def evaluate(
    run_dir: Path,
    *,
    base: Path,
    build: Path,
    progress: Progress | None = None,
    threads: int | None = None,
    device: str | None = None,
    memory: int | None = None,
    processes: int = 1,
) -> dict[str, Any]:
    """Measure the run in `run_dir` on the build's held-out answers, write `eval/results.jsonl` and `eval/report.json`, return the report.

    Args:
        run_dir: run folder with plan.json, run.json and the trained weights (adapter/ or model/).
        base: folder of the base weights the plan names.
        build: folder of the dataset build the plan names.
        progress: called with label, done, total.
        threads: compute threads; none means torch's own choice.
        device: torch device; none means the GPU if there is one, else the CPU.
        memory: most bytes of main memory for weights; what does not fit is read from the files at each use (`eval.placement`).
        processes: so many of this machine share the held-out answers, a GPU each if there are any (`eval.ranks`); no number changes.

    Raises:
        BadInput: the base, build or weights are not the one the plan and the run record name, or the run is not completed.
    """
    started = time.monotonic()
    where = device or ("cuda" if torch.cuda.is_available() else "cpu")
    with _threads(threads) as used:
        inputs: Inputs = check_inputs(run_dir, base=base, build=build, progress=progress)
        plan = inputs.plan
        together = Processes(processes, run_dir, base, build, where, memory, threads)
        output = plan.training.output
        weights, tokenizer = load_weights(base, run_dir / output, output, device=together.device_of(0), memory=together.memory_of_one)
        answers, skipped = heldout_answers(build, tokenizer, longest=longest(weights.tuned))
        results = compare_together(weights, answers, together, progress=progress)
        count = plan.evaluation.generations_per_language
        generations = before_and_after(
            weights, tokenizer, plan.build.languages, prompt_tokens=lambda text: prompt_tokens(tokenizer, text), per_language=count, progress=progress
        )
    return _write(
        run_dir,
        results,
        {
            "format": "coop.evaluation/v1",
            "run": inputs.record["run"],
            "plan": inputs.plan_digest,
            "build": plan.build.manifest,
            "weights": inputs.record["outputs"],
            "policy": plan.evaluation.model_dump(mode="json"),
            **judge(results, plan.evaluation, languages=plan.build.languages),
            "skipped": skipped,
            "generations": generations,
            "languages_without_prompt": without_prompt(plan.build.languages),
            "device": torch.cuda.get_device_name() if where.startswith("cuda") else where,
            "threads": used,
            "precision": "float32",
            "packages": {name: version(name) for name in PACKAGES},
            "wall_s": round(time.monotonic() - started),
        },
    )

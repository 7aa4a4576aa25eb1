"""From a finished run to `eval/results.jsonl` and `eval/report.json`: load what the plan names, measure, judge, write."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as hub_logging

from eval.answers import heldout_answers, prompt_tokens
from eval.generate import before_and_after, without_prompt
from eval.heldout import compare
from eval.inputs import Inputs, check_inputs
from governance_hooks.atomic import atomic_directory
from governance_hooks.canonical import dumps, sha256
from governance_hooks.errors import BadInput
from governance_hooks.verdict import judge

__all__ = ["evaluate", "load_model"]

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


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the libraries' own bars and their warnings to developers off the user's terminal."""
    shown = hub_logging.is_progress_bar_enabled()
    hub_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        if shown:
            hub_logging.enable_progress_bar()


def load_model(base: Path, adapter: Path, *, device: str = "cpu") -> tuple[Any, Any]:
    """Load base weights in float32 and the LoRA adapter over them; return (PeftModel, tokenizer).

    Only safetensors files are read and no code of the folders runs: a pickle or a remote module could execute anything.
    """
    if not (adapter / "adapter_model.safetensors").is_file():
        raise BadInput(f"{adapter} holds no adapter_model.safetensors", allowed="adapters in safetensors form; pickled weights are never loaded")
    with _quiet():
        tokenizer = AutoTokenizer.from_pretrained(base, local_files_only=True, trust_remote_code=False)
        model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, use_safetensors=True, local_files_only=True, trust_remote_code=False)
        return PeftModel.from_pretrained(model, adapter, is_trainable=False, local_files_only=True).to(device).eval(), tokenizer


def _write(run_dir: Path, results: list[dict[str, Any]], report: Mapping[str, Any]) -> dict[str, Any]:
    lines = b"".join(dumps(row) + b"\n" for row in results)
    finished = dict(report) | {"results": sha256(lines)}
    with atomic_directory(run_dir / "eval", replace=True) as folder:  # both files appear together or not at all
        (folder / "results.jsonl").write_bytes(lines)
        (folder / "report.json").write_bytes(dumps(finished))
    return finished


def evaluate(
    run_dir: Path, *, base: Path, build: Path, progress: Progress | None = None, threads: int | None = None, device: str | None = None
) -> dict[str, Any]:
    """Measure the run in `run_dir` on the build's held-out answers, write `eval/results.jsonl` and `eval/report.json`, return the report.

    Args:
        run_dir: run folder with plan.json, run.json and adapter/.
        base: folder of the base weights the plan names.
        build: folder of the dataset build the plan names.
        progress: called with label, done, total.
        threads: compute threads; none means torch's own choice.
        device: torch device; none means the GPU if there is one, else the CPU.

    Raises:
        BadInput: the base, build or adapter is not the one the plan and the run record name, or the run is not completed.
    """
    started = time.monotonic()
    where = device or ("cuda" if torch.cuda.is_available() else "cpu")
    with _threads(threads) as used:
        inputs: Inputs = check_inputs(run_dir, base=base, build=build, progress=progress)
        plan = inputs.plan
        model, tokenizer = load_model(base, run_dir / "adapter", device=where)
        answers, skipped = heldout_answers(build, tokenizer, longest=_longest(model))
        results = compare(model, answers, progress=progress)
        count = plan.evaluation.generations_per_language
        generations = before_and_after(
            model, tokenizer, plan.build.languages, prompt_tokens=lambda text: prompt_tokens(tokenizer, text), per_language=count, progress=progress
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


def _longest(model: Any) -> int:
    return int(getattr(model.config, "max_position_embeddings", 0) or 2048)

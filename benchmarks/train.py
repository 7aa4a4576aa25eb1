"""Training speed and memory: our path beside Lightning plain, transformers' Trainer and TRL, in one run, on the same rows.

    python benchmarks/train.py [--precision 32-true bf16-true] [--rows FILE] [--threads 1] [--repeats 3] [--profile]
    torchrun --nproc-per-node N benchmarks/train.py --child ours --base DIR --precision bf16-true --attention flash --strategy fsdp2

FILE is JSON lines with inputs, targets and language_code; without it the package chatterbot-corpus is read. Every contestant runs in a process of
its own, one after the other, in as many rounds as --repeats, and reads every row once. Counted are real tokens, never padding, after the
warm-up steps. TRL is no dependency: it is looked for on the import path. All contestants must end with the same loss and the same
number of tokens, or the result says who did not. On one or more GPUs our own path is run by itself, under torchrun: that was never done.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from measure import publish
from train_contestants import CONTESTANTS, Meter, contest
from train_rows import read_rows, tokenised

SAME = {"32-true": 1e-3, "bf16-true": 2e-2}
"""Largest difference of the mean loss, nats a token, that rounding may cause."""
MARK = "RESULT "


def parse(words: list[str] | None = None) -> argparse.Namespace:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--base", type=Path, help="folder of base weights; without it the demo's")
    asked.add_argument("--rows", type=Path)
    asked.add_argument("--languages", nargs="*", default=["eng", "fra", "hin", "ind", "ita", "por", "spa", "fas"])
    asked.add_argument("--count", type=int, default=400, help="rows read by every contestant, drawn with a fixed seed")
    asked.add_argument("--precision", nargs="+", choices=["32-true", "bf16-true"], default=["32-true", "bf16-true"])
    asked.add_argument("--threads", type=int, default=1)
    asked.add_argument("--repeats", type=int, default=3)
    asked.add_argument("--warmup", type=int, default=2, help="optimizer steps that are not timed")
    asked.add_argument("--sequence-tokens", type=int, default=512)
    asked.add_argument("--sequences-per-step", type=int, default=4)
    asked.add_argument("--sequences-per-forward", type=int, default=1)
    asked.add_argument("--batch", type=int, default=8, help="peers: rows in a forward pass (8 is the default of transformers)")
    asked.add_argument("--accumulate", type=int, default=4, help="peers: forward passes in an optimizer step")
    asked.add_argument("--attention", default="sdpa")
    asked.add_argument("--strategy", default="single")
    asked.add_argument("--compile", action="store_true", help="torch.compile in ours")
    asked.add_argument("--only", nargs="*", help=f"of {', '.join(CONTESTANTS)}")
    asked.add_argument("--profile", action="store_true", help="say where our time goes and what the products alone would take")
    asked.add_argument("--peak-tflops", type=float, help="dense bfloat16 peak of the GPU, for MFU, where its name is not known")
    asked.add_argument("--name", default="train", help="name of the result below benchmarks/results")
    asked.add_argument("--child", help=argparse.SUPPRESS)
    return asked.parse_args(words)


def child(given: argparse.Namespace) -> dict[str, Any]:
    """Run one contestant in this process."""
    import torch

    from data_pipeline.tokens.tokens import Tokens
    from train.base_weights import cached_base
    from train.console import quiet_libraries
    from train.model import DTYPES

    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    torch.set_num_threads(given.threads)
    given.base, given.precision = given.base or cached_base().folder, given.precision[0]
    rows = read_rows(given.rows, given.languages)
    random.Random(0).shuffle(rows)
    with tempfile.TemporaryDirectory() as place, quiet_libraries():
        tokens: Tokens
        with tokenised(rows[: given.count], given.base, given.sequence_tokens, Path(place)) as tokens:
            meter = Meter(given.warmup)
            if not given.profile:
                return CONTESTANTS[given.child](given, tokens, meter, Path(place)) | _mfu(given, meter)
            from train_contestants import ours
            from train_profile import Profile, matmul_bound

            from train.model import load_model

            record = Profile(given.warmup)
            ran = ours(given, tokens, meter, Path(place), governed=True, around=record)
            model = load_model(given.base, _plan(given))
            config = model.causal.config
            device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
            wide = given.sequence_tokens * given.sequences_per_forward
            shares = {"supervised": ran["supervised"] / ran["tokens"], "computed": ran["computed"] / ran["tokens"]}
            limit = matmul_bound(model, config.vocab_size, config.hidden_size, wide, shares, DTYPES[given.precision], device)
            return {"profile": record.table(), "matmul_bound": limit}


def _plan(given: argparse.Namespace) -> Any:
    from train_contestants import training_of

    return training_of(given)


def _mfu(given: argparse.Namespace, meter: Meter) -> dict[str, Any]:
    """Return the MFU on a GPU whose peak is known: 4 FLOPs a token and frozen weight, 6 for adapters, 4 for the head of learned tokens."""
    import torch

    if not torch.cuda.is_available() or not given.child.startswith("ours"):
        return {}
    from train_profile import step_flops

    from train.mfu import peak_flops
    from train.model import load_model

    name = torch.cuda.get_device_name()
    peak = given.peak_tflops * 1e12 if given.peak_tflops else peak_flops(name, _plan(given))
    with torch.device("meta"):
        model = load_model(given.base, _plan(given))
    config = model.causal.config
    flops = step_flops(model, config.vocab_size, config.hidden_size, meter.computed, meter.supervised) / meter.tokens
    rate = meter.result()["tokens_per_s"]
    return {
        "gpu": name,
        "tflops": round(rate * flops / 1e12, 1),
        "mfu": round(rate * flops / peak, 4) if peak else None,
        "mfu_counts": "4N frozen + 6n adapters a computed token, 4VH a learned token; no attention, no recomputation; dense bfloat16 peak",
    }


def measured(given: argparse.Namespace, name: str, precision: str, *, profile: bool = False) -> dict[str, Any]:
    """Run one contestant in a new process and return what it measured, or why it could not."""
    words = [word for word in sys.argv[1:] if word != "--profile"]
    command = [sys.executable, __file__, *words, "--child", name, "--precision", precision, *(["--profile"] if profile else [])]
    environment = os.environ | {"OMP_NUM_THREADS": str(given.threads), "MKL_NUM_THREADS": str(given.threads), "TOKENIZERS_PARALLELISM": "false"}
    ran = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    found = [line for line in ran.stdout.splitlines() if line.startswith(MARK)]
    if not found:
        last = [line for line in ran.stderr.strip().splitlines() if line.strip()][-1:]
        return {"failed": (last or ["no output"])[0][:300]}
    return json.loads(found[-1][len(MARK) :])


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the median of each number over the rounds, and the lowest and highest rate."""
    good = [run for run in runs if "tokens_per_s" in run]
    if not good:
        return runs[0]
    middle = {key: statistics.median(run[key] for run in good) if isinstance(value, int | float) else value for key, value in good[0].items()}
    return middle | {"range_tokens_per_s": [min(run["tokens_per_s"] for run in good), max(run["tokens_per_s"] for run in good)]}


def compared(results: dict[str, dict[str, Any]], precision: str) -> dict[str, Any]:
    """Return our rate over each peer's, our memory over theirs, and who did not train on the same."""
    ours = results.get("ours", {})
    peers = {name: result for name, result in results.items() if "tokens_per_s" in result and not name.startswith("ours")}
    if "tokens_per_s" not in ours or not peers:
        return {}
    same = {
        name: abs(result["loss"] - ours["loss"]) <= SAME[precision] and (result["tokens"], result["supervised"]) == (ours["tokens"], ours["supervised"])
        for name, result in peers.items()
    }
    out: dict[str, Any] = {
        "rate_over": {name: round(ours["tokens_per_s"] / result["tokens_per_s"], 2) for name, result in peers.items()},
        "cpu_rate_over": {name: round(ours["tokens_per_cpu_s"] / result["tokens_per_cpu_s"], 2) for name, result in peers.items()},
        "memory_over": {name: round(ours["peak_mib"] / result["peak_mib"], 2) for name, result in peers.items()},
        "same_rows_and_loss": same,
    }
    trl = {name: result["tokens_per_s"] for name, result in peers.items() if name.startswith("trl")}
    if trl:
        out["best_trl"] = max(trl, key=lambda name: trl[name])
    return out


def main(given: argparse.Namespace) -> None:
    results: dict[str, Any] = {
        "threads": given.threads,
        "load_average_at_start": round(os.getloadavg()[0], 1),
        "rows": "chatterbot-corpus" if given.rows is None else given.rows.name,
        "settings": {key: getattr(given, key) for key in ("count", "sequence_tokens", "sequences_per_step", "sequences_per_forward", "batch", "accumulate")},
    }
    for precision in given.precision:
        names = [name for name in contest(precision) if given.only is None or name in given.only]
        runs: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
        for _ in range(given.repeats):
            for name in names:
                runs[name].append(measured(given, name, precision))
                print(precision, name, runs[name][-1], file=sys.stderr, flush=True)
        found = {name: summary(of) for name, of in runs.items()}
        results[precision] = {"contestants": found, "compared": compared(found, precision)}
        if given.profile:
            seen = measured(given, "ours", precision, profile=True)
            if "matmul_bound" in seen and "tokens_per_cpu_s" in found.get("ours", {}):
                # On a CPU in thread seconds, so that other work on the machine does not count.
                seen["share_of_bound"] = round(found["ours"]["tokens_per_cpu_s"] * given.threads / seen["matmul_bound"]["tokens_per_s"], 3)
            results[precision] |= seen
    publish(given.name, ["torch", "transformers", "peft", "pytorch-lightning", "accelerate"], results)


if __name__ == "__main__":
    given = parse()
    if given.child is None and "TORCHELASTIC_RUN_ID" in os.environ:
        given.child = (given.only or ["ours"])[0]  # torchrun has made the processes already
    if given.child:
        made = child(given)
        if os.environ.get("RANK", "0") == "0":
            print(MARK + json.dumps(made), flush=True)
    else:
        main(given)

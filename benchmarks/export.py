"""Merging an adapter: coop.merge/v1 against PEFT's merge_and_unload with save_pretrained, time and peak memory, each in a process of its own.

    python benchmarks/export.py BASE ADAPTER

Both start from the same folders and end with safetensors on disk; neither compares anything. Ratios are of one run.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from measure import publish

sys.path.insert(0, str(Path(__file__).parent.parent))  # before this folder, whose train.py is no package


def ours(base: Path, adapter: Path, out: Path, threads: int) -> None:
    from train.export.merge import Origin, merge

    merge(base, adapter, out, Origin("benchmark"), check=False, threads=threads)


def theirs(base: Path, adapter: Path, out: Path, threads: int) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(threads)
    model = AutoModelForCausalLM.from_pretrained(base, dtype="auto", local_files_only=True)
    merged: Any = PeftModel.from_pretrained(model, adapter).merge_and_unload()
    merged.save_pretrained(out)
    AutoTokenizer.from_pretrained(base, local_files_only=True).save_pretrained(out)


def one(which: str, base: Path, adapter: Path, threads: int) -> None:
    # Imports are not counted; both pay for them alike.
    import peft  # noqa: F401

    import train.export.merge  # noqa: F401

    idle = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory() as folder:
        began, before = time.perf_counter(), time.process_time()
        {"ours": ours, "peft": theirs}[which](base, adapter, Path(folder) / "out", threads)
        spent, cpu = time.perf_counter() - began, time.process_time() - before
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"wall_s": spent, "cpu_s": cpu, "peak_mb": peak / 1e3, "over_imports_mb": (peak - idle) / 1e3}))


def measured(which: str, base: Path, adapter: Path, threads: int, repeat: int = 1) -> dict[str, float]:
    command = [sys.executable, __file__, "--one", which, str(base), str(adapter), str(threads)]
    runs = [json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1]) for _ in range(repeat)]
    return {key: round(min(run[key] for run in runs), 2) for key in runs[0]}


def main() -> None:
    base, adapter = Path(sys.argv[1]), Path(sys.argv[2])
    results: dict[str, Any] = {}
    for threads in (1, 2):
        found = {which: measured(which, base, adapter, threads) for which in ("ours", "peft")}
        found["ours / peft"] = {key: round(found["ours"][key] / found["peft"][key], 2) for key in found["ours"]}
        results[f"{threads} threads"] = found
    publish("export", ["torch", "transformers", "peft", "safetensors", "numpy"], {"base_bytes": (base / "model.safetensors").stat().st_size, **results})


if __name__ == "__main__":
    if sys.argv[1] == "--one":
        one(sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]), int(sys.argv[5]))
    else:
        main()

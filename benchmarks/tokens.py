"""The tokenised artefact: speed against `datasets.map` with the same tokenizer, in one run, and memory from 1e5 to 1e6 rows.

    python benchmarks/tokens.py ROWS.parquet [--rows 100000] [--large 1000000]

ROWS.parquet has columns record_id, inputs, targets, language_code; it is no part of the project. More rows than it has are made by
numbering its prompts. Each contender runs in a process of its own, with as many workers; loading the tokenizer and starting workers
count. Reading the build does not: rows come from memory or, for the contenders, from a Parquet file. The tokenizer is that of the demo's base weights.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import pyarrow.parquet as pq
from measure import publish

PROCESSES = len(os.sched_getaffinity(0))
LONGEST = 512


def source(path: Path, count: int) -> Iterator[tuple[str, str, str, str]]:
    """Yield id, prompt, answer, language in the order of ids."""
    table = pq.read_table(path, columns=["inputs", "targets", "language_code"])
    rows = table.num_rows
    for start in range(0, count, 8192):
        picked = table.take([n % rows for n in range(start, min(start + 8192, count))]).to_pydict()
        for n, (prompt, answer, language) in enumerate(zip(*picked.values(), strict=True), start):
            lap = n // rows
            yield f"r{n:08d}", f"{prompt} {lap}" if lap else prompt, answer, language


def ours(path: Path, base: Path, count: int) -> dict[str, Any]:
    from types import SimpleNamespace

    from data_pipeline.reader import Row
    from data_pipeline.tokens import make
    from data_pipeline.tokens.mixture import mixture
    from data_pipeline.tokens.schedule import Schedule
    from data_pipeline.tokens.tokens import open_tokens
    from governance_hooks.plan import Mix
    from governance_hooks.training import Training

    def rows(_build: object, split: str) -> Iterator[Row]:
        for n, (record, prompt, answer, language) in enumerate(source(path, count)):
            if (n % 10 == 0) == (split == "heldout"):
                yield Row(record, prompt.strip(), answer.strip(), language, ("m-1",))

    make.rows = rows
    with tempfile.TemporaryDirectory() as folder:
        build: Any = SimpleNamespace(folder=Path(folder) / "build", digest="sha256:" + "0" * 64, manifest={"records": count})
        began = time.perf_counter()
        tokens = make.make_tokens(build, base, sequence_tokens=LONGEST, processes=PROCESSES)
        wall = time.perf_counter() - began
        making = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024
        began = time.perf_counter()
        open_tokens(tokens.folder)
        opened = time.perf_counter() - began
        began = time.perf_counter()
        counts = tokens.train_counts
        schedule = Schedule(tokens.train, mixture(counts, Mix(strategy="unimax", max_epochs=4), epochs=1), Training(sequence_tokens=LONGEST))
        packed = time.perf_counter() - began
        filled = sum(len(sample) for sample in (tokens.train[n].ids for step in list(schedule.after(0))[:50] for s in step.sequences for n in s))
        total = sum(both.train.tokens + both.heldout.tokens for both in tokens.description.languages.values())
        size = (tokens.folder / "tokens.arrow").stat().st_size
    return {
        "tokens": total,
        "wall_s": round(wall, 1),
        "tokens_per_s": round(total / wall),
        "making_peak_mb_of_the_largest_process": round(making),
        "peak_mb_with_schedule": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "open_and_check_s": round(opened, 1),
        "unimax_schedule_s": round(packed, 1),
        "filled_first_50_steps": round(filled / (50 * 4 * LONGEST), 3),
        "arrow_bytes_per_token": round(size / total, 2),
    }


def theirs(path: Path, base: Path, count: int, mask: bool) -> dict[str, Any]:
    """`datasets.map`: with TRL's way of masking (prompt, then whole conversation, row by row), or batched and without any mask."""
    from datasets import Dataset, disable_caching

    disable_caching()
    began = time.perf_counter()
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base, local_files_only=True)
    loading = time.perf_counter() - began  # ours has to load it too

    def masked(row: dict[str, str]) -> dict[str, list[int]]:
        messages = [{"role": "user", "content": row["inputs"]}, {"role": "assistant", "content": row["targets"]}]
        prompt = tokenizer.apply_chat_template(messages[:1], tokenize=True, add_generation_prompt=True, return_dict=False)
        ids = tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False)
        return {"input_ids": ids, "completion_mask": [0] * len(prompt) + [1] * (len(ids) - len(prompt))}

    def plain(rows: dict[str, list[str]]) -> dict[str, list[list[int]]]:
        conversations = [[{"role": "user", "content": a}, {"role": "assistant", "content": b}] for a, b in zip(rows["inputs"], rows["targets"], strict=True)]
        texts = tokenizer.apply_chat_template(conversations, tokenize=False)
        return {"input_ids": tokenizer(texts, add_special_tokens=False, return_attention_mask=False)["input_ids"]}

    with tempfile.TemporaryDirectory() as cache:
        names = ("record", "inputs", "targets", "language")
        columns = dict(zip(names, map(list, zip(*source(path, count), strict=True)), strict=True))
        Dataset.from_dict(columns).to_parquet(Path(cache) / "rows.parquet")
        rows = Dataset.from_parquet(str(Path(cache) / "rows.parquet"), cache_dir=cache)
        began = time.perf_counter()
        made = rows.map(masked if mask else plain, batched=not mask, num_proc=PROCESSES, remove_columns=["inputs", "targets"])
        wall = loading + time.perf_counter() - began
        total = sum(len(ids) for batch in made.select_columns("input_ids").iter(8192) for ids in batch["input_ids"])
    return {"tokens": total, "wall_s": round(wall, 1), "tokens_per_s": round(total / wall)}


def alone(kind: str, path: Path, base: Path, count: int) -> dict[str, Any]:
    """Run one contender in a fresh process."""
    done = subprocess.run([sys.executable, __file__, str(path), "--one", kind, "--base", str(base), "--rows", str(count)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("path", type=Path)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--large", type=int, default=1_000_000)
    parser.add_argument("--base", type=Path)
    parser.add_argument("--one", choices=["ours", "masked", "plain"])
    given = parser.parse_args()
    if given.one:
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
        made = ours(given.path, given.base, given.rows) if given.one == "ours" else theirs(given.path, given.base, given.rows, given.one == "masked")
        print(json.dumps(made))
        return
    from train.base_weights import cached_base

    base = cached_base().folder
    results = {kind: alone(kind, given.path, base, given.rows) for kind in ("ours", "masked", "plain")}
    speed = {kind: result["tokens_per_s"] for kind, result in results.items()}
    publish(
        "tokens",
        ["datasets", "numpy", "pyarrow", "tokenizers", "transformers"],
        {
            "processes": PROCESSES,
            "rows": given.rows,
            "ours": results["ours"],
            "datasets_map_masked_as_trl": results["masked"],
            "datasets_map_batched_without_mask": results["plain"],
            "ratio_to_masked": round(speed["ours"] / speed["masked"], 2),
            "ratio_to_plain": round(speed["ours"] / speed["plain"], 2),
            "large": {"rows": given.large, **alone("ours", given.path, base, given.large)} if given.large else None,
        },
    )


if __name__ == "__main__":
    main()

"""Greedy answers of the real small model to real prompts, one at a time and several at a time: how fast, with how much memory, and whether one answer differs.

    python benchmarks/answers.py FOLDER [--prompts members|mixed] [--tokens 32] [--batches 1 8]

FOLDER holds `contributions.jsonl` and `eval_mgsm.jsonl`; it is not part of the project. 32 prompts, one of each language in turn: members' questions, or half of them
and half long ones, arithmetic of MGSM. One thread, float32. Seconds of the processor are what to compare where other work runs beside.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections import defaultdict
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch
from measure import publish
from transformers import AutoModelForCausalLM, AutoTokenizer

sys.path.insert(0, str(Path(__file__).parent.parent))

from eval.answers import prompt_tokens
from eval.generate import greedy
from train.base_weights import cached_base

BATCHES = (1, 2, 4, 8, 16, 32)
PROMPTS = 32


def in_turn(rows: list[dict[str, Any]], language: str, text: str, order: str, count: int) -> list[str]:
    """Return so many texts, one of each language in turn."""
    by_language: dict[str, list[str]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: str(row[order])):
        by_language[row[language]].append(row[text])
    return [one for turn in zip_longest(*(by_language[name] for name in sorted(by_language))) for one in turn if one][:count]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--prompts", choices=("members", "mixed"), default="members")
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES, help="the first is what the others are compared with")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    base = cached_base().folder
    tokenizer = AutoTokenizer.from_pretrained(base, local_files_only=True)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, local_files_only=True)
    given, sums = ([json.loads(line) for line in (asked.folder / name).open()] for name in ("contributions.jsonl", "eval_mgsm.jsonl"))
    ours = PROMPTS if asked.prompts == "members" else PROMPTS // 2
    texts = in_turn(given, "language_code", "inputs", "record_id", ours) + in_turn(sums, "language", "question", "id", PROMPTS - ours)
    prompts = [prompt_tokens(tokenizer, text) for text in texts]
    greedy(model, tokenizer, prompts[:1], max_new_tokens=2)
    rows: list[dict[str, Any]] = []
    alone: list[str] = []
    for batch in asked.batches:
        wall, cpu = time.perf_counter(), time.process_time()
        answers = greedy(model, tokenizer, prompts, max_new_tokens=asked.tokens, batch=batch)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        alone = alone or answers
        rows.append(
            {
                "batch": batch,
                "cpu_s": round(cpu, 1),
                "wall_s": round(wall, 1),
                "times_as_fast_by_cpu": round(rows[0]["cpu_s"] / cpu, 2) if rows else 1.0,
                "peak_mib_so_far": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
                "answers_that_differ": sum(one != other for one, other in zip(answers, alone, strict=True)),
            }
        )
        print(rows[-1], file=sys.stderr, flush=True)
    lengths = sorted(map(len, prompts))
    facts = {"prompts": len(prompts), "prompt_tokens": {"shortest": lengths[0], "median": lengths[len(lengths) // 2], "longest": lengths[-1]}}
    publish(f"answers_{asked.prompts}", ["torch", "transformers"], {"base": base.name, "threads": 1, **facts, "new_tokens": asked.tokens, "batches": rows})


if __name__ == "__main__":
    main()

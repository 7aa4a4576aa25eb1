"""The work of a build's clean, exact and near stages as others would do it; run by `build.py` with a Python that has these packages.

    python build_peers.py datatrove|datasets CORPUS.parquet OUT.json JOBS

Both clean as we do (NFC, white space), take rows for copies by the character 5-grams of prompt and answer, and do not compare texts once
their MinHash buckets met, which is what these tools do.
"""

from __future__ import annotations

import gzip
import json
import shutil
import sys
import tempfile
import time
import unicodedata
from pathlib import Path
from typing import Any

JOINT = "\n\x01\n"


def clean(text: str) -> str:
    lines = unicodedata.normalize("NFC", text).replace("\r\n", "\n").split("\n")
    return "\n".join(line.rstrip(" \t") for line in lines).strip()


def datatrove(corpus: Path, jobs: int) -> set[str]:
    import pyarrow.parquet as pq
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
    from datatrove.pipeline.dedup.minhash import MinhashConfig
    from datatrove.pipeline.formatters.base import BaseFormatter
    from datatrove.pipeline.readers import ParquetReader
    from datatrove.pipeline.writers import JsonlWriter
    from datatrove.utils.hashing import HashConfig
    from datatrove.utils.text import TextNormConfig
    from datatrove.utils.word_tokenizers import WordTokenizer
    from loguru import logger

    class Characters(WordTokenizer):
        def word_tokenize(self, text: str) -> list[str]:
            return list(text.ljust(5))

        def sent_tokenize(self, text: str) -> list[str]:
            return [text]

        def span_tokenize(self, text: str) -> list[tuple[int, int]]:
            return [(0, len(text))]

    class Clean(BaseFormatter):
        name = "clean"

        def format(self, text: str) -> str:
            return "\n".join(clean(side) for side in text.split(JOINT))

    logger.remove()
    logger.add = lambda *_args, **_options: 0
    work = Path(tempfile.mkdtemp(dir=corpus.parent))
    table, parts = pq.read_table(corpus, columns=["record", "inputs", "targets"]), 2 * jobs
    (work / "in").mkdir()
    for part in range(parts):
        start, stop = part * table.num_rows // parts, (part + 1) * table.num_rows // parts
        pq.write_table(table.slice(start, stop - start), work / "in" / f"{part:02}.parquet")

    def adapter(_self: Any, data: dict[str, Any], _path: str, _index: int) -> dict[str, Any]:
        return {"text": data["inputs"] + JOINT + data["targets"], "id": data["record"], "metadata": {}}

    def reader() -> ParquetReader:
        return ParquetReader(str(work / "in"), adapter=adapter)

    def run(name: str, pipeline: list[Any], tasks: int) -> None:
        LocalPipelineExecutor(pipeline=pipeline, tasks=tasks, workers=jobs, start_method="fork", logging_dir=str(work / f"log-{name}")).run()

    config = MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8, hash_config=HashConfig(precision=32), norm_config=TextNormConfig(norm_numbers=False))
    run("signatures", [reader(), Clean(), MinhashDedupSignature(str(work / "sig"), config=config, language=Characters())], parts)
    run("buckets", [MinhashDedupBuckets(str(work / "sig"), str(work / "buckets"), config=config)], 14)
    run("cluster", [MinhashDedupCluster(str(work / "buckets"), str(work / "remove"), config=config)], 1)
    removed = JsonlWriter(str(work / "removed"))
    run("filter", [reader(), Clean(), MinhashDedupFilter(str(work / "remove"), exclusion_writer=removed), JsonlWriter(str(work / "out"))], parts)
    found = set()
    for path in (work / "removed").rglob("*.gz"):
        with gzip.open(path) as file:
            found |= {json.loads(line)["id"] for line in file}
    shutil.rmtree(work)
    return found


def signature(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
    from datasketch import MinHash

    texts = [f"{clean(a)}\n{clean(b)}".ljust(5) for a, b in zip(batch["inputs"], batch["targets"], strict=True)]
    made = []
    for text in texts:
        one = MinHash(num_perm=110, seed=1)
        one.update_batch([text[start : start + 5].encode() for start in range(len(text) - 4)])
        made.append(one.hashvalues.tolist())
    return {"text": texts, "signature": made}


def datasets(corpus: Path, jobs: int) -> set[str]:
    import numpy as np
    from datasets import Dataset, disable_progress_bars
    from datasketch import MinHash, MinHashLSH

    disable_progress_bars()
    work = Path(tempfile.mkdtemp(dir=corpus.parent))
    rows = Dataset.from_parquet(str(corpus), columns=["record", "language", "inputs", "targets"], cache_dir=str(work))
    mapped = rows.map(signature, batched=True, num_proc=jobs, remove_columns=["inputs", "targets"])
    seen: set[tuple[str, str]] = set()
    buckets = {}
    removed = set()
    for row in mapped:
        key = (row["language"], row["text"].casefold())
        if key in seen:
            removed.add(row["record"])
            continue
        seen.add(key)
        found = buckets.setdefault(row["language"], MinHashLSH(num_perm=110, params=(22, 5)))
        made = MinHash(num_perm=110, seed=1, hashvalues=np.array(row["signature"], dtype=np.uint32), scheme="affine32")
        if found.query(made):
            removed.add(row["record"])
        else:
            found.insert(row["record"], made, check_duplication=False)
    shutil.rmtree(work)
    return removed


if __name__ == "__main__":
    peer, corpus, out, jobs = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
    began = time.perf_counter()
    removed = {"datatrove": datatrove, "datasets": datasets}[peer](corpus, jobs)
    wall = time.perf_counter() - began
    import importlib.metadata

    names = {"datatrove": ["datatrove"], "datasets": ["datasets", "datasketch"]}[peer]
    versions = {name: importlib.metadata.version(name) for name in names}
    out.write_text(json.dumps({"seconds": wall, "removed": sorted(removed), "versions": versions}))

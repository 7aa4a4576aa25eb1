"""Merges an adapter into its base: one block of rows at a time, in the base's own shards, and nothing is published that does not say the same.

base shards ──► rows ──► coop.merge/v1 ──► rows ──► same shards ──► parity, load test ──► folder appears
                           ▲
adapter ── read as hostile ┘
"""

from __future__ import annotations

import gc
import json
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from governance_hooks.atomic import atomic_directory
from governance_hooks.canonical import dumps, loads
from governance_hooks.errors import BadInput, CoopError
from governance_hooks.inventory import inventory, inventory_digest
from train.base_weights import BaseWeights, read_base
from train.export.adapter import Adapter, read_adapter
from train.export.arithmetic import CHUNK, RULE, LowRank, check_machine, merge_rows
from train.export.check import check_merged
from train.export.shards import INDEX, ShardWriter, Weight, blocks, layout

__all__ = ["EXPORT", "Origin", "merge", "read_export", "write_merged"]

Progress = Callable[[str, int, int], None]
EXPORT = "export.json"
COPIED = (
    "LICENSE", "LICENSE.md", "LICENSE.txt", "NOTICE", "NOTICE.md", "NOTICE.txt", "USE_POLICY.md",
    "added_tokens.json", "chat_template.jinja", "generation_config.json", "merges.txt", "special_tokens_map.json",
    "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json",
)  # fmt: skip
"""Files of a base that belong to the model and are copied as they are."""
_LONGEST_COPY = 100_000_000
_SPARE_BYTES = 1_000_000_000
"""Room for the logits of the comparison."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an adapter comes from, as far as its giver can show it."""

    name: str
    licence: str | None = None
    """Licence members gave the resulting weights; none where no plan says one."""
    run: str | None = None
    plan: str | None = None
    base: str | None = None
    """Digest the base weights must have."""
    build: Path | None = None
    """Build whose held-out rows the models are compared on; without it, a few fixed texts."""


def _config(base: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((base / "config.json").read_bytes())  # read_base has parsed it
    if "quantization_config" in document:
        raise BadInput(f"{base / 'config.json'}: the base is quantised", allowed="the weights it was quantised from")
    document.pop("_name_or_path", None)
    return document


def _write_json(path: Path, document: dict[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def _merge_weight(file: Any, weight: Weight, low: LowRank | None, writer: ShardWriter, pool: ThreadPoolExecutor, chunk: int) -> None:
    """Write one weight, changed by `low` or as it is."""
    source = file.get_slice(weight.name) if weight.shape else None

    def work(span: tuple[int, int]) -> None:
        first, stop = span
        rows = source[first:stop] if source is not None else file.get_tensor(weight.name)
        if not torch.isfinite(rows).all():
            raise BadInput(f"{weight.name} of the base holds a number that is not finite", next="do not use these weights")
        writer.write(weight.name, first, rows if low is None else merge_rows(rows, low, first, rows.dtype))

    list(pool.map(work, blocks(weight, chunk)))


def write_merged(
    base: Path, weights: dict[str, Weight], adapter: Adapter, out: Path, *, threads: int, chunk: int = CHUNK, progress: Progress | None = None
) -> None:
    """Write the merged shards and their index into the folder `out`; memory is that of a few blocks and of one module's adapter.

    Raises:
        BadInput: a number of base, adapter or result is not finite.
    """
    total, done = sum(weight.size for weight in weights.values()), 0
    with ThreadPoolExecutor(threads) as pool:
        for shard in sorted({weight.shard for weight in weights.values()}):
            here = [weight for weight in weights.values() if weight.shard == shard]
            with safe_open(base / shard, framework="pt") as file, ShardWriter(out / shard, here) as writer:
                for weight in here:
                    module = weight.name.removesuffix(".weight")
                    _merge_weight(file, weight, adapter.load(module) if module in adapter.modules else None, writer, pool, chunk)
                    done += weight.size
                    if progress is not None:
                        progress("merging, bytes", done, total)
    if (base / INDEX).is_file():
        _write_json(out / INDEX, {"metadata": {"total_size": total}, "weight_map": {name: weight.shard for name, weight in weights.items()}})


def _copy_rest(base: Path, config: dict[str, Any], out: Path) -> None:
    _write_json(out / "config.json", config)
    for name in COPIED:
        source = base / name
        if source.is_file():
            if source.stat().st_size > _LONGEST_COPY:
                raise BadInput(f"{source} is too long", value=source.stat().st_size, allowed=f"{_LONGEST_COPY} bytes")
            (out / name).write_bytes(source.read_bytes())


def _require_room(out: Path, weights: dict[str, Weight]) -> None:
    parent = next(folder for folder in (out.parent, *out.parent.parents) if folder.is_dir())
    need, free = sum(weight.size for weight in weights.values()) + _SPARE_BYTES, shutil.disk_usage(parent).free
    if free < need:
        raise CoopError(
            f"there is no room for {out}", value=f"{free} bytes free", allowed=f"at least {need}", next="free space, or give another folder with --out"
        )


def merge(
    base: Path,
    adapter: Path,
    out: Path,
    origin: Origin,
    *,
    rslora: bool = False,
    check: bool = True,
    threads: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write the merged model to the new folder `out`, whole or not at all, and return its record.

    Args:
        base: folder of the base weights.
        adapter: folder of the adapter.
        out: folder to make.
        origin: what is known of the adapter.
        rslora: merge an rsLoRA adapter, whose scale is alpha / sqrt(rank).
        check: compare merged and adapter, and load the result; without it nothing is known of either.
        threads: threads of the merge; the bytes are the same for any number.
        progress: called with label, done, total.

    Raises:
        BadInput: base or adapter cannot be accepted, or hold numbers that are not finite.
        CoopError: the folder exists, there is no room, or the merged model is not the adapter's.
    """
    if out.exists():
        raise CoopError(f"{out} exists already", next="remove it, or give another folder with --out")
    check_machine()
    found: BaseWeights = read_base(base)
    if origin.base not in (None, found.digest):
        raise BadInput(f"{base} is not the base the adapter was trained on", value=found.digest, allowed=origin.base, next="give its folder with --base")
    config, weights = _config(base), layout(base)
    tied = bool(config.get("tie_word_embeddings", False))
    read = read_adapter(adapter, weights, base_name=found.name, tied=tied, rslora=rslora)
    _require_room(out, weights)
    with atomic_directory(out) as folder:
        write_merged(base, weights, read, folder, threads=threads or os.cpu_count() or 1, progress=progress)
        _copy_rest(base, config, folder)
        gc.collect()
        parity = check_merged(base, read, folder, weights, build=origin.build, progress=progress) if check else None
        outputs = inventory(folder)
        record = {
            "format": "coop.export/v1",
            "rule": RULE,
            "name": origin.name,
            "run": origin.run,
            "plan": origin.plan,
            "base": {"name": found.name, "licence": found.licence, "digest": found.digest},
            "adapter": {
                "digest": inventory_digest(read.files),
                "files": read.files,
                "rank": read.rank,
                "scale": read.scale,
                "dora": read.dora,
                "rslora": read.rslora,
            },
            "licence": origin.licence,
            "weights": inventory_digest(outputs),
            "outputs": outputs,
            "parity": parity,
        }
        (folder / EXPORT).write_bytes(dumps(record))
    return record


def read_export(folder: Path) -> dict[str, Any]:
    """Return export.json of a merged folder whose files are still those it names; raise BadInput for any other folder."""
    path = folder / EXPORT
    if path.is_symlink() or not path.is_file():
        raise BadInput(f"{folder} holds no {EXPORT}", allowed="a folder made by coop weights merge", next="coop weights merge RUN")
    document = loads(path.read_bytes(), floats=True, source=str(path))
    if not isinstance(document, dict) or document.get("format") != "coop.export/v1" or not isinstance(document.get("outputs"), list):
        raise BadInput(f"{path} is no record of an export", allowed="format coop.export/v1")
    outputs = inventory(folder, skip=[EXPORT])
    if document["outputs"] != outputs or document.get("weights") != inventory_digest(outputs):
        changed = sorted({str(entry.get("path")) for entry in [*document["outputs"], *outputs] if entry not in document["outputs"] or entry not in outputs})
        raise BadInput(f"{folder} differs from its {EXPORT}", value=changed, next="merge again")
    return document

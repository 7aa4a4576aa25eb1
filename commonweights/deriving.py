"""Makes what loads alone from the weights of a run: merged safetensors and GGUF files, laid out as a release holds them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from commonweights.adapters import Finished
from commonweights.progress import Progress
from governance_hooks.atomic import PREFIX
from governance_hooks.inventory import inventory, inventory_digest
from model_card.layout import MERGE

__all__ = ["KINDS", "Check", "derived_weights", "make_derived"]

KINDS: tuple[Literal["f16", "q8_0"], ...] = ("f16", "q8_0")
Check = Literal["heldout", "fixed", "quick", "none"]
"""What merged and GGUF weights are compared on: held-out rows of the build, a few fixed texts, these for the merged ones alone (reading a GGUF file back
takes minutes), or nothing."""


def make_derived(
    finished: Finished, base: Path, out: Path, name: str, *, check: Check = "heldout", threads: int | None = None, show: Progress | None = None
) -> list[dict[str, Any]]:
    """Write merged weights and GGUF files of a run below the folder `out`, as a release named `name` holds them, and return their records.

    A run of method full has nothing to merge: only the GGUF files are made, from what it wrote.

    Raises:
        BadInput, CoopError: base or adapter cannot be accepted, or what was made does not answer as the adapter does.
    """
    from train.export.gguf_file import Source, write_gguf
    from train.export.merge import EXPORT, merge

    build = finished.build if check == "heldout" else None
    plan, records = finished.plan, []
    (out / "gguf").mkdir(parents=True)
    (out / "derived").mkdir()
    if plan.training.method == "full":
        folder = finished.folder / "model"
        digest = inventory_digest(inventory(folder))
    else:
        origin = dataclasses.replace(finished.origin(), name=name, build=build)
        folder = out / "merged"
        records.append(merge(base, finished.folder / "adapter", folder, origin, check=check != "none", threads=threads, progress=show))
        (folder / EXPORT).rename(out / MERGE)
        digest = records[0]["weights"]
    for kind in KINDS:
        path = out / "gguf" / f"{name}-{kind}.gguf"
        source = Source(folder, name, plan.use.licence, digest, plan.base.name)
        records.append(write_gguf(source, path, kind, build=build, check=check in ("heldout", "fixed"), progress=show))
        path.with_suffix(".json").rename(out / "derived" / f"{name}-{kind}.json")
    if plan.training.method != "full":
        for path in folder.iterdir():
            path.rename(out / path.name)
        folder.rmdir()
    return records


@contextmanager
def derived_weights(
    finished: Finished, base: Path, beside: Path, name: str, *, check: Check = "heldout", threads: int | None = None, show: Progress | None = None
) -> Iterator[Path]:
    """Yield a folder with the derived weights of a run, made on the file system of `beside`, and remove what is left of it after the block."""
    beside.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=PREFIX, dir=beside) as temporary:
        folder = Path(temporary) / "derived-weights"
        make_derived(finished, base, folder, name, check=check, threads=threads, show=show)
        yield folder

"""`coop base`: base weights."""

from __future__ import annotations

from pathlib import Path

import click

from commonweights.cli import Session
from commonweights.progress import progress

__all__ = ["base"]


@click.command()
@click.argument("folder", required=False, type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.pass_obj
def base(session: Session, folder: Path | None) -> None:
    """Check the base weights in FOLDER, or prepare the demo's (SmolLM2-135M-Instruct) in the cache.

    Only safetensors and plain tokenizer files are accepted: no pickles, no code from the model's folder.

    \b
    coop base                       the demo's, once
    coop base models/llama-8b       a folder of your own
    """
    from train.base_weights import cached_base, read_base

    with progress(quiet=session.json) as show:
        found = read_base(folder) if folder else cached_base(progress=show)
    value = {"folder": str(found.folder), "digest": found.digest, "name": found.name, "licence": found.licence, "files": len(found.files)}
    session.show(value, f"{found.name} ({found.licence})\n  folder  {found.folder}\n  digest  {found.digest}")

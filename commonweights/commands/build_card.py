"""`coop build card`: the dataset card of a build, rendered from its manifest."""

from __future__ import annotations

from pathlib import Path

import click

from commonweights.cli import Session
from commonweights.names import names
from commonweights.workspace import open_workspace
from governance_hooks.errors import BadInput

__all__ = ["card"]


@click.command()
@click.argument("name")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder for the card [default: beside the dataset, NAME.card].")
@click.pass_obj
def card(session: Session, name: str, out: Path | None) -> None:
    """Write the card of the dataset NAME: a README for the Hugging Face Hub, and croissant.json (Croissant 1.1) for machines.

    Numbers of contributors under five are not told on it.

    \b
    coop build card voices-1
    """
    from data_pipeline.dataset_card import write_card
    from data_pipeline.manifest import read_build

    with open_workspace(session.folder, read_only=True) as space:
        folder = Path(name) if (Path(name) / "manifest.json").is_file() else space.build(name)
        if not folder.is_dir():
            raise BadInput(f"there is no dataset {name}", allowed=f"{names(space.builds(), name)}; or a dataset folder", next="coop build make NAME")
        target = out or folder.parent / f"{folder.name}.card"
        if target.exists() and not (target / "croissant.json").is_file():
            raise BadInput(f"{target} is there and is no card", next="give another folder with --out")
        write_card(read_build(folder), target, folder.name)
    session.show({"card": str(target)}, f"card  {target}\n      put its files beside those of {folder}, where you publish them")

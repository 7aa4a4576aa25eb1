"""`coop demo`: the whole story, end to end."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from commonweights.cli import Session

__all__ = ["demo"]


@click.command()
@click.argument("folder", required=False, type=click.Path(path_type=Path, file_okay=False))
@click.option("--quick", is_flag=True, help="Two languages and eight steps: shows the machinery, teaches the model little.")
@click.option("--threads", type=click.IntRange(1), help="CPU threads [default: torch's choice].")
@click.pass_obj
def demo(session: Session, folder: Path | None, quick: bool, threads: int | None) -> None:
    """Play the whole story on real data and real base weights, in FOLDER or in a temporary one.

    Nine members with their own keys found a cooperative, contribute, consent and vote; a small language model is
    trained, evaluated, documented and released; everything is verified; three attacks are blocked. If it is cut
    off, the same command with the same FOLDER goes on.

    \b
    coop demo --quick mycoop       all of it in a few minutes, into the folder mycoop
    """
    from commonweights.story.play import Play  # loads torch: not for --help

    root = folder or Path(tempfile.mkdtemp(prefix="commonweights-demo-"))
    Play(root, quick=quick, threads=threads).perform()

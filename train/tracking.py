"""Weights & Biases, offline and without what it would note about the machine and its user."""

from __future__ import annotations

from pathlib import Path

import wandb
from pytorch_lightning.loggers import WandbLogger

__all__ = ["offline_wandb"]


def offline_wandb(run_dir: Path, run_id: str) -> WandbLogger:
    """Return a logger that writes below `run_dir`/wandb and never opens a connection.

    By default wandb notes host name, script path, Python path, git state and console output; all of that is off here. It still keeps
    the list of installed packages and, in its own debug log, the path of the run folder. The id is the run's name, so that the
    segments of a resumed run meet again if somebody syncs them.
    """
    settings = wandb.Settings(
        mode="offline",
        console="off",
        silent=True,
        host="",
        program="",
        x_disable_meta=True,
        x_disable_stats=True,
        x_disable_machine_info=True,
        disable_git=True,
        disable_code=True,
        disable_job_creation=True,
        save_code=False,
    )
    # Made here rather than by Lightning, which passes an option wandb warns about.
    run = wandb.init(project="commonweights", name=run_id, id=run_id, dir=str(run_dir), settings=settings)
    return WandbLogger(experiment=run, log_model=False)

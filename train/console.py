"""Keeps the console for lines a user can act on: no tips, device tables or load bars of the libraries below."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from transformers.utils import logging as transformers_logging

__all__ = ["quiet_libraries"]

LOGGERS = ("pytorch_lightning", "lightning.pytorch", "lightning.fabric", "lightning_fabric", "pytorch_lightning.utilities.rank_zero")


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Let only errors of Lightning and transformers through inside the block, and restore their settings after it."""
    levels = {name: logging.getLogger(name).level for name in LOGGERS}
    verbosity, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"(pytorch_lightning|lightning_fabric|lightning)\b.*")
            # peft still asks transformers for an attribute under its old name.
            warnings.filterwarnings("ignore", category=FutureWarning, module=r"transformers\b.*")
            # Lightning advises loader processes; ours only slices lists that are ready.
            warnings.filterwarnings("ignore", message=r".*does not have many workers.*")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()

"""A folder for what a test process remembers, gone with it: at its end, or if it is killed when the next one begins."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

PREFIX: Final = "coop-test-memory-"


def own_folder(root: Path | None = None) -> Path:
    """Make a folder that this process holds until it ends, and remove those that nobody holds any more."""
    place = root or Path(tempfile.gettempdir())
    for left in place.glob(f"{PREFIX}*"):
        with suppress(OSError):  # another's, or another process was here first
            held = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left)
            finally:
                os.close(held)
    made = Path(tempfile.mkdtemp(prefix=f"new-{PREFIX}", dir=place))
    fcntl.flock(os.open(made, os.O_RDONLY), fcntl.LOCK_EX)  # never closed; under its own name only once it is held
    return made.rename(made.with_name(made.name.removeprefix("new-")))

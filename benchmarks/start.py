"""Start of the command line, against a bare interpreter, and against axolotl's and TRL's where they are installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from measure import publish, seconds


def run(*command: str) -> float:
    """Return the best wall time of a command, seconds."""
    return seconds(lambda: subprocess.run(command, capture_output=True, check=True), repeat=7)


if __name__ == "__main__":
    beside = Path(sys.executable).parent
    bare, coop = run(sys.executable, "-c", "pass"), run(str(beside / "coop"), "--help")
    results = {"python_c_pass_s": round(bare, 3), "coop_help_s": round(coop, 3), "ratio_to_python": round(coop / bare, 2)}
    for peer in ("trl", "axolotl"):
        if (beside / peer).exists() or shutil.which(peer):
            took = run(str(beside / peer), "--help")
            results |= {f"{peer}_help_s": round(took, 3), f"ratio_to_{peer}": round(coop / took, 3)}
    publish("start", ["click"], results)

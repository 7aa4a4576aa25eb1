"""The draw itself: the program `sortition` of sortition-algorithms (GPL-3), run as a process with CSV files; never imported.

A draw is the same again only if everything it depends on is: the order of the pool (sorted by id), the seed, the versions of the program,
of its solver and of Python, and Python's hash seed, on which the program's maximin depends (docs/negative-results.md).
"""

from __future__ import annotations

import csv
import io
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from governance_hooks.errors import BadInput, CoopError, Refused

__all__ = ["Sortition"]

INSTALL = "pip install 'commonweights[sortition]'"
_TIMEOUT_S = 3600.0
_VERSIONS = "import platform; from importlib.metadata import version as v; print('sortition-algorithms', v('sortition-algorithms'), 'highspy', v('highspy'), 'numpy', v('numpy'), 'python', '.'.join(platform.python_version_tuple()[:2]))"
_FALLBACKS = ("switching to", "had to switch", "test selection")
"""Words of the program's reports when it draws otherwise than it was asked: leximin without Gurobi becomes maximin with exit status 0."""


@dataclass(frozen=True, slots=True)
class Sortition:
    """The program, and the versions that decide what it draws."""

    path: Path
    engine: str
    """For example `sortition-algorithms 0.12.15 highspy 1.15.1 numpy 2.4.6 python 3.11`."""

    @classmethod
    def find(cls) -> Sortition:
        """Return the program named by $COOP_SORTITION, else the one beside this Python, else the one on PATH; raise BadInput if there is none."""
        named, beside, found = os.environ.get("COOP_SORTITION"), Path(sys.executable).with_name("sortition"), shutil.which("sortition")
        path = Path(named) if named else beside if beside.is_file() else Path(found) if found else None
        if path is None or not path.is_file():
            raise BadInput("panels are drawn by the program sortition, which is not on this machine", value=named, next=INSTALL)
        python = path.with_name("python")  # reads the packages' metadata; imports nothing of them
        try:
            said = subprocess.run([str(python), "-I", "-c", _VERSIONS], capture_output=True, timeout=60, check=True).stdout.decode().strip()
        except (OSError, subprocess.SubprocessError) as error:
            raise BadInput(f"cannot tell the version of {path}: {error}", next=INSTALL) from error
        return cls(path, said)

    def draw(self, columns: tuple[str, ...], rows: list[dict[str, str]], targets: bytes, seats: int, algorithm: str, seed: int) -> list[str]:
        """Draw a panel; return the ids of its members, sorted.

        Args:
            columns: the features, in order.
            rows: the pool, one row a member; sorted by id here, so that nobody draws by ordering it.
            targets: CSV `feature,value,min,max`.
            seats: how many are drawn.
            algorithm: `maximin` (the smallest chance of anybody is as large as can be) or `legacy` (fast; chances are uneven).
            seed: from `seed_of`.

        Raises:
            Refused: the program found no panel, or drew otherwise than it was asked.
            CoopError: it did not end in time.
        """
        pool = io.StringIO(newline="")
        writer = csv.DictWriter(pool, ("id", *columns), lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted(rows, key=lambda row: row["id"]))
        settings = (
            'id_column = "id"\ncheck_same_address = false\ncheck_same_address_columns = []\ncolumns_to_keep = []\nmax_attempts = 100\n'
            f'selection_algorithm = "{algorithm}"\nsolver_backend = "highspy"\nrandom_number_seed = {seed}\n'
        )
        with tempfile.TemporaryDirectory(prefix="coop-panel-") as name:
            at = Path(name)
            (at / "pool.csv").write_text(pool.getvalue(), encoding="utf-8")
            (at / "targets.csv").write_bytes(targets)
            (at / "settings.toml").write_text(settings, encoding="utf-8")
            said = self._run(at, seats)
            lowered = said.lower()
            used = f"using {algorithm} algorithm"
            if any(word in lowered for word in _FALLBACKS) or (algorithm != "legacy" and used not in lowered):
                raise Refused("sortition drew otherwise than it was asked", value=said[-160:], allowed=algorithm)
            try:
                with (at / "selected.csv").open(encoding="utf-8", newline="") as file:
                    drawn = sorted(row["id"] for row in csv.DictReader(file))
            except (OSError, KeyError) as error:
                raise Refused("sortition wrote no panel", value=said[-160:]) from error
        if len(drawn) != seats or len(set(drawn)) != seats or not set(drawn) <= {row["id"] for row in rows}:
            raise Refused("sortition drew another number of members, or somebody outside the pool", value=len(drawn), allowed=str(seats))
        return drawn

    def _run(self, at: Path, seats: int) -> str:
        arguments = ["csv", "-S", "settings.toml", "-f", "targets.csv", "-p", "pool.csv", "-s", "selected.csv", "-r", "remaining.csv", "--no-progress"]
        # One thread and one hash seed: the order in which the solver meets candidates decides which of many equal panels it finds.
        environment = {
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(at),
            "LC_ALL": "C.UTF-8",
            "PYTHONHASHSEED": "0",
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "200",
        }
        try:
            done = subprocess.run([str(self.path), *arguments, "-n", str(seats)], cwd=at, capture_output=True, env=environment, timeout=_TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired as error:
            raise CoopError(f"sortition did not end within {_TIMEOUT_S:.0f} s", next="open a panel with the algorithm legacy") from error
        except OSError as error:
            raise BadInput(f"{self.path} does not start: {error.strerror or error}", next=INSTALL) from error
        said = (done.stdout + done.stderr).decode(errors="replace")
        if done.returncode != 0:
            raise Refused("sortition found no panel for these targets", value=said.strip()[-160:], next="targets the pool can meet: coop panel show")
        return said

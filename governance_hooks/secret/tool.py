"""The external program `belenios-tool`: found, its version checked, run without a shell in a scratch folder.

All cryptography of secret ballots is in it. Versions below 3.3 are refused: 2.0 counts a replayed ballot, and 3.3.0 added missing
checks of group membership (Belenios' CHANGES).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from governance_hooks.errors import BadInput, CoopError, Refused

__all__ = ["GROUP", "INSTALL", "Tool", "cached_tool"]

GROUP = "Ed25519"
"""The one group our elections use: short ballots, and one form of a credential to check."""
INSTALL = "apt-get install belenios-tool (3.3 or newer: Debian forky, sid), or on an older Debian: sh .ci/belenios"
_MINIMUM = (3, 3)
_TIMEOUT_S = 600.0
"""100 voters are verified in under a second (docs/secret-ballots.md); a program that takes so long hangs."""


def cached_tool() -> Path:
    """Return where `.ci/belenios` puts the program."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "commonweights" / "belenios" / "belenios-tool"


@dataclass(frozen=True, slots=True)
class Tool:
    """A belenios-tool that may be used."""

    path: Path
    version: str

    @classmethod
    def find(cls) -> Tool:
        """Return the program named by $BELENIOS_TOOL, else the one of `.ci/belenios`, else the one on PATH; raise BadInput if there is none that may be used."""
        named, cached, found = os.environ.get("BELENIOS_TOOL"), cached_tool(), shutil.which("belenios-tool")
        path = Path(named) if named else cached if cached.is_file() else Path(found) if found else None
        if path is None:
            raise BadInput("secret ballots need the program belenios-tool, which is not on this machine", next=INSTALL)
        try:
            text = subprocess.run([str(path), "--version"], capture_output=True, timeout=30, check=True).stdout.decode(errors="replace").strip()
        except (OSError, subprocess.SubprocessError) as error:
            raise BadInput(f"{path} does not say its version: {error}", next=INSTALL) from error
        numbers = re.match(r"(\d{1,6})\.(\d{1,6})", text)
        if numbers is None or tuple(map(int, numbers.groups())) < _MINIMUM:
            raise BadInput(f"{path} is too old: it counts ballots it should refuse", value=text[:60], allowed="3.3 or newer", next=INSTALL)
        return cls(path, text.split()[0])

    def run(self, *arguments: str, folder: Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run the program in `folder`; return what it wrote, whatever its exit status.

        Raises:
            CoopError: it could not be started, or did not end in time.
        """
        # A fresh machine's /dev/random may wait for entropy; urandom is seeded by the time anybody can type this.
        environment = {"PATH": os.environ.get("PATH", ""), "HOME": str(folder), "LC_ALL": "C.UTF-8", "BELENIOS_USE_URANDOM": "1"}
        try:
            return subprocess.run([str(self.path), *arguments], cwd=folder, input=stdin, capture_output=True, env=environment, timeout=_TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired as error:
            raise CoopError(f"belenios-tool {' '.join(arguments[:2])} did not end within {_TIMEOUT_S:.0f} s", next="try again on an idle machine") from error
        except OSError as error:
            raise BadInput(f"{self.path} does not start: {error.strerror or error}", next=INSTALL) from error

    def output(self, *arguments: str, folder: Path, stdin: bytes = b"") -> bytes:
        """Run the program and return its standard output; raise Refused with its own words if it failed."""
        done = self.run(*arguments, folder=folder, stdin=stdin)
        if done.returncode != 0:
            raise Refused(f"belenios-tool {' '.join(arguments[:2])} refused", value=complaint(done))
        return done.stdout


def complaint(done: subprocess.CompletedProcess[bytes]) -> str:
    """Return the reason a failed run gave: it prints whole ballots after it, which nobody wants to read."""
    words = done.stderr.decode(errors="replace").strip()
    found = re.search(r"error: (.*?)(?: in ballot|$)", words, re.DOTALL)
    return (found.group(1) if found else words[-160:])[:160].strip() or f"exit status {done.returncode}"


@contextmanager
def scratch(files: Mapping[str, bytes]) -> Iterator[Path]:
    """Yield a private folder (mode 0700) with these files, and remove it."""
    with tempfile.TemporaryDirectory(prefix="coop-secret-") as name:
        folder = Path(name)
        for file, data in files.items():
            (folder / file).write_bytes(data)
        yield folder

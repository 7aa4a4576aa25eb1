"""A process that exports a cooperative's log as tiles and prints a line for each.

python -m tests.exporter ROOT FOLDER
"""

import sys
from pathlib import Path

from governance_hooks.export import export
from governance_hooks.log import Log
from governance_hooks.paths import Paths

if __name__ == "__main__":
    with Log.open(Paths(Path(sys.argv[1])).log, read_only=True) as log:
        print("ready", flush=True)
        export(log, Path(sys.argv[2]), progress=lambda label, done, total: print(done, flush=True))
    print("done", flush=True)

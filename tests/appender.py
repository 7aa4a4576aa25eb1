"""A process that appends the entries of a bundle one by one and prints the id of each once it is acknowledged.

python -m tests.appender ROOT BUNDLE
"""

import sys
from pathlib import Path

from governance_hooks.cooperative import Cooperative
from governance_hooks.tiles import unbundle

if __name__ == "__main__":
    root, waiting = Path(sys.argv[1]), unbundle(Path(sys.argv[2]).read_bytes())
    with Cooperative.open(root) as coop:
        print("ready", flush=True)
        for data in waiting:
            print(coop.append(data).id, flush=True)
    print("done", flush=True)

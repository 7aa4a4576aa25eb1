"""Writing a GGUF file and reading it back: time and peak memory, each type in a process of its own, with the comparison and without.

    python benchmarks/read_back.py MODEL

MODEL is a folder that `coop weights merge` made, or base weights. The comparison is on the four fixed questions; memory is what the process peaks at
over what it had with everything imported, pages of mapped files included.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from measure import publish

sys.path.insert(0, str(Path(__file__).parent.parent))  # before this folder, whose train.py is no package


def one(model: Path, kind: Any, check: bool) -> None:
    import transformers
    from transformers import GgufConfig  # noqa: F401

    from train.export.gguf_file import Source, write_gguf

    idle = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory() as folder:
        began, before = time.perf_counter(), time.process_time()
        record = write_gguf(Source(model, "model", "Apache-2.0", "sha256:" + "00" * 32), Path(folder) / "model.gguf", kind, check=check)
        spent, cpu = time.perf_counter() - began, time.process_time() - before
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found: dict[str, Any] = {"wall_s": round(spent, 1), "cpu_s": round(cpu, 1), "peak_mb": round(peak / 1e3), "over_imports_mb": round((peak - idle) / 1e3)}
    print(json.dumps({**found, "file_bytes": record["size"], "parity": record["parity"], "transformers": transformers.__version__}))


def measured(model: Path, kind: str, check: bool) -> dict[str, Any]:
    command = [sys.executable, __file__, "--one", str(model), kind, "check" if check else "no-check"]
    found: dict[str, Any] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()[-1])
    return found


def main() -> None:
    model = Path(sys.argv[1])
    results = {f"{kind}, {'read back' if check else 'written only'}": measured(model, kind, check) for kind in ("f16", "q8_0") for check in (True, False)}
    size = sum(path.stat().st_size for path in model.glob("*.safetensors"))
    publish("read_back", ["torch", "transformers", "accelerate", "gguf", "safetensors", "numpy"], {"model_bytes": size, **results})


if __name__ == "__main__":
    if sys.argv[1] == "--one":
        one(Path(sys.argv[2]), sys.argv[3], sys.argv[4] == "check")
    else:
        main()

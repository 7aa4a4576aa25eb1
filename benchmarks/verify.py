"""`coop verify` of a release of 2 GB against sha256sum over the same files on the same cores; and of a small one, for what is not hashing.

    python benchmarks/verify.py [GB] [FOLDER]

A real small release: founded, consented, voted, "trained" by the method full, evaluated, published; only its weights are large, and made of random bytes. One time
they are two shards, one time a single file. All files are in the page cache, so this is the speed of hashing, not of the disk. Every figure is the best of several,
taken in turn, of one run; `sha256sum` is run once for all files, and once with a process for each core. `openssl dgst` is there because some distributions build
sha256sum without the processor's own instructions for SHA-256, and a ratio to a slow one says little.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measure import publish

from governance_hooks.cooperative import Cooperative
from model_card.bundle import read_bundle
from model_card.verify import verify
from tests.model_card.conftest import finish, sign_evaluation
from tests.tiny import write_base
from tests.village import Village, found

REPEAT = 5
CORES = len(os.sched_getaffinity(0))


def large(path: Path, size: int) -> list[str]:
    """Write a safetensors file of about `size` random bytes; return the names of its tensors."""
    count = max(1, size // (64 << 20))
    block = random.Random(1).randbytes(64 << 20)
    names = [f"{path.stem}.layers.{number}.weight" for number in range(count)]
    header = {"__metadata__": {"format": "pt"}} | {
        name: {"dtype": "BF16", "shape": [4096, 8192], "data_offsets": [n * len(block), (n + 1) * len(block)]} for n, name in enumerate(names)
    }
    raw = json.dumps(header).encode()
    raw += b" " * (-len(raw) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(raw)) + raw)
        for number in range(count):
            file.write(number.to_bytes(8, "little") + block[8:])
    return names


def release(root: Path, total: int, shards: int) -> Path:
    """Publish a release whose weights have so many bytes in so many files."""
    base = write_base(root / "base")
    keys, operator = found(root / "village")

    def output(run_dir: Path, _base: Path | None, _method: str) -> None:
        shutil.copytree(base, run_dir / "model", ignore=shutil.ignore_patterns("base.json", "model.safetensors"))
        if shards == 1:
            large(run_dir / "model/model.safetensors", total)
            return
        weight_map = {}
        for number in range(1, shards + 1):
            name = f"model-{number:05}-of-{shards:05}.safetensors"
            weight_map |= dict.fromkeys(large(run_dir / "model" / name, total // shards), name)
        (run_dir / "model/model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))

    with Cooperative.open(root / "village") as coop:
        done = finish(root / "village", coop, Village(root / "village", coop, keys, operator), base=base, method="full", output=output)
        sign_evaluation(done)
        made = done.assemble(root / "release")
        done.publish(made)
    shutil.rmtree(root / "village/runs")
    return root / "release"


def in_turn(**contestants: Callable[[], object]) -> dict[str, float]:
    """Return the best wall time of each, taken one after the other, seconds."""
    best = dict.fromkeys(contestants, float("inf"))
    for _ in range(REPEAT):
        for name, run in contestants.items():
            began = time.perf_counter()
            run()
            best[name] = min(best[name], time.perf_counter() - began)
    return best


def peak_mb(folder: Path) -> int:
    """Return the largest memory of a process that verifies the folder, megabytes."""
    program = "import resource, sys; from pathlib import Path; from model_card.verify import verify; verify(Path(sys.argv[1])); print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    return round(int(subprocess.run([sys.executable, "-c", program, str(folder)], check=True, capture_output=True, text=True).stdout) / 1e3)


def compared(root: Path, total: int, shards: int) -> dict[str, Any]:
    folder = release(root, total, shards)
    files = sorted(str(path) for path in folder.rglob("*") if path.is_file())
    size = sum(Path(path).stat().st_size for path in files)
    report = verify(folder)
    assert report.exit_code == 0, report.text()

    def one() -> None:
        subprocess.run(["sha256sum", *files], check=True, stdout=subprocess.DEVNULL)

    def each_core() -> None:
        largest_first = "\0".join(sorted(files, key=lambda path: -Path(path).stat().st_size))
        subprocess.run(["xargs", "-0", "-n", "1", "-P", str(CORES), "sha256sum"], check=True, input=largest_first.encode(), stdout=subprocess.DEVNULL)

    def openssl() -> None:
        subprocess.run(["openssl", "dgst", "-sha256", *files], check=True, stdout=subprocess.DEVNULL)

    others = {"openssl": openssl} if shutil.which("openssl") else {}
    best = in_turn(sha256sum=one, sha256sum_each_core=each_core, verify=lambda: verify(folder), hashing=lambda: read_bundle(folder), **others)
    return {
        "files": len(files),
        "bytes": size,
        "shards": shards,
        "seconds": {name: round(value, 3) for name, value in best.items()},
        "mb_per_s": {name: round(size / value / 1e6) for name, value in best.items()},
        "verify_speed_of_sha256sum": round(best["sha256sum"] / best["verify"], 3),
        "verify_speed_of_sha256sum_each_core": round(best["sha256sum_each_core"] / best["verify"], 3),
        "verify_without_hashing_s": round(best["verify"] - best["hashing"], 3),
        "verify_speed_of_openssl": round(best["openssl"] / best["verify"], 3) if "openssl" in best else None,
        "peak_mb_of_a_process": peak_mb(folder),
    }


def commands(root: Path) -> dict[str, Any]:
    """Time whole processes over a small release: what a user waits for beside hashing."""
    folder = release(root, 1 << 20, 1)
    archive = root / "coop-verify.pyz"
    subprocess.run([sys.executable, Path(__file__).parent.parent / ".ci/zipapp", archive], check=True, stdout=subprocess.DEVNULL)
    state = os.environ | {"XDG_STATE_HOME": str(root / "state")}

    def run(*command: str) -> Callable[[], object]:
        return lambda: subprocess.run([sys.executable, *command, str(folder)], check=True, stdout=subprocess.DEVNULL, env=state)

    best = in_turn(
        python_alone=lambda: subprocess.run([sys.executable, "-c", "0"], check=True),
        coop_verify=run("-m", "commonweights.cli", "verify"),
        zipapp=run(str(archive)),
    )
    return {name: round(value, 3) for name, value in best.items()}


def main() -> None:
    total = int(float(sys.argv[1]) * 1e9) if len(sys.argv) > 1 else 2_000_000_000
    beside = Path(sys.argv[2]) if len(sys.argv) > 2 else None
    results: dict[str, Any] = {"cores": CORES}
    for name, shards in (("two_shards", 2), ("one_file", 1)):
        with tempfile.TemporaryDirectory(dir=beside) as root:
            results[name] = compared(Path(root), total, shards)
    with tempfile.TemporaryDirectory(dir=beside) as root:
        results["whole_process_small_release_s"] = commands(Path(root))
    publish("verify", ["cryptography", "pydantic"], results)


if __name__ == "__main__":
    main()

"""The held-out loss measured by several processes of one machine: each takes a share of the batches, and the first one gets all losses.

    python -m eval.ranks < {"rank", "processes", "port", "run_dir", "base", "build", "device", "memory", "threads"}

A batch is what it would be in one process, so no number changes. The others check their inputs like the first: nobody measures what was not voted on.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import torch
import torch.distributed as dist

from eval.answers import heldout_answers
from eval.heldout import TOKENS_PER_BATCH, Answer, answer_losses, batches, compare
from eval.inputs import check_inputs
from eval.weights import Weights, load_weights, longest
from governance_hooks.errors import CoopError

__all__ = ["Processes", "compare_together"]

Progress = Callable[[str, int, int], None]
TIMEOUT_S: Final = 1800
"""So long a process waits for the slowest of the others, seconds."""
PARTING_S: Final = 60


@dataclass(frozen=True, slots=True)
class Processes:
    """How many measure, and what each of them needs."""

    count: int
    run_dir: Path
    base: Path
    build: Path
    device: str = "cpu"
    """`cuda` gives each process a GPU of its own."""
    memory: int | None = None
    """Main memory for weights, of all of them together."""
    threads: int | None = None

    @property
    def memory_of_one(self) -> int | None:
        """Return one process's share of it."""
        return None if self.memory is None else self.memory // self.count

    def device_of(self, rank: int) -> str:
        """Return the device of a process."""
        return f"cuda:{rank}" if self.device == "cuda" and self.count > 1 else self.device


def _agreed(error: BaseException | None) -> bool:
    """Tell whether all processes came this far without an error."""
    failed = torch.tensor([int(error is not None)])
    dist.all_reduce(failed)
    return not int(failed)


def _share(rank: int, count: int) -> Callable[..., dict[str, float]]:
    """Return `answer_losses` for a share of the batches, with the losses of the others put in."""

    def losses(model: Any, answers: Sequence[Answer], *, tokens: int = TOKENS_PER_BATCH, progress: Progress | None = None, label: str = "") -> dict[str, float]:
        own = list(batches(answers, tokens=tokens))[rank::count]
        mine: dict[str, float] = {}
        error: Exception | None = None
        try:
            for done, batch in enumerate(own, 1):
                mine |= answer_losses(model, batch, tokens=tokens)
                if progress is not None:
                    progress(label, done, len(own))
        except CoopError as found:
            error = found
        if not _agreed(error):
            raise error or CoopError("another process of this evaluation failed", next="read the error of that process")
        # Each loss comes from one process and is added to zeros: exact.
        items = sorted(answer.item for answer in answers)
        everybody = torch.tensor([mine.get(item, 0.0) for item in items], dtype=torch.float64)
        dist.all_reduce(everybody)
        return dict(zip(items, everybody.tolist(), strict=True))

    return losses


@contextmanager
def _connected(rank: int, count: int, port: int) -> Iterator[None]:
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=count, timeout=timedelta(seconds=TIMEOUT_S))
    try:
        yield
    finally:
        dist.destroy_process_group()


def _start(asked: Processes, rank: int, port: int) -> subprocess.Popen[bytes]:
    told = {
        "rank": rank, "port": port, "processes": asked.count, "run_dir": str(asked.run_dir.resolve()), "base": str(asked.base.resolve()),
        "build": str(asked.build.resolve()), "device": asked.device, "memory": asked.memory, "threads": asked.threads,
    }  # fmt: skip
    started = subprocess.Popen([sys.executable, "-m", "eval.ranks"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert started.stdin is not None
    started.stdin.write(json.dumps(told).encode())
    started.stdin.close()
    return started


def compare_together(weights: Weights, answers: Sequence[Answer], processes: Processes, *, progress: Progress | None = None) -> list[dict[str, Any]]:
    """Return what `eval.heldout.compare` returns, to the byte, measured by several processes that are started and ended here.

    Raises CoopError if one of the others fails.
    """
    if processes.count == 1:
        return compare(weights, answers, progress=progress)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    others = [_start(processes, rank, port) for rank in range(1, processes.count)]
    try:
        with _connected(0, processes.count, port):
            if not _agreed(None):
                raise CoopError("another process of this evaluation could not begin", next="read the error of that process")
            return compare(weights, answers, progress=progress, losses=_share(0, processes.count))
    except RuntimeError as error:
        raise CoopError(f"the {processes.count} processes of this evaluation do not reach each other", value=str(error)[:200], next="run it again") from error
    finally:
        for other in others:
            try:
                other.wait(PARTING_S)
            except subprocess.TimeoutExpired:
                other.kill()
                other.wait()


def main() -> int:
    """Measure a share, as told on standard input."""
    told = json.load(sys.stdin)
    rank, count = int(told["rank"]), int(told["processes"])
    asked = Processes(count, Path(told["run_dir"]), Path(told["base"]), Path(told["build"]), told["device"], told["memory"], told["threads"])
    if asked.threads is not None:
        torch.set_num_threads(asked.threads)
    with _connected(rank, count, int(told["port"])):
        error: CoopError | None = None
        try:
            plan = check_inputs(asked.run_dir, base=asked.base, build=asked.build).plan
            output = plan.training.output
            weights, tokenizer = load_weights(asked.base, asked.run_dir / output, output, device=asked.device_of(rank), memory=asked.memory_of_one)
            answers, _ = heldout_answers(asked.build, tokenizer, longest=longest(weights.tuned))
        except CoopError as found:
            error = found
        if not _agreed(error):
            if error is not None:
                sys.stderr.write(f"process {rank} of this evaluation: {error}\n")
            return 1
        compare(weights, answers, losses=_share(rank, count))
    return 0


if __name__ == "__main__":
    sys.exit(main())

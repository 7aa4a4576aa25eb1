"""What a step costs more when several processes agree on a stop: the agreement beside a bare all-reduce and a small training step."""

from __future__ import annotations

import multiprocessing
import os
import socket
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from measure import publish

sys.path.insert(0, str(Path(__file__).parent.parent))

from governance_hooks.hooks.processes import Processes

PROCESSES, ROUNDS = 2, 400


def microseconds(act: Callable[[], object]) -> float:
    """Return the median wall time of a call, after a warm-up."""
    times = []
    for number in range(ROUNDS + 50):
        began = time.perf_counter()
        act()
        if number >= 50:
            times.append(time.perf_counter() - began)
    return round(statistics.median(times) * 1e6, 1)


def rank(number: int, port: int, results: Any) -> None:
    os.environ |= {"RANK": str(number), "WORLD_SIZE": str(PROCESSES), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    peers, word = Processes(60), torch.zeros(2, dtype=torch.int64)
    model = torch.nn.parallel.DistributedDataParallel(torch.nn.Sequential(torch.nn.Linear(512, 2048), torch.nn.ReLU(), torch.nn.Linear(2048, 512)))
    optimizer, batch = torch.optim.SGD(model.parameters(), lr=0.01), torch.ones(16, 512)

    def step() -> None:
        model(batch).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    found = {
        "agree_us": microseconds(lambda: peers.most([0, 1])),
        "bare_all_reduce_us": microseconds(lambda: dist.all_reduce(word)),
        "ddp_step_of_2_million_parameters_us": microseconds(step),
    }
    if number == 0:
        results.put(found)
    dist.destroy_process_group()


if __name__ == "__main__":
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    spawn = multiprocessing.get_context("spawn")
    results = spawn.Queue()
    ranks = [spawn.Process(target=rank, args=(number, port, results)) for number in range(PROCESSES)]
    for process in ranks:
        process.start()
    found = results.get(timeout=300)
    for process in ranks:
        process.join()
    found["agree_to_bare"] = round(found["agree_us"] / found["bare_all_reduce_us"], 2)
    found["agree_share_of_step"] = round(found["agree_us"] / found["ddp_step_of_2_million_parameters_us"], 4)
    publish("agree", ["torch"], {"processes": PROCESSES, "cores": os.cpu_count(), "load_1min": round(os.getloadavg()[0], 1), **found})

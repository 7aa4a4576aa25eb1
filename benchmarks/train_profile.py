"""Where the time of our training step goes, and what this machine's matrix products alone would take."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import Any

import torch
from torch import nn

__all__ = ["Profile", "matmul_bound", "step_flops"]

GROUPS = (
    ("attention", ("scaled_dot_product", "flash_attention", "flash_attn")),
    ("matmul", ("mm", "addmm", "bmm", "linear", "gemm", "Lora")),
    ("loss", ("log_softmax", "nll_loss", "cross_entropy")),
    ("optimizer", ("_foreach", "adam", "linalg_vector_norm")),
    ("copies and casts", ("copy_", "clone", "cat", "empty", "fill_", "zero_", "to_copy", "contiguous")),
)
"""Group -> parts of operator names, the first that fits; other operators of aten are elementwise, the rest is Python and autograd."""


class Profile:
    """Records operators from the step after `skip` steps on, for `steps` steps."""

    def __init__(self, skip: int, steps: int = 1) -> None:
        self.skip, self.steps, self.done = skip, steps, 0
        self.profiler: Any = None
        self.seconds = 0.0
        self._began = 0.0

    def start(self) -> None:
        """Be ready before the first step."""
        if not self.skip:
            self._open()

    def step(self) -> None:
        """Note the end of a step."""
        self.done += 1
        if self.done == self.skip:
            self._open()
        elif self.done == self.skip + self.steps:
            self.stop()

    def _open(self) -> None:
        kinds = [torch.profiler.ProfilerActivity.CPU, *([torch.profiler.ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]
        self.profiler = torch.profiler.profile(activities=kinds)
        self.profiler.start()
        self._began = time.perf_counter()

    def stop(self) -> None:
        """Close the record, once."""
        if self.profiler is not None and not self.seconds:
            self.seconds = time.perf_counter() - self._began
            self.profiler.stop()

    def table(self) -> dict[str, Any]:
        """Return the share of the recorded time by group of operators, and the ten operators that take most."""
        groups: dict[str, float] = defaultdict(float)
        events = [(event.key, max(event.self_cpu_time_total, getattr(event, "self_device_time_total", 0)) / 1e6) for event in self.profiler.key_averages()]
        for name, seconds in events:
            known = next((group for group, parts in GROUPS if any(part in name for part in parts)), None)
            groups[known or ("elementwise" if name.startswith("aten::") else "python and autograd")] += seconds
        total = sum(groups.values())
        groups["python and autograd"] += max(0.0, self.seconds - total)
        total = max(total, self.seconds)
        most = sorted(events, key=lambda event: -event[1])[:10]
        return {
            "share": {group: round(seconds / total, 4) for group, seconds in sorted(groups.items(), key=lambda item: -item[1])},
            "most": {name: round(seconds / total, 4) for name, seconds in most},
        }


def _adapted_linears(model: nn.Module) -> list[tuple[int, int, int]]:
    """Return (inputs, outputs, rank) of each linear layer with an adapter."""
    found = []
    for layer in model.modules():
        adapters = getattr(layer, "lora_A", None)
        if adapters:
            rank = next(iter(adapters.values())).weight.shape[0]
            found.append((layer.base_layer.in_features, layer.base_layer.out_features, rank))
    return found


def step_flops(model: nn.Module, vocabulary: int, hidden: int, tokens: int, supervised: int) -> float:
    """Return the FLOPs of the products of a LoRA step: frozen weights 4 a token and weight, adapters 6, the head 4 a learned token.

    Attention's own products are left out, as in 4N; the first layer's input gradients, which nobody needs, are counted. No recomputation is counted.
    """
    linears = _adapted_linears(model)
    frozen = sum(inputs * outputs for inputs, outputs, _ in linears)
    adapters = sum(rank * (inputs + outputs) for inputs, outputs, rank in linears)
    return float(tokens * (4 * frozen + 6 * adapters) + 4 * supervised * vocabulary * hidden)


def _rate(rows: int, inputs: int, outputs: int, dtype: torch.dtype, device: torch.device) -> float:
    """Return the best measured FLOP/s of one product of these shapes, forward or transposed whichever is faster."""
    x, w = torch.randn(rows, inputs, dtype=dtype, device=device), torch.randn(outputs, inputs, dtype=dtype, device=device)
    g = torch.randn(rows, outputs, dtype=dtype, device=device)
    best = float("inf")
    for product in (lambda: x @ w.t(), lambda: g @ w):
        for _ in range(6):
            if device.type == "cuda":
                torch.cuda.synchronize()
            began = time.process_time() if device.type == "cpu" else time.perf_counter()
            product()
            if device.type == "cuda":
                torch.cuda.synchronize()
            now = time.process_time() if device.type == "cpu" else time.perf_counter()
            best = min(best, (now - began) / (torch.get_num_threads() if device.type == "cpu" else 1))
    return 2 * rows * inputs * outputs / best


def matmul_bound(
    model: nn.Module, vocabulary: int, hidden: int, rows: int, shares: dict[str, float], dtype: torch.dtype, device: torch.device
) -> dict[str, Any]:
    """Return the tokens/s that the products alone allow, each at the best rate measured for its shape, and those rates in GFLOP/s.

    `shares` says which part of the tokens read is `supervised`, and which is `computed`. Adapters' thin products and the head count at their own measured rates. In bfloat16 on a CPU the rate of float32 is given too.
    """

    def bound(kind: torch.dtype) -> tuple[float, dict[str, float]]:
        rates: dict[tuple[int, int], float] = {}

        def rate(inputs: int, outputs: int) -> float:
            if (inputs, outputs) not in rates:
                rates[inputs, outputs] = _rate(rows, inputs, outputs, kind, device)
            return rates[inputs, outputs]

        seconds = 0.0
        for inputs, outputs, rank in _adapted_linears(model):
            seconds += 4 * inputs * outputs / rate(inputs, outputs) + 6 * rank * inputs / rate(inputs, rank) + 6 * rank * outputs / rate(rank, outputs)
        seconds = shares["computed"] * seconds + shares["supervised"] * 4 * vocabulary * hidden / rate(hidden, vocabulary)
        return 1 / seconds, {f"{inputs}x{outputs}": round(value / 1e9, 1) for (inputs, outputs), value in rates.items()}

    limit, rates = bound(dtype)
    out: dict[str, Any] = {"tokens_per_s": round(limit, 1), "gflops": rates}
    if dtype != torch.float32 and device.type == "cpu":
        out["tokens_per_s_with_float32_products"] = round(bound(torch.float32)[0], 1)
    return out

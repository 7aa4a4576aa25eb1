"""Named hardware: memory, peak rates and power, each with where the figure is from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from governance_hooks.errors import BadInput

__all__ = ["HARDWARE", "Hardware", "find_hardware"]

GIB: Final = 2**30


@dataclass(frozen=True, slots=True)
class Hardware:
    """One device, as its maker describes it; peaks are dense (no sparsity) and reached by no real run."""

    name: str
    title: str
    memory_gib: float | None
    """About what torch reports as its total capacity; None for main memory."""
    bf16_tflops: float
    """Tensor cores, float32 accumulation."""
    fp32_tflops: float
    """Without TF32, which torch leaves off."""
    watts: int | None
    """Power limit of the device alone (TDP); None where nobody states one."""
    source: str
    device: str | None = None
    """A part of what torch calls it, if its rate is vouched for well enough to state a share of it; the first in the table that fits counts."""

    @property
    def memory(self) -> int | None:
        """Return its memory in bytes."""
        return None if self.memory_gib is None else int(self.memory_gib * GIB)

    def flops(self, precision: Literal["bf16-true", "32-true"]) -> float:
        """Return peak floating-point operations a second in a plan's precision."""
        return 1e12 * (self.bf16_tflops if precision == "bf16-true" else self.fp32_tflops)


HARDWARE: Final = {
    one.name: one
    for one in (
        Hardware("h100-nvl", "NVIDIA H100 NVL 94 GB", 93.1, 835, 60, 400, "NVIDIA H100 datasheet", "H100 NVL"),
        Hardware("h100-pcie", "NVIDIA H100 PCIe 80 GB", 79.1, 756, 51, 350, "NVIDIA H100 PCIe datasheet", "H100 PCIe"),
        Hardware("h100", "NVIDIA H100 SXM 80 GB", 79.1, 989.4, 66.9, 700, "NVIDIA H100 architecture whitepaper and datasheet", "H100"),
        Hardware("h200", "NVIDIA H200 SXM 141 GB", 139.7, 989.4, 66.9, 700, "NVIDIA H200 datasheet", "H200"),
        Hardware("b200", "NVIDIA B200 SXM 180 GB", 178.0, 2250, 75, 1000, "NVIDIA Blackwell datasheet", "B200"),
        Hardware("a100-80", "NVIDIA A100 SXM 80 GB", 79.1, 312, 19.5, 400, "NVIDIA A100 datasheet", "A100"),
        Hardware("a100-40", "NVIDIA A100 SXM 40 GB", 39.4, 312, 19.5, 400, "NVIDIA A100 datasheet"),
        Hardware("l40s", "NVIDIA L40S 48 GB", 44.4, 362, 91.6, 350, "NVIDIA L40S datasheet", "L40S"),
        Hardware("a10g", "NVIDIA A10G 24 GB", 22.0, 70, 31.5, 300, "resellers' listings; NVIDIA publishes no datasheet, so unverified"),
        Hardware("rtx4090", "NVIDIA RTX 4090 24 GB", 23.5, 165.2, 82.6, 450, "NVIDIA Ada architecture whitepaper"),
        Hardware("rtx3090", "NVIDIA RTX 3090 24 GB", 23.6, 71, 35.6, 350, "NVIDIA GA102 architecture whitepaper"),
        Hardware("mi300x", "AMD Instinct MI300X 192 GB", 191.5, 1307.4, 163.4, 750, "AMD MI300X datasheet", "MI300X"),
        Hardware("cpu-core", "one core of an Intel Xeon", None, 0.08, 0.14, None, "measured: matrix products, 127 to 156 GFLOP/s in float32 (docs/train.md)"),
    )
}


def find_hardware(name: str) -> Hardware:
    """Return a device by name; raise BadInput for one that is not in the table."""
    if name not in HARDWARE:
        raise BadInput(f"no figures for hardware {name!r}", value=name, allowed=", ".join(HARDWARE))
    return HARDWARE[name]

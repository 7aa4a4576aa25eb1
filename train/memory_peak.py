"""The most memory a process has used."""

from __future__ import annotations

import re
import resource
from pathlib import Path

import torch

__all__ = ["memory_peak"]


def memory_peak(device: torch.device) -> int:
    """Return bytes: what torch allocated on a GPU at most, else the process's largest resident set, since the start of either."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    # ru_maxrss outlives exec (getrusage(2)): a large parent would be read as this process. VmHWM does not.
    status = Path("/proc/self/status")
    found = re.search(rb"^VmHWM:\s*(\d+) kB", status.read_bytes(), re.MULTILINE) if status.is_file() else None
    return 1024 * (int(found[1]) if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)

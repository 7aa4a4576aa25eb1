"""Ports of this machine that nobody else takes before a server of the tests listens there."""

from __future__ import annotations

import random
import socket

__all__ = ["free_port", "free_ports"]

FIRST, AFTER = 21_000, 32_000
"""Under the range from which connections, and whoever binds port 0, are given theirs; past those of SLURM's jobs (20000 and their number)."""
_kept: list[socket.socket] = []


def free_ports(count: int) -> int:
    """Return the first of `count` neighbouring free ports; until this process ends no other one is given them here."""
    while True:
        first = random.randrange(FIRST, AFTER - count)  # not secret; two processes beside each other must not choose the same
        ports, marks = range(first, first + count), list[socket.socket]()
        try:
            for port in ports:
                marks.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                marks[-1].bind(("127.0.0.1", port))  # the mark: nobody speaks UDP there
                socket.create_server(("0.0.0.0", port)).close()
        except OSError:
            for mark in marks:
                mark.close()
            continue
        _kept.extend(marks)
        return first


def free_port() -> int:
    """Return a free port; until this process ends no other one is given it here."""
    return free_ports(1)

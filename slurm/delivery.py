"""Orders on their way to a site: into its inbox, where `coop slurm sync` looks at them and believes nothing, and what it says of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from governance_hooks.atomic import atomic_directory
from governance_hooks.canonical import dumps
from governance_hooks.errors import CoopError, Refused

__all__ = ["deliver_order", "wait_for_site"]

POLL_S: Final = 0.5
_REASON: Final = 2000


def _hex(order: str) -> str:
    return order.removeprefix("sha256:")


def deliver_order(site: Path, order: str, document: bytes, plan: bytes | None = None, **places: Path) -> Path:
    """Leave an order at a site, with its plan and where base weights (`base`), `build` and `run` lie, or of a build nothing else; return the folder.

    Args:
        site: the site's folder.
        order: the order's digest; a folder of that name that is there already is left alone.
        document: the signed order.
        plan: the plan it names.
        places: name -> folder.
    """
    folder = site / "inbox" / _hex(order)
    if not folder.exists():
        with atomic_directory(folder) as made:
            (made / "order.json").write_bytes(document)
            if plan is not None:
                (made / "plan.json").write_bytes(plan)
                (made / "places.json").write_bytes(dumps({name: str(place) for name, place in places.items()}))
    return folder


def wait_for_site(site: Path, orders: Sequence[str], *, seconds: float, progress: Callable[[str, int, int], None] | None = None) -> None:
    """Wait until a site has accepted all these orders.

    Raises:
        Refused: it has refused one, and why.
        CoopError: it has not looked at them in time.
    """
    end = time.monotonic() + seconds
    while True:
        waiting = [order for order in orders if not (site / "orders" / f"{_hex(order)}.ok").is_file()]
        if progress is not None:
            progress("orders the site has checked", len(orders) - len(waiting), len(orders))
        if not waiting:
            return
        for order in waiting:
            reason = site / "orders" / f"{_hex(order)}.no"
            if reason.is_file():
                said = reason.read_bytes()[:_REASON].decode(errors="replace")
                raise Refused(f"the site refuses order {_hex(order)[:12]}", value=" ".join(said.split()), next="mend that, then coop submit again")
        if time.monotonic() > end:
            raise CoopError(
                f"the site has not looked at {len(waiting)} of {len(orders)} orders within {seconds:g} s",
                value=str(site),
                allowed="coop slurm sync runs there every minute",
                next="ask its admin whether coop slurm sync runs",
            )
        time.sleep(POLL_S)

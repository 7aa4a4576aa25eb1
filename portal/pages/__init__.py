"""The pages, by group: one file each, with a `router`. `MAIN` is the members' and the public's site, `SIGNING` the one keys sign on."""

from __future__ import annotations

from types import ModuleType

from portal.pages import (
    api,
    bylaws,
    changes,
    consent,
    contribute,
    datasets,
    home,
    join,
    keys,
    letters,
    log,
    mine,
    offline,
    proposals,
    propose,
    receipts,
    releases,
    review,
    signin,
    signing,
    stewards,
    unsubscribe,
    votes,
)

__all__ = ["MAIN", "SIGNING", "Parts"]

Parts = tuple[ModuleType, ...]

MAIN: Parts = (
    home,
    signin,
    join,
    keys,
    proposals,
    changes,
    propose,
    votes,
    consent,
    contribute,
    offline,
    review,
    mine,
    receipts,
    log,
    releases,
    datasets,
    bylaws,
    api,
    stewards,
    letters,
    unsubscribe,
)
SIGNING: Parts = (signing,)

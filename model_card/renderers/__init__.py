"""Everything a reader sees of a release, each page rendered from card and records by one file: the same card gives the same bytes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from governance_hooks.canonical import dumps, loads
from governance_hooks.errors import BadInput
from model_card.records import CardRecords
from model_card.renderers import charts, croissant, cyclonedx, documentation_form, eu_summary, governance, openness, readme, transparency_index
from model_card.renderers.changes import render as changes
from model_card.renderers.summary import render_summaries

__all__ = ["PAGES", "is_rendered", "render_all"]

PAGES: Final[dict[str, Callable[[Mapping[str, Any], CardRecords], bytes]]] = {
    "card/bom.cdx.json": cyclonedx.render,
    "card/changes.md": changes,
    "card/charts/data.svg": charts.data_mix,
    "card/charts/loss.svg": charts.loss_by_language,
    "card/charts/vote.svg": charts.vote_result,
    "card/eu_public_summary.md": eu_summary.render,
    "card/fmti.csv": transparency_index.render,
    "card/governance.md": governance.render,
    "card/model_documentation_form.json": documentation_form.render,
    "card/mof.yaml": openness.render,
    "data/croissant.json": croissant.render,
}
"""Path in a release -> what renders it; README.md, card.json and the summaries come on top."""

_SUMMARY: Final = re.compile(r"card/summary\.[a-z]{3}(-[A-Z][a-z]{3})?\.md")


def is_rendered(path: str) -> bool:
    """Tell whether this path of a release is one that `render_all` may write."""
    return path in PAGES or path in ("README.md", "card.json") or _SUMMARY.fullmatch(path) is not None


def render_all(card: Mapping[str, Any], records: CardRecords) -> dict[str, bytes]:
    """Return every rendered file of a release by its path, sorted.

    Raises:
        BadInput: the README's metadata would not pass our check of the Hub's rules, or a record is shaped so oddly that no page can be made of it.
    """
    data = dumps(card)
    told = loads(data, floats=True)  # a number of card.json reads 2, not 2.0: whoever has only that file renders the same
    try:
        pages = {path: render(told, records) for path, render in PAGES.items()}
        pages |= {"README.md": readme.render(told, records).encode(), "card.json": data} | render_summaries(told, records)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise BadInput(
            "a record is malformed: no page can be made of it", value=f"{type(error).__name__}: {error}", next="make the record again, or leave it out"
        ) from error
    return dict(sorted(pages.items()))

"""May a company use these weights? What members consented to beside what the licence of the weights allows, from the records alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from governance_hooks.vocabulary import PUBLIC, WORDS
from model_card.hostile import code
from model_card.renderers.words import value_of

__all__ = ["FOR_PROFIT", "QUESTION", "for_profit"]

QUESTION: Final = "May a company use these weights?"

FOR_PROFIT: Final = {"Apache-2.0": True, "CC-BY-4.0": True, "CC-BY-SA-4.0": True, "CC-BY-NC-4.0": False}
"""Licence of weights -> whether it lets anybody use them for profit."""

_ALSO: Final = {
    "all": "Every one of the consents behind the data also allows a commercial purpose",
    "some": "Some of the consents behind the data also allow a commercial purpose, others do not",
    "none": "None of the consents behind the data allows a commercial purpose",
}


def for_profit(card: Mapping[str, Any]) -> str:
    """Return the answer as a few sentences of Markdown: the licence binds whoever gets the weights, consents bind the cooperative."""
    use = value_of(card["consent"]["use"], {})
    licence, purpose = str(use.get("licence")), str(use.get("purpose"))
    also = _ALSO.get(str(value_of(card["consent"]["commercial"])), "Whether the consents behind the data also allow a commercial purpose is not recorded here")
    asked = f"The cooperative asked for the data for {WORDS.get(purpose, code(purpose))}, and that binds the cooperative: it trains for nothing else without asking again."
    allowed = FOR_PROFIT.get(licence)
    if allowed is None:
        answer = f"What the licence of the weights, {code(licence)}, allows stands in its text."
    elif allowed:
        answer = f"Yes, the licence of the weights, {code(licence)}, allows it."
    else:
        answer = f"No, the licence of the weights, {code(licence)}, allows no use for profit."
    agreed = f"Each of these consents names {code(licence)} as a licence that the resulting weights may have"
    agreed += ", and the public as who may get them" if PUBLIC in use.get("recipients", []) else ""
    if not allowed:
        return f"{answer} {asked} {also}. {agreed}."
    binds = "whoever gets the weights is bound by that licence alone, which does not ask what for"
    if value_of(card["consent"]["commercial"]) == "all":
        return f"{answer} {asked} {also}. {agreed}; {binds}."
    return f"{answer} {asked} {also}. Yet {agreed[0].lower()}{agreed[1:]}; {binds}. So others may do with the weights what the cooperative may not do with the texts."

"""card/fmti.csv: the 100 indicators of the Foundation Model Transparency Index (December 2025), each with its evidence or an honest word that there is none.

Names of the indicators: Stanford CRFM, https://crfm.stanford.edu/fmti. What counts as satisfied is our own reading; nobody of theirs has scored it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Any, Final

from model_card.hostile import neutral
from model_card.records import CardRecords
from model_card.renderers.words import reason

__all__ = ["Row", "render", "rows"]

Row = tuple[str, str, str, str, str]
"""Domain, indicator, disclosed or not or not applicable, evidence, why."""

_NO_SERVICE: Final = "the cooperative offers no service; weights are downloaded"
_HUMAN: Final = "no member has signed a statement about it"

# A line: indicator | what stands for it: `/pointer` into card.json, `+words` for a fact of every release, `~words` for not applicable, `-words` for not disclosed.
_UPSTREAM: Final = """
Data acquisition methods | +all from members, who write it for this use (card/eu_public_summary.md, section 2)
Public datasets | +none are used (card/eu_public_summary.md, section 2.1)
Crawling | +none (card/eu_public_summary.md, section 2.3)
Usage data used in training | +none (card/eu_public_summary.md, section 2.4)
Notice of usage data used in training | ~no usage data is used
Licensed data sources | +none (card/eu_public_summary.md, section 2.2)
Licensed data compensation | ~no data is licensed in
New human-generated data sources | /languages
Instructions for data generation | -what members are asked is not among the records of a release
Data laborer practices | +contributors are members of the cooperative, who decide by vote; no labour is bought
Synthetic data sources | +none beside canaries (card/eu_public_summary.md, section 2.5)
Synthetic data purpose | +canaries test what the weights give away
Data processing methods | /data/rules
Data processing purpose | -the rules are named, with their parameters; the purpose of each stands in the software's documentation only
Data processing techniques | /data/parameters
Data size | /run/tokens
Data language composition | /data/splits
Data domain composition | -records bear a language, and no domain
External data access | -members' texts are not given to third parties with a release
Data replicability | +the ledger names every record and its commitment; the texts cannot be obtained, and why stands in card/mof.yaml
Compute usage for final training run | /compute/flop
Compute usage including R&D | /compute/flop_with_failed_starts
Development duration for final training run | /run/wall_s
Compute hardware for final training run | /run/hardware
Compute provider | /run/device
Energy usage for final training run | /energy/kwh
Carbon emissions for final training run | /energy/co2e_kg
Water usage for final training run | /compute/water
Internal compute allocation | /compute/other_runs
Model stages | /training/method
Model objectives | /training/objective
Code access | +Apache-2.0; its digest is in plan.json#/code
Organization chart | +members vote, an operator executes (card/governance.md)
Model cost | /compute/cost
"""
_MODEL: Final = f"""
Basic model properties | /run/parameters
Deeper model properties | +config.json, and the base's own
Model dependencies | /base/digest
Benchmarked inference | -inference was not timed
Researcher credits | ~{_NO_SERVICE}
Specialized access | +none: everybody gets the same weights
Open weights | /licence
Agent Protocols | +none beyond the base's chat template
Capabilities taxonomy | +answering in the languages of card.json#/languages
Capabilities evaluation | /evaluation/passed
External reproducibility of capabilities evaluation | -held-out texts are private; verdicts are recomputed from public per-item losses
Train-test overlap | /contamination
Risks taxonomy | /statements/bias_and_risks
Risks evaluation | /safety
External reproducibility of risks evaluation | /leak/items
Pre-deployment risk evaluation | /leak/verdict
External risk evaluation | -nobody outside was asked
Mitigations taxonomy | /statements/recommendations
Mitigations taxonomy mapped to risk taxonomy | -members' statements are not mapped to one another
Mitigations efficacy | -not measured
External reproducibility of mitigations evaluation | -not measured
Model theft prevention measures | ~the weights are public
Release stages | +run vote, training, evaluation, release vote, publication (card/governance.md)
Risk thresholds | /evaluation/policy
Versioning protocol | +a release is its digest; a later one names those it supersedes
Change log | +card/changes.md
Foundation model roadmap | -what comes next is for members to propose
Top distribution channels | -who copies the folder is not known
Quantization | /weights/derived
Terms of use | /licence
"""
_DOWNSTREAM: Final = f"""
Distribution channels with usage data | +none: there is no telemetry
Amount of usage | ~{_NO_SERVICE}
Classification of usage data | ~{_NO_SERVICE}
Data retention and deletion policy | /consent/promise
Geographic statistics | ~{_NO_SERVICE}
Internal products and services | ~{_NO_SERVICE}
External products and services | -who builds on the weights is not known
Users of internal products and services | ~{_NO_SERVICE}
Consumer/enterprise usage | ~{_NO_SERVICE}
Enterprise users | ~{_NO_SERVICE}
Government use | -who uses the weights is not known
Benefits Assessment | -{_HUMAN}
AI bug bounty | -{_HUMAN}
Responsible disclosure policy | -{_HUMAN}
Safe harbor | -{_HUMAN}
Security incident reporting protocol | -{_HUMAN}
Misuse incident reporting protocol | /statements/contact
Post-deployment coordination with government | -{_HUMAN}
Feedback mechanisms | /statements/contact
Permitted, restricted, and prohibited model behaviors | /statements/limits
Model response characteristics | /generations
System prompt | +none
Intermediate tokens | +none are hidden
Internal product and service mitigations | ~{_NO_SERVICE}
External developer mitigations | /statements/recommendations
Enterprise mitigations | ~{_NO_SERVICE}
Detection of machine-generated content | -no watermark or detector is part of a release
Documentation for responsible use | /statements/recommendations
Permitted and prohibited users | /licence
Permitted, restricted, and prohibited uses | /statements/out_of_scope_use
AUP enforcement process | ~a licence of this kind forbids no use
AUP enforcement frequency | ~a licence of this kind forbids no use
Regional policy variations | +none: one licence everywhere
Oversight mechanism | +an oversight body and the members can halt or withdraw a release by signed statement (coop verify shows it)
Whistleblower protection | -{_HUMAN}
Government commitments | -{_HUMAN}
"""


def _at(card: Mapping[str, Any], pointer: str) -> Any:
    here: Any = card
    for part in pointer.split("/")[1:]:
        here = here.get(part, {}) if isinstance(here, Mapping) else {}
    return here


def _has_value(field: Any) -> bool:
    """Tell whether a field, or one below it, has a value."""
    if not isinstance(field, Mapping):
        return False
    return "value" in field or "estimated" in field or any(_has_value(item) for item in field.values())


def _row(domain: str, line: str, card: Mapping[str, Any]) -> Row:
    indicator, _, evidence = line.partition(" | ")
    kind, rest = evidence[0], evidence[1:]
    if kind == "/":
        field = _at(card, evidence)
        if _has_value(field):
            return domain, indicator, "disclosed", f"card.json#{evidence}", ""
        return domain, indicator, "not disclosed", f"card.json#{evidence}", reason(field) if isinstance(field, Mapping) else ""
    state = {"+": "disclosed", "~": "not applicable", "-": "not disclosed"}[kind]
    return domain, indicator, state, rest if kind == "+" else "", rest if kind != "+" else ""


def rows(card: Mapping[str, Any]) -> Iterator[Row]:
    """Yield the indicators in the order of the index."""
    for domain, text in (("Upstream", _UPSTREAM), ("Model", _MODEL), ("Downstream", _DOWNSTREAM)):
        for line in text.strip().splitlines():
            yield _row(domain, line, card)


def _cell(text: str) -> str:
    """Return a cell that no spreadsheet takes for a formula (OWASP, CSV injection)."""
    shown = neutral(text, inline=True)
    return f"'{shown}" if shown[:1] in ("=", "+", "-", "@") else shown


def render(card: Mapping[str, Any], records: CardRecords) -> bytes:
    """Return fmti.csv."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(["domain", "indicator", "state", "evidence", "why"])
    writer.writerows([_cell(cell) for cell in row] for row in rows(card))
    return out.getvalue().encode()

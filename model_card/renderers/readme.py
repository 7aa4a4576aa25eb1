"""README.md of a release: the Hugging Face card, rendered from the card document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from model_card import front_matter
from model_card.decisions import LABELS, WHOLE
from model_card.hostile import code, fenced
from model_card.records import CardRecords
from model_card.renderers.leak import canary_lines, what_it_gives_away
from model_card.renderers.loading import how_to_load
from model_card.renderers.profit import QUESTION, for_profit
from model_card.renderers.results import how_measured, outcome, results_by_language, rows_read, task_scores, worse_or_unproven
from model_card.renderers.training import compute_used, energy_used, every_start, hardware_used, provenance
from model_card.renderers.words import (
    language_name,
    language_names,
    percent,
    prose,
    quote,
    reason,
    said,
    show,
    table,
    use_of,
    value_of,
    words,
)

__all__ = ["render"]

_METHODS: Final = {
    "lora": "A LoRA adapter",
    "dora": "A DoRA adapter",
    "qlora": "A LoRA adapter, trained over a 4-bit copy of the base (QLoRA),",
    "full": "Full weights made from a base",
}


def _beside(card: Mapping[str, Any]) -> str:
    """Return what else of the weights lies in the folder: somebody who reads `adapter` need not think that the base is needed."""
    derived = card["weights"]["derived"]
    files = any(path.startswith("derived/") and path != "derived/merge.json" for path in derived)
    found = [told for told, here in (("merged into it", "derived/merge.json" in derived), ("as GGUF files", files)) if here]
    return f" ({'alone, ' * (card['training']['method']['value'] != 'full')}{' and '.join(found)})" if found else ""


def _vote(card: Mapping[str, Any]) -> str:
    vote = card["votes"]["run"]
    if "for" not in vote:
        return show(vote)
    return (
        f"{show(vote['for'])} for, {show(vote['against'])} against, {show(vote['abstain'])} abstained, of {show(vote['roll'])} members on the roll "
        f"(turnout {show(vote['turnout_percent'])} %, quorum {show(vote['quorum_percent'])} %, approval at {show(vote['approval_percent'])} %)"
    )


def _status(card: Mapping[str, Any]) -> str:
    dissent = value_of(card["dissent"]["reasons"])
    published = card["dissent"]["published"]
    told = f"{len(dissent)} member{'s' * (len(dissent) > 1)} gave a reason against it" if dissent else "no member gave a reason against it"
    said_so = len(published["value"]) if "value" in published else 0
    told += f"; what {said_so} of them wrote stands word for word under Votes and dissent" if said_so else f" ({reason(published)})" if dissent else ""
    waived = [name for name, gate in card["gates"].items() if gate["result"] == "waived"]
    waived = [name for name in waived if name != WHOLE] or waived  # the whole says nothing where a part of it is named
    odd = (
        f">\n> **Not passed: {', '.join(map(prose, waived))}.** Members knew, and voted to release these weights all the same ([governance](card/governance.md)).\n"
        if waived
        else ""
    )
    return (
        "> **Do not believe this page: check it.** Run `coop verify DIR` on the downloaded folder, and compare the cooperative's fingerprint with one you got another way:\n"
        f"> `coop verify DIR --pin {card['coop']['value']}`\n>\n"
        "> These weights are released only if that command says so; it also says whether they are current, superseded or withdrawn, and which stewards signed. It needs no account and no network.\n"
        f"{odd}>\n"
        f"> Vote on the training run: {_vote(card)}; {told}. The members' vote on this release came after this page was written, because it is about this page too; `coop verify` shows it."
    )


def _in_order(card: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return members' statements by field in the order a reader wants them: card.json has them by the alphabet."""
    return [(name, card["statements"][name]) for name in LABELS if name in card["statements"]]


def _statements(card: Mapping[str, Any]) -> str:
    """Return what members say, and in one line what nobody has said."""
    told = ["Each was signed by the member named below it. Members approve all of it, or not, when they vote on the release."]
    told += [f"**{LABELS[name]}**\n\n{said(field)}" for name, field in _in_order(card) if "value" in field or "signed" in field]
    silent = [LABELS[name] for name, field in _in_order(card) if "value" not in field and "signed" not in field]
    if silent:
        told.append(f"No member has signed a statement on: {', '.join(silent)}. So nothing is said here about it, rather than something made up.")
    return "\n\n".join(told)


def _generations(card: Mapping[str, Any]) -> str:
    samples = value_of(card["generations"], [])
    if not samples:
        return "No sample answers were made."
    parts = ["One greedy answer each to fixed questions of ours, never a member's text. They are shown as they came, right or wrong."]
    for sample in samples:
        parts.append(f"**{language_name(sample['language'])}**, question:\n\n{fenced(sample['prompt'])}")
        parts.append(f"Base weights:\n\n{fenced(sample['base'])}")
        parts.append(f"Tuned weights:\n\n{fenced(sample['tuned'])}")
    if missing := value_of(card["evaluation"]["languages_without_prompt"]):
        parts.append(f"No question was ready in: {language_names(missing)}.")
    return "\n\n".join(parts)


def _dissent(card: Mapping[str, Any]) -> str:
    found = card["dissent"]["published"]
    if "value" not in found:
        return f"Dissent: {show(found)}."
    parts = ["Members who voted against wrote, word for word:"]
    parts += [f"{quote(one['text'])}\n>\n> (member {code(one['author'])}, whose ballot names this text)" for one in found["value"]]
    return "\n\n".join(parts)


_PAGES: Final = """| Page | For whom |
| --- | --- |
| [`card/summary.eng.md`](card/summary.eng.md) | everybody: one page in plain words |
| [`card/governance.md`](card/governance.md) | members, journalists: votes, consent, gates, what was waived |
| [`card/changes.md`](card/changes.md) | what changed since the release before |
| [`card/eu_public_summary.md`](card/eu_public_summary.md), [`card/model_documentation_form.json`](card/model_documentation_form.json) | EU AI Act: training content, documentation form |
| [`card/bom.cdx.json`](card/bom.cdx.json), [`data/croissant.json`](data/croissant.json) | machines: bill of materials, dataset |
| [`card/mof.yaml`](card/mof.yaml), [`card/fmti.csv`](card/fmti.csv) | researchers: how open it is, and 100 transparency indicators |
| [`card.json`](card.json) | all of it, every value with its source |"""


def render(card: Mapping[str, Any], records: CardRecords) -> str:
    """Return README.md for a card of `make_card`: Hugging Face metadata, then the page; the same card gives the same text.

    Names and generated text are treated as hostile: they appear only in code spans and fenced blocks they cannot close; what members
    wrote is quoted with everything escaped that Markdown would act on.

    Raises:
        BadInput: the metadata would not pass our check of the Hub's rules.
    """
    policy = card["evaluation"]["policy"]["value"]
    method, objective = card["training"]["method"]["value"], card["training"]["objective"]["value"]
    sections = [
        f"# {code(card['name']['value'])}",
        f"{_METHODS[method]} for {code(card['base']['name']['value'])}{_beside(card)}, trained{' by preference between pairs of answers (DPO)' * (objective == 'dpo')} by a cooperative on what its members gave for this use. Licence: {show(card['licence'])}. [In plain words](card/summary.eng.md).",
        _status(card),
        "## What is where",
        _PAGES,
        "## Results by language",
        f"Loss on held-out answers in nats per token; lower is better. Difference is tuned minus base; interval at {percent(policy['confidence'])}, {how_measured(policy)}. "
        f"Policy voted before the run: margin {words(policy['margin'])}, at least {words(policy['minimum_items'])} rows. Outcome: {outcome(card)}.",
        results_by_language(card),
        *rows_read(card),
        "![Change of the held-out loss by language, with intervals](card/charts/loss.svg)",
        "## Where it is worse or unproven",
        worse_or_unproven(card),
        *task_scores(card),
        "## What it gives away",
        what_it_gives_away(card),
        "## Intended use, limits and risks, in members' words",
        _statements(card),
        "## Consent",
        f"Every record was given by a member who consented to this use: {use_of(value_of(card['consent']['use'], {}))}. Consents behind the data: {show(card['consent']['named'])}; "
        f"withdrawn by the end of the run: {show(card['consent']['withdrawn_by_run_end'])}. Records left out of the build: {show(card['data']['excluded'])}.",
        f"**{QUESTION}** {for_profit(card)}",
        prose(card["consent"]["promise"]["value"]),
        "## Votes and dissent",
        "![How members voted on the run](card/charts/vote.svg)",
        _dissent(card),
        "## How to load",
        how_to_load(card),
        "## Sample answers",
        _generations(card),
        "## Training",
        table(["Setting", "Value"], [[name.replace("_", " "), show(field)] for name, field in card["training"].items()]),
        "![Records by language](card/charts/data.svg)",
        *canary_lines(card),
        hardware_used(card),
        compute_used(card),
        energy_used(card),
        "Every start of the run, those that failed too:",
        every_start(card),
        "## Provenance",
        "Rendered from the records of this folder by machine; `card.json` holds the source of every value, and `coop verify` renders all pages again and compares every byte.",
        provenance(card),
    ]
    return front_matter.dumps(front_matter.front_matter(card)) + "\n" + "\n\n".join(sections) + "\n"

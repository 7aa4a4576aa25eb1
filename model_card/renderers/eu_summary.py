"""card/eu_public_summary.md: the public summary of training content in the sections of the European Commission's template.

Template of 24 July 2025, adopted as C(2025) 8311. A small fine-tune owes none (card.json#/compute/eu_one_third_ratio); it is published because
anybody may ask what a model was trained on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from governance_hooks.vocabulary import WORDS
from model_card import iso639
from model_card.hostile import code
from model_card.records import CardRecords
from model_card.renderers.words import amount, language_name, number, prose, said, show, table, value_of, words

__all__ = ["EU_OFFICIAL", "render"]

EU_OFFICIAL: Final = frozenset(
    (
        "bul",
        "hrv",
        "ces",
        "dan",
        "nld",
        "eng",
        "est",
        "fin",
        "fra",
        "deu",
        "ell",
        "hun",
        "gle",
        "ita",
        "lav",
        "lit",
        "mlt",
        "pol",
        "por",
        "ron",
        "slk",
        "slv",
        "spa",
        "swe",
    )
)
"""The official languages of the European Union, which the template asks to be told apart."""


def _languages(card: Mapping[str, Any]) -> str:
    total = sum(value_of(row["train"], 0) or 0 for row in card["languages"].values())
    rows = []
    for language, row in card["languages"].items():
        train = value_of(row["train"], 0) or 0
        share = f"{100 * train / total:.1f} %" if total else "-"
        rows.append([language_name(language), "yes" if language in EU_OFFICIAL else "no", number(row["train"]), share, number(row["supervised_tokens"])])
    return table(["Language", "Official language of the EU", "Records trained on", "Share", "Tokens learned"], rows)


def _size(tokens: int) -> str:
    return "less than 1 billion tokens" if tokens < 1e9 else "1 billion to 10 trillion tokens" if tokens < 1e13 else "more than 10 trillion tokens"


def _none(what: str) -> str:
    return f"None: {what}."


def render(card: Mapping[str, Any], records: CardRecords) -> bytes:
    """Return the summary; what no record and no member says is said to be not collected."""
    run, base, use = card["run"], card["base"], value_of(card["consent"]["use"], {})
    tokens = sum(row.get("input", 0) for row in value_of(run["tokens"], {}).values())
    ratio = value_of(card["compute"]["eu_one_third_ratio"])
    statements = card["statements"]
    sections = [
        "# Public summary of training content",
        f"Version of this summary: card {code(card['renderer'][:19])}, of the run that ended {show(run['ended'])}. Published voluntarily"
        + (f": this run used {code(amount(ratio))} of the compute from which a modified model counts as a new general-purpose model (a computation, not legal advice)." if ratio is not None else "."),
        "All versions and the latest status: `coop verify` on this folder names what supersedes it; the cooperative's download site lists every release in `releases.json`. Integrity: `release.json` lists every file with its SHA-256.",
        "## 1. General information",
        "### 1.1 Provider",
        f"A cooperative, identified by the digest of its founding statement: {show(card['coop'])}.\n\n{said(statements['provider'])}\n\nContact:\n\n{said(statements['contact'])}",
        "### 1.2 Model",
        table(["", ""], [
            ["Name", show(card["name"])],
            ["Depends on", f"{show(base['name'])} (digest {show(base['digest'])}), whose own training content is not described here: ask its provider for its summary"],
            ["Kind of modification", f"{show(card['training']['method'])}, objective {show(card['training']['objective'])}"],
            ["Placed on the market", "with its release, whose date `coop verify` shows; this page is older than the vote on it"],
            ["Licence", show(card["licence"])],
        ]),
        "### 1.3 Modalities, size and characteristics",
        table(["", ""], [
            ["Modality", "text"],
            ["Size", f"{_size(tokens)}: {tokens:,} tokens read in this run, from {number(card['data']['records'])} records ({show(card['data']['splits'])})"],
            ["Types of content", "questions or instructions with answers, written or edited by members"],
            ["Latest acquisition", f"{show(card['data']['at'])}, at entry {words(value_of(card['data']['log'], {}).get('size'))} of the cooperative's log; nothing is added to a build later"],
            ["Licences stated by contributors", show(card["data"]["licences"])],
        ]),
        "Linguistic characteristics, every language by name:",
        _languages(card),
        "## 2. List of data sources",
        "### 2.1 Publicly available datasets",
        _none("a build takes nothing but what members handed in under their signature (data/ledger.jsonl). A member may hand in a text that is also public elsewhere; licences as they state them are in the table above"),
        "### 2.2 Private datasets obtained from third parties",
        f"2.2.1 Licensed by right holders: {_none('a build has no other source than members')} 2.2.2 From other third parties: {_none('for the same reason')}",
        "### 2.3 Data crawled and scraped from online sources",
        _none("a build has no other source than members, and this software has no crawler"),
        "### 2.4 User data",
        _none("a build has no other source than members, and this software collects nothing from use"),
        "### 2.5 Synthetic data",
        f"None was made by the cooperative. Whether a member wrote with the help of a model is the member's word, given with the contribution, and not among the public records. Canaries: {show(card['canaries']) if 'not_applicable' in card['canaries'] else 'lines of random syllables, ' + show(card['canaries']['count']) + ' made, about half trained on, to test what the weights give away'}.",
        "### 2.6 Other sources",
        f"All of the data: contributions of members of the cooperative, each covered by the member's signed consent to {' and '.join(WORDS.get(term, term) for term in use.get('processing', []))}, "
        f"for {WORDS.get(use.get('purpose'), use.get('purpose'))}. Members' contributions stand here rather than under 2.4, since they are given for training and not collected from use; that is the cooperative's reading of the template.",
        table(["Language", "Contributors"], [[iso639.name(language), number(row["members"])] for language, row in card["languages"].items()]),
        "## 3. Data processing",
        "### 3.1 Reservation of rights (text and data mining)",
        "No text or data mining of works of others took place, so there is no reservation to observe. Every record bears the licence its contributor states; consent can be withdrawn: "
        + prose(card["consent"]["promise"]["value"]),
        "### 3.2 Removal of illegal content",
        f"Rules applied to every record, in this order: {show(card['data']['rules'])}; quality stages: {show(card['data']['stages'])}; left out, by reason: {show(card['data']['excluded'])}.\n\n{said(statements['legal_measures'])}",
        "### 3.3 Other information",
        f"The dataset as such is described in `data/croissant.json`; its public ledger is `data/ledger.jsonl`. Withdrawn by the end of the run: {show(card['consent']['withdrawn_by_run_end'])}.",
    ]  # fmt: skip
    return ("\n\n".join(sections) + "\n").encode()

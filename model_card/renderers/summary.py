"""card/summary.LANG.md: the release in plain words; English is rendered from the records, other languages are translations members signed and approved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from governance_hooks.canonical import sha256
from governance_hooks.vocabulary import WORDS
from model_card import iso639
from model_card.decisions import COMPARED, translations_of
from model_card.promise import PROMISE
from model_card.records import CardRecords
from model_card.renderers.profit import QUESTION, for_profit
from model_card.renderers.words import amount, in_the_way, prose, quote, value_of

__all__ = ["english", "render_summaries"]


def _listed(languages: list[str]) -> str:
    names = [iso639.name(language) for language in languages]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "no language"


def _in_words(count: float) -> str:
    """Return a large number as people say it."""
    for power, name in ((21, " billion trillion"), (18, " million trillion"), (15, " thousand trillion"), (12, " trillion"), (9, " billion"), (6, " million")):
        if count >= 10**power:
            return f"{count / 10**power:,.3g}{name}"
    return f"{count:,.0f}"


def _duration(seconds: float) -> str:
    """Return a length of time in the unit people would say it in."""
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.2g} {unit}"
    return f"{seconds:.0f} seconds"


def _electricity(kwh: float) -> str:
    """Return an energy in kilowatt-hours, or in watt-hours where that would be a long row of zeros."""
    return f"{amount(float(f'{kwh:.2g}'))} kilowatt-hours" if kwh >= 0.1 else f"{amount(float(f'{1000 * kwh:.2g}'))} watt-hours"


def _vote(card: Mapping[str, Any]) -> str:
    vote = card["votes"]["run"]
    if "for" not in vote:
        return "How members voted on training it was not given to this page."
    counts = {name: value_of(vote[name]) for name in ("for", "against", "abstain", "roll")}
    return (
        f"Members voted on training it before it was trained: {counts['for']} for, {counts['against']} against, {counts['abstain']} abstained, "
        f"of {counts['roll']} who could vote. Their vote on releasing it comes after this page, because it is about this page too."
    )


def _quality(card: Mapping[str, Any]) -> str:
    rows = card["languages"]
    better = [language for language, row in rows.items() if value_of(row["improved"]) is True]
    worse = value_of(card["evaluation"]["worse"], [])
    rest = [language for language in rows if language not in better and language not in worse]
    if "value" not in card["evaluation"]["passed"]:
        return "It was not tested."
    parts = [
        f"On answers that it had not seen, it does better than the model it was made from in {_listed(better)}."
        if better
        else "In no language is it shown to do better than the model it was made from."
    ]
    if worse:
        parts.append(f"In {_listed(worse)} it does worse.")
    if rest:
        parts.append(f"In {_listed(rest)} we cannot tell: there were too few answers, too few people who gave them, or the answers differ too much.")
    if card["evaluation"]["passed"]["value"] is not True:
        odd = in_the_way(card)
        parts.append(
            "It did not pass all that members had asked for"
            + (f" ({', '.join(odd)}; INSUFFICIENT means that the test could not tell)." if odd else ".")
            + (" They decided by a further vote to release it all the same." if value_of(card["votes"]["run"].get("waiver", {})) else "")
        )
    parts.append("Such a test says how likely it finds such answers, not that its own answers are true, useful or safe.")
    return " ".join(parts)  # fmt: skip


def _leak(card: Mapping[str, Any]) -> str:
    leak = card["leak"]
    bound = value_of(leak["epsilon_lower"])
    if bound is None:
        return "Whether it repeats what members wrote was not tested."
    whole = value_of(leak["extraction"], {}).get("whole", {})
    found = f"it repeats {whole.get('count')} of {whole.get('of')} of them. " if isinstance(whole, dict) and "count" in whole else ""
    parts = [
        f"To see how much it remembers, lines that nobody wrote were hidden in what it learned from: {found}"
        + (
            f"Yet it treats them differently from lines it never saw: it gives away at least so much that experts write epsilon {bound} or more. "
            if bound
            else "No other trace of them was found (epsilon at least 0). "
        )
        + "That nothing was repeated does not show that nothing can be."
    ]
    if "auc" in leak["differential"]:
        told = value_of(leak["differential"]["auc"], {}).get("value", 0.5)
        parts.append(
            "Somebody who compares it with the release before, to find out what was taken out in between, tells a line that was taken out from one that was never "
            f"in it in {100 * told:.0f} of 100 cases; whoever tosses a coin does so in 50."
        )
    if any(card["gates"].get(name, {}).get("result") == "waived" for name in ("leak test", COMPARED)):
        parts.append("That is more than members had allowed, or nobody can tell whether it is. They decided by a further vote to release it all the same.")
    return " ".join(parts)


def english(card: Mapping[str, Any]) -> str:
    """Return the English summary; it names no release, so that translations made before the release has its name stay valid."""
    use, run, compute = value_of(card["consent"]["use"], {}), card["run"], card["compute"]
    method = value_of(card["training"]["method"])
    flop = value_of(compute["flop"])
    read = value_of(run["trained_records"])
    time, splits = value_of(run["wall_s"]), value_of(card["data"]["splits"], {})
    kwh = value_of(card["energy"]["kwh"])
    measured = isinstance(time, (int, float)) and not isinstance(time, bool)
    effort = [f"It took {_duration(time)} of training" if measured else "How long training took is not recorded"]
    if flop is not None:
        effort.append(f"about {_in_words(flop)} calculations")
    effort.append(f"and an estimated {_electricity(kwh)} of electricity" if kwh is not None else "and nobody measured the electricity")
    processing = " and ".join(WORDS.get(term, term) for term in use.get("processing", []))
    recipients = " and ".join(WORDS.get(term, term) for term in use.get("recipients", []))
    lines = [
        "# In plain words",
        f"This is a language model made by a cooperative. Its members wrote {value_of(card['data']['records']):,} questions with answers in {_listed(list(card['languages']))}. "
        f"An existing model learned from {splits.get('train', 0) if read is None else read:,} of them{'' if method == 'full' else ', in a small addition to its numbers'}; {splits.get('heldout', 0):,} others were kept back to test it.",
        f"Everybody whose texts are in it agreed to this use: {processing}, for {WORDS.get(use.get('purpose'), use.get('purpose'))}, for {recipients}. "
        "Members handed them in; the cooperative took nothing from the web for it.",
        f"{QUESTION} {for_profit(card)}",
        _vote(card),
        _quality(card),
        _leak(card),
        f"{', '.join(effort)}.",
        PROMISE,
        "You need not believe this page. One command checks all of it, without a network and without asking us: `coop verify`.",
    ]
    return "\n\n".join(lines) + "\n"


def render_summaries(card: Mapping[str, Any], records: CardRecords) -> dict[str, bytes]:
    """Return the summaries by path: English, and every translation that members approved and that is of this English one."""
    text = english(card).encode()
    pages = {"card/summary.eng.md": text}
    for language, field in translations_of(records, sha256(text)).items():
        if "value" not in field or language == "eng":
            continue
        one = field["value"][0]
        how = "chosen by members in a vote" if one["approved"] else f"signed by its author and {one['reviewers']} other member(s)"
        page = f"# {prose(iso639.name(language[:3]))}\n\n{quote(one['text'])}\n\nA member's translation of `summary.eng.md`, {how} (statement `{one['statement'][:19]}`, {one['issued'][:10]}).\n"
        pages[f"card/summary.{language}.md"] = page.encode()
    return pages

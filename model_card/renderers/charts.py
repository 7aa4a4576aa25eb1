"""card/charts/*.svg: the change of the loss by language with its interval, what the data is made of, and how members voted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from governance_hooks.sentence import Sentence, percent
from model_card.records import CardRecords
from model_card.renderers import narrow
from model_card.renderers.svg import CARD, ENGLISH, Sheet, Voice, figure, round_marks, text
from model_card.renderers.words import value_of

__all__ = ["CHARTS", "data_mix", "loss_by_language", "vote_result"]

_LEFT: Final = 170
_ROW: Final = 30


def _finite(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e9 else None


def loss_by_language(card: Mapping[str, Any], records: CardRecords | None, voice: Voice = ENGLISH, sheet: Sheet = CARD) -> bytes:
    """Return the chart of tuned minus base by language, a dot in its interval; languages without a number say so."""
    rows = {language: tuple(_finite(value_of(row[name])) for name in ("difference", "low", "high")) for language, row in card["languages"].items()}
    sure, say = percent(round(100 * card["evaluation"]["policy"]["value"]["confidence"])), voice.say
    title = Sentence("Change of the held-out loss by language, nats per token (left of 0 is better)")
    better, unsure, line = (
        say(one) for one in (Sentence("shown to be better"), Sentence("not shown to be better"), Sentence("line: interval at {share}", share=sure))
    )
    unknown, alone = say(Sentence("not measured: too few held-out rows")), say(Sentence("no interval"))
    numbers = [number for row in rows.values() for number in row if number is not None]
    marks = round_marks(min([0.0, *numbers]), max([0.0, *numbers]), count=3 if sheet.narrow else 5)
    height, right = 64 + _ROW * len(rows) + 48, sheet.width - 24

    def x_of(value: float) -> float:
        return _LEFT + (value - marks[0]) / (marks[-1] - marks[0]) * (right - _LEFT)

    parts, told = [], list[Sentence]()
    for mark in marks:
        parts.append(f'<line class="{"zero" if mark == 0 else "grid"}" x1="{x_of(mark):.1f}" x2="{x_of(mark):.1f}" y1="40" y2="{height - 58}"/>')
        parts.append(text(x_of(mark), height - 38, voice.number(mark), anchor="middle"))
    for position, (language, (difference, low, high)) in enumerate(rows.items()):
        y, name = 56 + _ROW * position, voice.language(language)
        parts.append(text(_LEFT - 12, y + 4, name, anchor="end", strong=True, most=22))
        if difference is None:
            parts.append(text(_LEFT + 8, y + 4, unknown))
            told.append(Sentence("{language}: not measured", language=name))
            continue
        if low is not None and high is not None:
            parts.append(f'<line class="whisker" x1="{x_of(low):.1f}" x2="{x_of(high):.1f}" y1="{y}" y2="{y}"/>')
            numbers_of = {"difference": difference, "low": low, "high": high}
            told.append(Sentence("{language}: {difference:+.3f}, from {low:+.3f} to {high:+.3f}", language=name, **numbers_of))
        else:
            fits = x_of(difference) < right - 100
            parts.append(text(x_of(difference) + (12 if fits else -12), y + 4, alone, anchor="start" if fits else "end"))
            told.append(Sentence("{language}: {difference:+.3f}, no interval", language=name, difference=difference))
        parts.append(f'<circle class="{"a" if high is not None and high < 0 else "b"}" cx="{x_of(difference):.1f}" cy="{y}" r="6"/>')
    parts += [f'<circle class="a" cx="{_LEFT + 6}" cy="{height - 14}" r="6"/>', text(_LEFT + 18, height - 10, better),
              f'<circle class="b" cx="{_LEFT + 176}" cy="{height - 14}" r="6"/>', text(_LEFT + 188, height - 10, unsure),
              text(right, height - 10, line, anchor="end")]  # fmt: skip
    if sheet.narrow:
        named = [(voice.language(language), row) for language, row in rows.items()]
        height, parts = narrow.dots(sheet, voice, say(title), named, marks, {"unknown": unknown, "alone": alone, "a": better, "b": unsure, "line": line})
    whole = Sentence("{title}; intervals at {share}. {numbers}.", title=title, share=sure, numbers=_joined(told))
    return figure(say(title), say(whole), height, parts, sheet)


def _joined(told: Sequence[Sentence]) -> str:
    """Return what is told of each row as one sentence, with semicolons."""
    made: str = told[0] if told else ""
    for one in told[1:]:
        made = Sentence("{first}; {second}", first=made, second=one)
    return made


def data_mix(card: Mapping[str, Any], records: CardRecords | None, voice: Voice = ENGLISH, sheet: Sheet = CARD) -> bytes:
    """Return the chart of records by language: those for training, of which a short run reads a part, and those held out."""
    rows = {language: [value_of(row[name], 0) or 0 for name in ("train", "heldout")] for language, row in card["languages"].items()}
    title, say = Sentence("Records by language: for training, and held out for the test"), voice.say
    train_words, heldout_words = say(Sentence("for training")), say(Sentence("held out"))
    marks = round_marks(0, max([sum(row) for row in rows.values()] or [1]))
    height, right = 64 + _ROW * len(rows) + 44, sheet.width - 60
    scale = (right - _LEFT) / (marks[-1] or 1)
    parts, told = [], list[Sentence]()
    for mark in marks:
        parts.append(f'<line class="grid" x1="{_LEFT + mark * scale:.1f}" x2="{_LEFT + mark * scale:.1f}" y1="40" y2="{height - 54}"/>')
        parts.append(text(_LEFT + mark * scale, height - 36, voice.number(mark), anchor="middle"))
    for position, (language, (train, heldout)) in enumerate(rows.items()):
        y, name = 46 + _ROW * position, voice.language(language)
        parts.append(text(_LEFT - 12, y + 14, name, anchor="end", strong=True, most=22))
        parts.append(f'<rect class="a" x="{_LEFT}" y="{y}" width="{train * scale:.1f}" height="18"/>')
        parts.append(f'<rect class="c" x="{_LEFT + train * scale:.1f}" y="{y}" width="{heldout * scale:.1f}" height="18"/>')
        parts.append(text(_LEFT + (train + heldout) * scale + 6, y + 14, voice.number(train + heldout)))
        told.append(Sentence("{language}: {train} for training, {heldout} held out", language=name, train=train, heldout=heldout))
    parts += [f'<rect class="a" x="{_LEFT}" y="{height - 24}" width="12" height="12"/>', text(_LEFT + 18, height - 13, train_words),
              f'<rect class="c" x="{_LEFT + 120}" y="{height - 24}" width="12" height="12"/>', text(_LEFT + 138, height - 13, heldout_words)]  # fmt: skip
    if sheet.narrow:
        named = [(voice.language(language), list(zip("ac", row, strict=True))) for language, row in rows.items()]
        height, parts = narrow.bars(sheet, voice, say(title), named, {"a": train_words, "c": heldout_words})
    return figure(say(title), say(Sentence("{title}. {numbers}.", title=title, numbers=_joined(told))), height, parts, sheet)


def vote_result(card: Mapping[str, Any], records: CardRecords | None, voice: Voice = ENGLISH, sheet: Sheet = CARD) -> bytes:
    """Return the chart of the run vote: for, against, abstained, and those who did not vote."""
    vote, say = card["votes"]["run"], voice.say
    title = Sentence("How members voted on the training run")
    if "for" not in vote or value_of(vote["for"]) is None:
        none = Sentence("no vote was given to the card")
        height, parts = narrow.bars(sheet, voice, say(title), [], {}, say(none)) if sheet.narrow else (70, [text(12, 52, say(none))])
        return figure(say(title), say(Sentence("{title}: {numbers}.", title=title, numbers=none)), height, parts, sheet)
    classes = {"for": "a", "against": "b", "abstain": "c"}
    counts = {name: value_of(vote[name], 0) for name in classes}
    roll = value_of(vote["roll"], 0)
    counts["none"] = max(0, roll - sum(counts.values()))
    names = {"for": Sentence("for"), "against": Sentence("against"), "abstain": Sentence("abstained"), "none": Sentence("did not vote")}
    height, scale = 60 + _ROW * len(counts) + 28, (sheet.width - _LEFT - 60) / max(1, roll)
    parts = []
    for position, (name, count) in enumerate(counts.items()):
        y = 42 + _ROW * position
        parts.append(text(_LEFT - 12, y + 14, say(names[name]), anchor="end", strong=True))
        parts.append(f'<rect class="{classes.get(name, "c")}" x="{_LEFT}" y="{y}" width="{count * scale:.1f}" height="18"/>')
        parts.append(text(_LEFT + count * scale + 6, y + 14, voice.number(count)))
    rules = Sentence(
        "of {roll} on the roll; quorum {quorum}, approval at {approval} of for and against; {outcome}",
        roll=roll,
        quorum=percent(value_of(vote["quorum_percent"])),
        approval=percent(value_of(vote["approval_percent"])),
        outcome={"approved": Sentence("approved"), "rejected": Sentence("rejected")}.get(value_of(vote["outcome"]), str(value_of(vote["outcome"]))),
    )
    parts.append(text(12, height - 14, say(rules), most=110))
    if sheet.narrow:
        named = [(say(names[name]), [(classes.get(name, "c"), count)]) for name, count in counts.items()]
        height, parts = narrow.bars(sheet, voice, say(title), named, {}, say(rules), whole=roll)
    told = [Sentence("{number} {what}", number=count, what=names[name]) for name, count in counts.items()]
    whole = Sentence("{title}: {numbers}; {rules}.", title=title, numbers=_joined(told), rules=rules)
    return figure(say(title), say(whole), height, parts, sheet)


CHARTS: Final[Mapping[str, Callable[[Mapping[str, Any], CardRecords | None, Voice, Sheet], bytes]]] = {
    "data": data_mix,
    "loss": loss_by_language,
    "vote": vote_result,
}
"""Name of a picture -> what draws it."""

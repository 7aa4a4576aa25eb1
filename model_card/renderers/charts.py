"""card/charts/*.svg: the change of the loss by language with its interval, what the data is made of, and how members voted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from model_card import iso639
from model_card.records import CardRecords
from model_card.renderers.svg import figure, round_marks, text
from model_card.renderers.words import value_of

__all__ = ["data_mix", "loss_by_language", "vote_result"]

_WIDTH: Final = 720
_LEFT: Final = 170
_ROW: Final = 30


def _finite(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e9 else None


def loss_by_language(card: Mapping[str, Any], records: CardRecords) -> bytes:
    """Return the chart of tuned minus base by language, a dot in its interval; languages without a number say so."""
    rows = {language: tuple(_finite(value_of(row[name])) for name in ("difference", "low", "high")) for language, row in card["languages"].items()}
    confidence = card["evaluation"]["policy"]["value"]["confidence"]
    title = "Change of the held-out loss by language, nats per token (left of 0 is better)"
    numbers = [number for row in rows.values() for number in row if number is not None]
    marks = round_marks(min([0.0, *numbers]), max([0.0, *numbers]))
    height, right = 64 + _ROW * len(rows) + 24, _WIDTH - 24

    def x_of(value: float) -> float:
        return _LEFT + (value - marks[0]) / (marks[-1] - marks[0]) * (right - _LEFT)

    parts, told = [], []
    for mark in marks:
        parts.append(f'<line class="{"zero" if mark == 0 else "grid"}" x1="{x_of(mark):.1f}" x2="{x_of(mark):.1f}" y1="40" y2="{height - 34}"/>')
        parts.append(text(x_of(mark), height - 14, f"{mark:g}", anchor="middle"))
    for position, (language, (difference, low, high)) in enumerate(rows.items()):
        y = 56 + _ROW * position
        parts.append(text(_LEFT - 12, y + 4, iso639.name(language), anchor="end", strong=True, most=22))
        if difference is None:
            parts.append(text(_LEFT + 8, y + 4, "not measured: too few held-out rows"))
            told.append(f"{iso639.name(language)}: not measured")
            continue
        if low is not None and high is not None:
            parts.append(f'<line class="whisker" x1="{x_of(low):.1f}" x2="{x_of(high):.1f}" y1="{y}" y2="{y}"/>')
            told.append(f"{iso639.name(language)}: {difference:+.3f}, from {low:+.3f} to {high:+.3f}")
        else:
            told.append(f"{iso639.name(language)}: {difference:+.3f}, no interval")
        parts.append(f'<circle class="{"a" if high is not None and high < 0 else "b"}" cx="{x_of(difference):.1f}" cy="{y}" r="6"/>')
    return figure(title, f"{title}; intervals at {confidence:.0%}. {'; '.join(told)}.", _WIDTH, height, parts)


def data_mix(card: Mapping[str, Any], records: CardRecords) -> bytes:
    """Return the chart of records by language: those trained on, and those held out."""
    rows = {language: [value_of(row[name], 0) or 0 for name in ("train", "heldout")] for language, row in card["languages"].items()}
    title = "Records by language: trained on, and held out for the test"
    marks = round_marks(0, max([sum(row) for row in rows.values()] or [1]))
    height, right = 64 + _ROW * len(rows) + 44, _WIDTH - 60
    scale = (right - _LEFT) / (marks[-1] or 1)
    parts, told = [], []
    for mark in marks:
        parts.append(f'<line class="grid" x1="{_LEFT + mark * scale:.1f}" x2="{_LEFT + mark * scale:.1f}" y1="40" y2="{height - 54}"/>')
        parts.append(text(_LEFT + mark * scale, height - 36, f"{mark:g}", anchor="middle"))
    for position, (language, (train, heldout)) in enumerate(rows.items()):
        y = 46 + _ROW * position
        parts.append(text(_LEFT - 12, y + 14, iso639.name(language), anchor="end", strong=True, most=22))
        parts.append(f'<rect class="a" x="{_LEFT}" y="{y}" width="{train * scale:.1f}" height="18"/>')
        parts.append(f'<rect class="c" x="{_LEFT + train * scale:.1f}" y="{y}" width="{heldout * scale:.1f}" height="18"/>')
        parts.append(text(_LEFT + (train + heldout) * scale + 6, y + 14, f"{train + heldout:,}"))
        told.append(f"{iso639.name(language)}: {train} trained on, {heldout} held out")
    parts += [f'<rect class="a" x="{_LEFT}" y="{height - 24}" width="12" height="12"/>', text(_LEFT + 18, height - 13, "trained on"),
              f'<rect class="c" x="{_LEFT + 120}" y="{height - 24}" width="12" height="12"/>', text(_LEFT + 138, height - 13, "held out")]  # fmt: skip
    return figure(title, f"{title}. {'; '.join(told)}.", _WIDTH, height, parts)


def vote_result(card: Mapping[str, Any], records: CardRecords) -> bytes:
    """Return the chart of the run vote: for, against, abstained, and those who did not vote."""
    vote = card["votes"]["run"]
    title = "How members voted on the training run"
    if "for" not in vote or value_of(vote["for"]) is None:
        return figure(title, f"{title}: no vote was given to the card.", _WIDTH, 70, [text(12, 52, "no vote was given to the card")])
    names = {"for": "a", "against": "b", "abstain": "c"}
    counts = {name: value_of(vote[name], 0) for name in names}
    roll = value_of(vote["roll"], 0)
    counts["did not vote"] = max(0, roll - sum(counts.values()))
    height, scale = 60 + _ROW * len(counts) + 28, (_WIDTH - _LEFT - 60) / max(1, roll)
    parts = []
    for position, (name, count) in enumerate(counts.items()):
        y = 42 + _ROW * position
        parts.append(text(_LEFT - 12, y + 14, {"abstain": "abstained"}.get(name, name), anchor="end", strong=True))
        parts.append(f'<rect class="{names.get(name, "c")}" x="{_LEFT}" y="{y}" width="{count * scale:.1f}" height="18"/>')
        parts.append(text(_LEFT + count * scale + 6, y + 14, str(count)))
    rules = f"of {roll} on the roll; quorum {value_of(vote['quorum_percent'])} %, approval at {value_of(vote['approval_percent'])} % of for and against; {value_of(vote['outcome'])}"
    parts.append(text(12, height - 14, rules, most=110))
    return figure(title, f"{title}: {'; '.join(f'{count} {name}' for name, count in counts.items())}; {rules}.", _WIDTH, height, parts)

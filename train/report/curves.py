"""The curves of a run: loss, validation by language, learning rate, speed and memory."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from data_pipeline.language import is_language, language_name
from data_pipeline.views.page import visible
from train.report.line_chart import Line, Point, line_chart, smoothed
from train.report.run_folder import RunFolder

__all__ = ["by_language", "loss", "named", "speed", "validation"]


def named(code: str) -> str:
    """Return the English name of a language as HTML; other codes as they are."""
    return visible(language_name(code) if is_language(code) else code)


def loss(run: RunFolder) -> str:
    """Return the training loss by step, with its running mean."""
    raw = _points(run.steps, "loss")
    window = max(1, min(50, len(raw) // 10))
    total = run.record["total_steps"] if run.record else 0
    lines = [Line(raw, pale=window > 1), *([Line(smoothed(raw, window))] if window > 1 else [])]
    shapes: dict[str, dict[str, Any]] = {"broad": {}, "narrow": {"width": 300, "height": 200, "ticks": 4}}  # of which the page shows one
    chart = "".join(
        f'<div class="{name}">{line_chart("Training loss, nats per learned token", lines, last_step=total or None, **shape)}</div>'
        for name, shape in shapes.items()
    )
    note = f"Pale: each step. Dark: mean of the last {window} steps. " if window > 1 else ""
    return f'{chart}<p class="quiet">{note}Steps hold different languages and lengths, so single steps jump; the validation loss below is measured on the same rows each time.</p>'


def by_language(run: RunFolder) -> str:
    """Return the training loss of each language, a small chart each: the mean over the learned tokens of the last steps that held it."""
    points: dict[str, list[Point]] = {}
    for line in run.steps:
        for language, one in line.get("languages", {}).items():
            points.setdefault(language, []).append((line["step"], one["nll"] / one["supervised"]))
    if not points:
        return ""
    small = []
    for language in sorted(points, key=named):
        raw = points[language]
        window = max(1, min(50, len(raw) // 5))
        drawn = [Line(raw, pale=window > 1), *([Line(smoothed(raw, window))] if window > 1 else [])]
        chart = line_chart(f"Training loss in {language}", drawn, width=250, height=130, ticks=4, number="{:.3g}".format)
        small.append(f"<figure><figcaption><strong>{named(language)}</strong><br>in {len(raw):,} step{'s' * (len(raw) != 1)}</figcaption>{chart}</figure>")
    note = "Nats per learned token of the language in each step that held it; each chart has its own scale. For members only: a language may have few of them."
    return f'<p class="quiet">{note}</p><div class="small">{"".join(small)}</div>'


def validation(run: RunFolder) -> str:
    """Return one small chart for each language, each on its own scale, with the first and the last value above."""
    languages = sorted({language for line in run.validations for language in line["validation"]}, key=named)
    if not languages:
        return '<p class="quiet">Nothing was validated yet.</p>'
    small = []
    for language in languages:
        points: list[Point] = [(line["step"], line["validation"][language]) for line in run.validations if language in line["validation"]]
        change = points[-1][1] - points[0][1]
        colour = 1 if change > 0 else 0
        chart = line_chart(
            f"Validation loss in {language}", [Line(points, colour=colour, dots=len(points) <= 12)], width=250, height=130, ticks=4, number="{:.3g}".format
        )
        told = f"{points[0][1]:.3f} → {points[-1][1]:.3f} ({change:+.3f})" if len(points) > 1 else f"{points[0][1]:.3f}"
        small.append(f"<figure><figcaption><strong>{named(language)}</strong><br>{told}</figcaption>{chart}</figure>")
    risen = [named(line) for line in languages if _change(run.validations, line) > 0]
    note = f" <strong>Risen in {', '.join(risen)}.</strong>" if risen else ""
    return f'<p class="quiet">Nats per token on a few fixed held-out rows; lower is better. Each chart has its own scale.{note}</p><div class="small">{"".join(small)}</div>'


def speed(run: RunFolder) -> str:
    """Return learning rate, gradient norm, tokens a second, seconds a step, memory and, where honest, MFU."""
    charts: list[tuple[str, list[Line], dict[str, Any], str]] = [
        ("Learning rate", [Line(_points(run.steps, "learning_rate"))], {"from_zero": True}, ""),
        ("Gradient norm, before clipping", [Line(_points(run.steps, "grad_norm"))], {"from_zero": True}, ""),
        (
            "Tokens a second",
            [Line(_points(run.steps, "tokens_per_s")), Line(_points(run.steps, "supervised_per_s"), colour=1)],
            {"number": "{:,.0f}".format, "from_zero": True},
            _key("all tokens", "learned tokens"),
        ),
        (
            "Seconds a step",
            [Line(_points(run.steps, "step_s")), Line(_points(run.steps, "data_s"), colour=1)],
            {"from_zero": True},
            _key("the step", "waiting for data"),
        ),
        ("Peak memory, GiB", [Line(_points(run.steps, "memory_peak_bytes", 2.0**-30))], {"from_zero": True}, ""),
    ]
    if any("mfu" in line for line in run.steps):
        title = "Model FLOPs utilisation (frozen weights 4, trained 6 FLOPs a token; dense bfloat16 peak)"
        charts.append((title, [Line(_points(run.steps, "mfu"))], {"number": "{:.0%}".format, "from_zero": True}, ""))
    drawn = (
        f"<figure><figcaption><strong>{escape(title)}</strong>{key}</figcaption>{line_chart(title, lines, width=310, height=150, ticks=4, **how)}</figure>"
        for title, lines, how, key in charts
    )
    return f'<div class="pair">{"".join(drawn)}</div>'


def _points(steps: Sequence[dict[str, Any]], name: str, times: float = 1.0) -> list[Point]:
    return [(line["step"], line[name] * times) for line in steps if name in line]


def _change(validations: Sequence[dict[str, Any]], language: str) -> float:
    values = [line["validation"][language] for line in validations if language in line["validation"]]
    return float(values[-1] - values[0])


def _key(one: str, other: str) -> str:
    return f' <span class="quiet"><i class="k0"></i>{escape(one)} <i class="k1"></i>{escape(other)}</span>'

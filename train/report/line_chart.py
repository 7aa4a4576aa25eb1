"""Lines over optimizer steps as an SVG element: axes with round numbers, a title and a description for readers who do not see it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import Final

__all__ = ["STYLE", "Line", "line_chart", "smoothed"]

MAX_POINTS: Final = 600
"""More points than this are drawn as means of as many stretches."""

STYLE: Final = """
svg { display: block; width: 100%; height: auto; }
svg text { font: 12px system-ui, "Noto Sans", sans-serif; fill: var(--quiet); }
svg .grid { stroke: var(--line); stroke-width: 1; opacity: .55; }
svg .data { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
svg .c0 { stroke: var(--one); } svg .c1 { stroke: var(--two); } svg .pale { opacity: .35; stroke-width: 1.2; }
svg .d0 { fill: var(--one); } svg .d1 { fill: var(--two); }
"""
"""For the page around; colours are its variables."""

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Line:
    """One line: its points by step, its colour (0 or 1), and whether it stands behind the others."""

    points: Sequence[Point]
    colour: int = 0
    pale: bool = False
    dots: bool = False
    """Mark each point: for few of them."""


def smoothed(points: Sequence[Point], window: int) -> list[Point]:
    """Return the mean of the last `window` values at each point."""
    found: list[Point] = []
    total = 0.0
    for number, (x, y) in enumerate(points):
        total += y - (points[number - window][1] if number >= window else 0.0)
        found.append((x, total / min(number + 1, window)))
    return found


def line_chart(
    title: str,
    lines: Sequence[Line],
    *,
    width: int = 720,
    height: int = 220,
    ticks: int = 5,
    number: Callable[[float], str] = "{:g}".format,
    from_zero: bool = False,
    last_step: float | None = None,
) -> str:
    """Return an SVG element without scripts, ids or addresses; numbers that are not finite are left out.

    Args:
        title: what it shows, escaped here.
        ticks: about as many numbers on the vertical axis.
        number: how a number on the vertical axis is written.
        from_zero: begin the vertical axis at 0.
        last_step: right end of the horizontal axis, if beyond the data.
    """
    kept = [(line, _thinned([point for point in line.points if math.isfinite(point[1])])) for line in lines]
    values = [y for _, points in kept for _, y in points]
    if not values:
        return f'<p class="quiet">{escape(title)}: nothing measured yet.</p>'
    steps = [x for _, points in kept for x, _ in points]
    marks = _round_numbers(0.0 if from_zero else min(values), max(values), ticks)
    low, high = marks[0], marks[-1]
    first, last = min(steps), max(*steps, last_step or 0.0, min(steps) + 1)
    written = [number(mark) for mark in marks]
    left, bottom, top = max(36, 14 + 7 * max(map(len, written))), 24, 10
    right = 14

    def x_of(step: float) -> float:
        return left + (step - first) / (last - first) * (width - left - right)

    def y_of(value: float) -> float:
        return height - bottom - (value - low) / (high - low) * (height - bottom - top)

    told = "; ".join(
        f"from {number(points[0][1])} at step {points[0][0]:g} to {number(points[-1][1])} at step {points[-1][0]:g}" for _, points in kept if points
    )
    parts = [f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" aria-label="{escape(f"{title}: {told}")}">']
    for mark, text in zip(marks, written, strict=True):
        y = y_of(mark)
        parts.append(f'<line class="grid" x1="{left}" x2="{width - right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{escape(text)}</text>')
    parts.append(f'<text x="{left - 6}" y="{height - 7}" text-anchor="end">step</text>')
    horizontal = [mark for mark in _round_numbers(first, last, max(3, width // 75)) if first <= mark <= last and mark == int(mark)]
    for mark in horizontal:
        anchor = "end" if x_of(mark) > width - right - 12 else "middle"
        parts.append(f'<text x="{x_of(mark):.1f}" y="{height - 7}" text-anchor="{anchor}">{mark:,.0f}</text>')
    for line, points in kept:
        drawn = " ".join(f"{x_of(x):.1f},{y_of(y):.1f}" for x, y in points)
        parts.append(f'<polyline class="data c{line.colour}{" pale" if line.pale else ""}" points="{drawn}"/>')
        if line.dots or len(points) == 1:
            parts += [f'<circle class="d{line.colour}" cx="{x_of(x):.1f}" cy="{y_of(y):.1f}" r="2.6"/>' for x, y in points]
    return "".join([*parts, "</svg>"])


def _thinned(points: Sequence[Point]) -> list[Point]:
    """Return at most MAX_POINTS points: means of stretches of equal number."""
    if len(points) <= MAX_POINTS:
        return list(points)
    edges = [round(number * len(points) / MAX_POINTS) for number in range(MAX_POINTS + 1)]
    stretches = [points[begin:end] for begin, end in pairwise(edges)]
    return [(sum(x for x, _ in some) / len(some), sum(y for _, y in some) / len(some)) for some in stretches]


def _round_numbers(low: float, high: float, count: int) -> list[float]:
    """Return evenly spaced numbers 1, 2 or 5 times a power of ten apart that enclose both (Heckbert, Graphics Gems, 1990)."""
    if high <= low:
        low, high = low - abs(low) * 0.05 - 1e-9, high + abs(high) * 0.05 + 1e-9
    rough = (high - low) / max(count - 1, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * times for times in (1, 2, 5, 10) if power * times >= rough * 0.999)
    begin, end = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    digits = max(0, 1 - math.floor(math.log10(step)))
    return [round(number * step, digits) for number in range(begin, end + 1)]

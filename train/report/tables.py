"""The numbers of a run as tables, and its sample answers; every text was written by somebody, or by a model, and may be hostile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from data_pipeline.views.page import visible
from train.report.curves import named
from train.report.run_folder import RunFolder

__all__ = ["energy", "evaluation", "samples", "segments", "table", "tokens"]

MAX_SAMPLES: Final = 200
MANY_COLUMNS: Final = 4
"""So many may not fit on the screen of a telephone."""


def table(name: str, head: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: int = 0) -> str:
    """Return an HTML table of cells that are HTML already, which a keyboard can scroll; the last `numbers` columns are set as numbers."""
    first, number = len(head) - numbers, ' class="number"'

    def cells(row: Sequence[str], tag: str) -> str:
        return "".join(f"<{tag}{number if place >= first else ''}>{cell}</{tag.partition(' ')[0]}>" for place, cell in enumerate(row))

    body = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in rows)
    hint = '<p class="quiet sideways">If the table goes on beyond the edge, scroll it sideways.</p>' if len(head) >= MANY_COLUMNS else ""
    frame = f'<div class="wide" role="region" tabindex="0" aria-label="{name}">'
    columns = cells(head, 'th scope="col"')
    return f"{hint}{frame}<table><thead><tr>{columns}</tr></thead><tbody>{body}</tbody></table></div>"


def tokens(run: RunFolder) -> str:
    """Return what was read and learned of each language, as bars on one scale."""
    counted = run.record["tokens"] if run.record else {}
    if not counted:
        return '<p class="quiet">Counted when a segment ends.</p>'
    largest = max(row["input"] for row in counted.values()) or 1
    rows = []
    for language, row in sorted(counted.items(), key=lambda item: (-item[1]["input"], item[0])):
        learned, rest = (f"{100 * part / largest:.1f}" for part in (row["supervised"], row["input"] - row["supervised"]))
        bar = f'<div class="bar"><i class="k0" style="width:{learned}%"></i><i class="k2" style="width:{rest}%"></i></div>'
        rows.append([named(language), bar, f"{row['input']:,}", f"{row['supervised']:,}"])
    note = '<p class="quiet"><i class="k0"></i>learned tokens (answers) <i class="k2"></i>read only (prompts, frame)</p>'
    return note + table("Tokens by language", ["Language", '<span class="quiet">share</span>', "Read", "Learned"], rows, numbers=2)


def segments(run: RunFolder) -> str:
    """Return each start of the run, how it ended and why."""
    recorded = {one["start"]: one for one in (run.record["segments"] if run.record else [])}
    rows = []
    for line in run.starts:
        one = recorded.get(line["step"])
        if one is None:
            rows.append([str(line["step"]), visible(str(line["started"])), "running, or killed", visible(str(line["device"])), "", "", ""])
            continue
        cause = f": {visible(one['cause'])}" if one["cause"] else ""
        steps = "" if one["from_step"] is None or one["to_step"] is None else f"{one['from_step']} → {one['to_step']}"
        spent = "" if one["seconds"] is None else _duration(one["seconds"])
        energy = "" if one["energy"] is None else kwh(one["energy"]["kwh"])
        rows.append([str(one["start"]), visible(one["started"]), f"{one['status']}{cause}", visible(one["device"]), steps, spent, energy])
    return table("Starts", ["Start", "At (UTC)", "How it ended", "Device", "Steps", "Time", "kWh"], rows, numbers=3)


def energy(run: RunFolder) -> str:
    """Return the estimated energy by part, and how it was found."""
    found = run.record["energy"] if run.record else None
    if found is None:
        return '<p class="quiet">Not measured.</p>'
    rows = [
        [name, kwh(found[f"{key}_kwh"]), visible(", ".join(found[f"{key}_method"]))]
        for name, key in (("Processor", "cpu"), ("GPUs", "gpu"), ("Memory", "ram"))
        if found[f"{key}_method"]
    ]
    carbon = f" and {found['co2e_kg']:.4g} kg CO2 equivalents ({visible(', '.join(found['country']))})" if "co2e_kg" in found else ""
    left_out = f" {found['segments_unmeasured']} killed segment(s) left no measurement." if found["segments_unmeasured"] else ""
    told = f"<p><strong>{kwh(found['kwh'])} kWh{carbon}, estimated</strong> over {found['segments']} segment{'s' * (found['segments'] != 1)}, by {visible(', '.join(found['method']))}.{left_out}</p>"
    return told + table("Energy by part", ["Part", "kWh", "Method"], rows)


def evaluation(run: RunFolder) -> str:
    """Return the verdicts of the evaluation by language; empty without one."""
    if run.evaluation is None:
        return ""
    rows = [
        [
            named(language),
            f"{row['items']:,}",
            *(_signed(row[name], sign=name == "difference") for name in ("base", "tuned", "difference")),
            visible(row["verdict"]),
        ]
        for language, row in sorted(run.evaluation["languages"].items(), key=lambda item: named(item[0]))
    ]
    passed = "passed" if run.evaluation["passed"] is True else "not passed"
    head = ["Language", "Held-out rows", "Before", "After", "Difference", "Verdict"]
    return f"<h2>Evaluation</h2><p>All held-out rows, nats per token. Policy of the vote: <strong>{passed}</strong>.</p>{table('Evaluation by language', head, rows)}"


NOTHING = '<p class="quiet">(no words)</p>'
"""In place of an answer that ended at once."""


def kwh(value: float) -> str:
    """Return an energy in kWh to four digits, the smallest as the decimals people read: 0.000009069 and not 9.069e-06."""
    return f"{value:.4g}" if not 0 < value < 1e-4 else f"{value:.9f}".rstrip("0").rstrip(".") or "0"


def samples(run: RunFolder) -> str:
    """Return the sample answers before and after, escaped, with signs in place of unseen characters and each in its own direction."""
    found = run.evaluation["generations"] if run.evaluation else []
    if not found:
        return '<p class="quiet">None yet: the evaluation makes them.</p>'
    rows = [
        [
            named(one["language"]),
            *(f'<p class="text" dir="auto">{visible(one[name])}</p>' if one[name].strip() else NOTHING for name in ("prompt", "base", "tuned")),
        ]
        for one in found[:MAX_SAMPLES]
    ]
    note = '<p class="quiet">One greedy answer each to our own fixed questions, never a member’s text; as they came, right or wrong.</p>'
    return note + table("Sample answers", ["Language", "Question", "Before", "After"], rows)


def _signed(value: float | None, *, sign: bool) -> str:
    if value is None:
        return "–"
    return f"{value:+.3f}" if sign else f"{value:.3f}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"

"""A run as one HTML file that runs nothing and fetches nothing, readable in the light and in the dark."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from data_pipeline.views.page import visible
from governance_hooks.atomic import write_bytes
from train.report import curves, tables
from train.report.line_chart import STYLE as CHARTS
from train.report.run_folder import RunFolder, read_run_folder

__all__ = ["page", "write_report"]

_STYLE: Final = (
    """
:root { color-scheme: light dark; --ground: #fff; --text: #1b1b1f; --quiet: #5b5b66; --line: #d4d4da; --card: #f6f6f8;
  --one: #2a62a8; --two: #c0620a; --three: #b9cbe4; --good: #17713a; --bad: #a3001b; --wait: #8a5a00; --shade: #0007; }
@media (prefers-color-scheme: dark) { :root { --ground: #17171a; --text: #f0f0f3; --quiet: #b4b4be; --line: #46464e; --card: #222226;
  --one: #6aa5ec; --two: #eda04a; --three: #34527a; --good: #6fd394; --bad: #ff9a9a; --wait: #e8c060; --shade: #fff7; } }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, "Noto Sans", sans-serif; background: var(--ground); color: var(--text); max-width: 52rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.7rem; margin: 0 0 .3rem; overflow-wrap: anywhere; } h2 { font-size: 1.2rem; margin: 2.4rem 0 .6rem; }
p { margin: .4rem 0; } .quiet { color: var(--quiet); font-size: .9rem; } figure { margin: 0; } figcaption { font-size: .88rem; line-height: 1.35; margin-bottom: .2rem; }
.badge { font-size: .85rem; font-weight: 600; border: 1.5px solid; border-radius: 1rem; padding: .1rem .7rem; vertical-align: middle; white-space: nowrap; }
.completed { color: var(--good); } .failed { color: var(--bad); } .halted, .open { color: var(--wait); }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(11.5rem, 1fr)); gap: .6rem; margin: 1.2rem 0; }
dl div { background: var(--card); border-radius: .5rem; padding: .5rem .8rem; min-width: 0; }
dt { color: var(--quiet); font-size: .82rem; } dd { margin: 0; font-weight: 600; overflow-wrap: anywhere; }
.small { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(14rem, 100%), 1fr)); gap: 1.2rem 1rem; }
.pair { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(19rem, 100%), 1fr)); gap: 1.4rem 1rem; }
/* Numbers on an axis stay of a size that can be read: charts grow with the screen only so far, and the large one has a narrow twin. */
.small svg { max-width: 20rem; } .pair svg { max-width: 24rem; } .narrow { display: none; max-width: 24rem; }
:focus-visible { outline: 2px solid var(--one); outline-offset: 2px; }
/* A table that goes on beyond an edge has a shadow there: the first two layers move with the table and cover it at its ends. */
.wide { overflow-x: auto; background: linear-gradient(to right, var(--ground) 40%, transparent) 0 / 3rem 100% no-repeat local,
  linear-gradient(to left, var(--ground) 40%, transparent) 100% / 3rem 100% no-repeat local,
  linear-gradient(to right, var(--shade), transparent) 0 / 1.1rem 100% no-repeat scroll,
  linear-gradient(to left, var(--shade), transparent) 100% / 1.1rem 100% no-repeat scroll; }
.sideways { display: none; } table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { border-bottom: 1px solid var(--line); padding: .35rem .6rem .35rem 0; text-align: start; vertical-align: top; }
th { color: var(--quiet); font-weight: 600; } .number { text-align: end; font-variant-numeric: tabular-nums; padding-right: .2rem; padding-left: .6rem; }
p.text { white-space: pre-wrap; overflow-wrap: anywhere; margin: 0; max-width: 24rem; max-height: 16rem; overflow: auto; }
i.k0, i.k1, i.k2 { display: inline-block; width: .8rem; height: .8rem; margin: 0 .35rem 0 .6rem; vertical-align: -.05rem; border-radius: 2px; }
.bar { display: flex; width: 16rem; max-width: 40vw; height: .8rem; margin-top: .35rem; } .bar i[class] { height: 100%; margin: 0; border-radius: 0; }
p > i:first-child { margin-left: 0 !important; }
.k0 { background: var(--one); } .k1 { background: var(--two); } .k2 { background: var(--three); }
.sign { color: var(--bad); font: .75em monospace; border: 1px solid; border-radius: 3px; padding: 0 2px; } code { font-size: .82rem; overflow-wrap: anywhere; }
@media (max-width: 40rem) { .broad { display: none; } .narrow { display: block; } .bar { width: 3.2rem; } }
@media (max-width: 34rem) { .sideways { display: block; } .bar { width: 2rem; } th, td { padding-right: .4rem; } .number { padding-left: .2rem; padding-right: .1rem; } }
@media print { body { max-width: none; } p.text { max-height: none; } figure, tr { break-inside: avoid; } }
"""
    + CHARTS
)


def page(run: RunFolder) -> str:
    """Return the report of a run, whether it has ended or not."""
    status = run.record["status"] if run.record else "open"
    shown = {"open": "not ended"}.get(status, status)
    reason = run.record["reason"] if run.record else None
    name = visible(run.name)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        '<meta name="referrer" content="no-referrer">\n<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Run {name}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f'<h1>{name} <span class="badge {status}">{visible(shown)}</span></h1>\n'
        + (f"<p>{visible(reason)}</p>\n" if reason else "")
        + f"{_summary(run)}\n<h2>Training loss</h2>\n{curves.loss(run)}\n{curves.by_language(run)}\n<h2>Validation loss by language</h2>\n{curves.validation(run)}\n"
        f"{tables.evaluation(run)}\n<h2>Sample answers before and after</h2>\n{tables.samples(run)}\n"
        f"<h2>Rate, speed and memory</h2>\n{curves.speed(run)}\n<h2>Tokens by language</h2>\n{tables.tokens(run)}\n"
        f"<h2>Starts</h2>\n{tables.segments(run)}\n<h2>Energy</h2>\n{tables.energy(run)}\n<h2>What it was made from</h2>\n{_provenance(run)}\n</body>\n</html>\n"
    )


def write_report(folder: Path, out: Path | None = None) -> Path:
    """Write report.html of the run in `folder`, there or to `out`, and return its path; raise as `read_run_folder` does."""
    target = out or folder / "report.html"
    write_bytes(target, page(read_run_folder(folder)).encode())
    return target


def _summary(run: RunFolder) -> str:
    training, record, last = run.plan.training, run.record, run.steps[-1] if run.steps else None
    done = last["step"] if last else 0
    facts = [
        ("Base", visible(run.plan.base.name)),
        ("Method", f"{training.method}, {training.objective}, {training.precision}"),
        ("Steps", f"{done:,} of {record['total_steps']:,}" if record and record["total_steps"] else f"{done:,}"),
    ]
    if run.validations:
        # Not the training loss: first and last step hold other languages, and may rise where every language falls.
        first, latest = (sum(line["validation"].values()) / len(line["validation"]) for line in (run.validations[0], run.validations[-1]))
        facts.append(("Validation loss, mean", f"{first:.3f} → {latest:.3f}"))
    if last is not None:
        facts.append(("Tokens read", f"{sum(line['tokens'] for line in run.steps):,}"))
        facts.append(("Tokens learned", f"{sum(line['supervised'] for line in run.steps):,}"))
        middle = sorted(line["tokens_per_s"] for line in run.steps)[len(run.steps) // 2]
        facts.append(("Median speed", f"{middle:,.0f} tokens/s"))
    if record is not None:
        facts.append(("Records", f"{record['trained_records']:,}"))
        facts.append(("Time", f"{record['wall_s'] / 60:,.1f} min, {record['starts']} start{'s' * (record['starts'] != 1)}"))
        if record["energy"] is not None:
            facts.append(("Energy, estimated", f"{tables.kwh(record['energy']['kwh'])} kWh"))
        facts.append(("Device", visible(record["device"])))
    return f"<dl>{''.join(f'<div><dt>{name}</dt><dd>{value}</dd></div>' for name, value in facts)}</dl>"


def _provenance(run: RunFolder) -> str:
    record = run.record
    rows = [["Build", f"<code>{visible(run.plan.build.manifest)}</code>"], ["Base weights", f"<code>{visible(run.plan.base.digest)}</code>"]]
    if record is not None:
        hardware = record["hardware"]
        devices = ", ".join(visible(one["name"]) for one in hardware["devices"])
        machine = f"{visible(hardware['cpu'])}, {hardware['cpus']} core{'s' * (hardware['cpus'] != 1)}, {hardware['memory_bytes'] / 2**30:.0f} GiB" + (
            f"; {devices}" if devices else ""
        )
        rows = [
            ["Plan", f"<code>{visible(record['plan'])}</code>"],
            *rows,
            ["Texts trained on (Merkle root)", f"<code>{visible(record['trained_root'])}</code>"],
        ]
        rows += [["Packages (environment.json)", f"<code>{visible(record['environment'])}</code>"], ["Machine", machine]]
    return tables.table("What it was made from", ["What", "Value"], rows)

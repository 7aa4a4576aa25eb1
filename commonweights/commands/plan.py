"""`coop plan`: from a config to the plan members vote on, and what that means and costs."""

from __future__ import annotations

import sys
from dataclasses import asdict
from functools import partial
from importlib import resources
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

import click

from commonweights.cli import Session
from commonweights.leaking import require_previous, require_secret
from commonweights.progress import Progress, progress
from commonweights.terminal import fold
from commonweights.workspace import Workspace, open_workspace
from governance_hooks.atomic import write_bytes
from governance_hooks.canonical import loads, sha256
from governance_hooks.errors import BadInput, CoopError
from train.estimate.hardware import HARDWARE, find_hardware

if TYPE_CHECKING:
    from governance_hooks.plan import Plan

__all__ = ["example", "locate_base", "locate_build", "plan"]

DEMO_BASE = "smollm2-135m-instruct"


EXAMPLES: Final = {"small": "smollm2-lora.yaml", "large": "llama-8b-lora.yaml"}
SAMPLE_PIECES: Final = 60
"""Tokens shown before and after the place where learning begins."""


def example(name: str = "small") -> str:
    """Return a commented example config."""
    return resources.files("commonweights").joinpath("examples", EXAMPLES[name]).read_text(encoding="utf-8")


def locate_base(name: str, near: Path, show: Progress | None = None) -> Path:
    """Return the folder of base weights named in a config: a path beside it, or the demo's, from the cache."""
    if name == DEMO_BASE:
        from train.base_weights import cached_base

        return cached_base(progress=show).folder
    folder = (near / name).resolve()
    if not folder.is_dir():
        raise BadInput(f"there are no base weights at {folder}", value=name, allowed=f"a folder, or {DEMO_BASE}", next="coop base FOLDER")
    return folder


def locate_build(space: Workspace, name: str, near: Path) -> Path:
    """Return the folder of a build: the cooperative's build of that name, or a path beside the config."""
    for folder in (space.build(name), near / name):
        if (folder / "manifest.json").is_file():
            return folder
    raise BadInput(f"there is no dataset {name}", next=f"coop build make {name}")


def _print_example(ctx: click.Context, option: click.Parameter, wanted: str | None) -> None:
    if wanted:
        click.echo(example(wanted), nl=False)
        ctx.exit()


class _PlanGroup(click.Group):
    """Takes `coop plan CONFIG` for `coop plan make CONFIG`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, "-h", "--help") and not args[0].startswith("--example"):
            args = ["make", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_PlanGroup)
@click.option(
    "--example",
    type=click.Choice(sorted(EXAMPLES)),
    is_flag=False,
    flag_value="small",
    is_eager=True,
    expose_value=False,
    callback=_print_example,
    help="Print a commented config to start from, and leave: small (the default) for a CPU, large for a model of 8B weights on 8 GPUs.",
)
def plan() -> None:
    """Resolve a config into the plan members vote on, and say what it means and costs.

    \b
    coop plan --example > first.yaml          a commented config to start from
    coop plan first.yaml                      the plan, its memory, time and energy
    coop plan first.yaml --hardware h100 --devices 8 --dry-run 8
    coop plan explain first                   what a plan means, for members

    `coop plan CONFIG` is short for `coop plan make CONFIG`.
    """


_hardware_option = click.option("--hardware", help=f"Estimate for this device alone: {', '.join(HARDWARE)} [default: for each].")
_devices_option = click.option(
    "--devices", type=click.IntRange(1), help="So many of them [default: the plan's limits.max_devices, as far as a step has sequences for them]."
)
_pue_option = click.option(
    "--pue", type=click.FloatRange(1, 3), default=1.0, help="Power of the whole building over that of its computers (PUE) [default: 1, the devices alone]."
)


def _devices(plan: Plan, wanted: int | None) -> int:
    """Return how many devices to reckon with; raise BadInput for what a start would refuse."""
    from train.compatibility import require_processes

    if wanted is not None:
        plan.limits.require_devices(wanted)
        require_processes(plan.training, wanted)
    return wanted or plan.most_devices


def _other_plan(out: Path, data: bytes) -> BadInput:
    """Return the refusal to replace a plan of this name, with the sections in which the two differ."""
    there = loads(out.read_bytes(), floats=True, source=str(out))
    made = loads(data, floats=True)
    differ = sorted(key for key in {*there, *made} if there.get(key) != made.get(key)) if isinstance(there, dict) else []
    return BadInput(
        f"{out} is another plan of this name",
        value=sha256(data),
        allowed=f"{sha256(out.read_bytes())}; they differ in {', '.join(differ) or 'their bytes'}",
        next="give the config another name, or use --force",
    )


@plan.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace a plan of this name that is different.")
@_hardware_option
@_devices_option
@_pue_option
@click.option(
    "--dry-run", "processes", type=click.IntRange(1, 4096), help="Run one step of so many processes on fake tensors: no GPU, no weights; loads torch."
)
@click.option("--no-sample", is_flag=True, help="Do not show a training row; the text of members is private.")
@click.pass_obj
def make(session: Session, config: Path, force: bool, hardware: str | None, devices: int | None, pue: float, processes: int | None, no_sample: bool) -> None:
    """Resolve CONFIG (YAML) into the canonical plan: every input by digest, every setting, every limit.

    Prints what it means in plain words, one training row as the model reads it, and an estimate of memory, time and energy; no GPU is
    needed. Members vote on the SHA-256 of exactly this file. Beside it lie a drawing of the mix and a batch script for SLURM.

    \b
    coop plan make first.yaml --dry-run 8
    """
    from commonweights.forecast import cannot_pass, cost_line, dry_run_text, forecast, forecast_text
    from data_pipeline.tokens.mix_svg import mix_svg
    from data_pipeline.tokens.mixture import mixture
    from governance_hooks.code import installed_code
    from governance_hooks.plan import read_plan
    from slurm.sbatch import layout, render
    from train.config import read_config
    from train.estimate.dry_run import dry_run
    from train.plan import describe, resolve, size_of

    named = find_hardware(hardware) if hardware else None
    if not config.is_file():
        raise BadInput(
            f"there is no config {config}", allowed="a YAML file", next=f"coop plan --example > {config}, or for a plan that is there: coop plan explain NAME"
        )
    task_files: dict[str, Path] = {}
    wanted = read_config(config, files=task_files)
    with open_workspace(session.folder, read_only=True) as space, progress(quiet=session.json) as show:
        base, build = locate_base(wanted.base, config.parent, show), locate_build(space, wanted.build, config.parent)
        seed = space.canary_seed(wanted.name)
        if wanted.canaries:
            require_secret(space, seed)
        data = resolve(wanted, coop=space.coop.register.coop, base=base, build=build, code=installed_code(), canary_seed=seed, progress=show)
        made = read_plan(data)
        require_previous(space, made)
        count = _devices(made, devices)
        out = space.plan(wanted.name)
        if out.is_file() and out.read_bytes() != data and not force:
            raise _other_plan(out, data)
        for name, path in task_files.items():
            space.keep_task_file(name, path)
        write_bytes(out, data)
        size = size_of(made, base=base, build=build, canary_seed=seed)
        spent = cost_line(made, base, size, named, count, pue) if named else None
        words = fold(describe(data, size=size, spent=spent, hardware=named))
        drawing, script = out.with_suffix(".mix.svg"), out.with_suffix(".sbatch")
        mixed = mixture(made.tokens.languages, made.mix, epochs=made.training.epochs)
        write_bytes(drawing, mix_svg(mixed, f"Languages in plan {made.name}").encode())
        command, preflight = ["coop", "-C", str(space.root), "train", made.name], ["python3", "-m", "slurm.preflight", "--folder", str(space.root)]
        text = render("train", made.name, layout(made, count), minutes=made.limits.minutes_on(count), command=command, preflight=preflight)
        write_bytes(script, text.encode())
        costs = forecast(made, base, size, devices=count, hardware=named, pue=pue)
        sample = "" if no_sample or session.json else _sample(made, base, build, seed)
        tried = dry_run(base, made.training, processes) if processes else None
        unprovable = cannot_pass(made, build)
    sections = [words, *([fold("\n".join(unprovable))] if unprovable else []), sample, forecast_text(costs, made), dry_run_text(tried) if tried else ""]
    files = f"plan    {out}\nmix     {drawing}\nsbatch  {script}\ndigest  {sha256(data)}\nnext    coop propose run {wanted.name}"
    session.show(
        {
            "plan": str(out),
            "digest": sha256(data),
            "mix": str(drawing),
            "sbatch": str(script),
            "size": asdict(size),
            "estimate": costs,
            "dry_run": tried,
            "cannot_pass": unprovable,
        },
        "\n\n".join([section for section in sections if section] + [files]),
    )


@plan.command()
@click.argument("name", metavar="PLAN")
@click.option("--base", type=click.Path(path_type=Path, exists=True, file_okay=False), help="Folder of the base weights [default: the cache].")
@_hardware_option
@_devices_option
@_pue_option
@click.pass_obj
def explain(session: Session, name: str, base: Path | None, hardware: str | None, devices: int | None, pue: float) -> None:
    """Say in plain words what PLAN (a name or a file) means: what is trained, on what, for whom, for how long, and what stops it.

    Where base weights and dataset are at hand, also how many steps it takes, and with --hardware how long and how much energy.

    \b
    coop plan explain first --hardware h100 --devices 8
    """
    from commonweights.forecast import cost_line, forecast
    from commonweights.run_inputs import find_base, find_build
    from commonweights.running import read_plan_file
    from governance_hooks.plan import read_plan
    from train.plan import describe, size_of

    named = find_hardware(hardware) if hardware else None
    with open_workspace(session.folder, read_only=True) as space:
        data = read_plan_file(space, name)
        made = read_plan(data, source=name)
        count, size, costs, spent = _devices(made, devices), None, None, None
        try:
            folder = find_base(made, base)
            size = size_of(made, base=folder, build=find_build(space, made), canary_seed=space.canary_seed(made.name))
            costs = forecast(made, folder, size, devices=count, hardware=named, pue=pue)
            spent = cost_line(made, folder, size, named, count, pue) if named else None
        except CoopError as error:  # members have neither build nor base: the plan alone says the rest
            spent = f"How many steps it takes is left out here: {error.what}" + (f"; {error.next}." if error.next else ".")
        words = describe(data, size=size, spent=spent, hardware=named)
    session.show({"digest": sha256(data), "words": words, "size": asdict(size) if size is not None else None, "estimate": costs}, fold(words))


def _decoder(base: Path) -> Any:
    """Return something that turns ids into text; where it can, without transformers, which loads torch for seconds."""
    file = base / "tokenizer.json"
    if file.is_file():
        from tokenizers import Tokenizer

        return SimpleNamespace(decode=partial(Tokenizer.from_file(str(file)).decode, skip_special_tokens=False))
    from data_pipeline.tokens.tokenizer import load_tokenizer

    return load_tokenizer(base)


def _sample(made: Plan, base: Path, build: Path, seed: Path) -> str:
    """Return one training row as the model reads it, cut to what fits a screen."""
    from data_pipeline.manifest import read_build
    from data_pipeline.tokens.make import make_tokens
    from data_pipeline.tokens.view import coloured, inline, pieces
    from governance_hooks.plan import CANARY_LANGUAGE

    tokens = make_tokens(
        read_build(build),
        base,
        sequence_tokens=made.training.sequence_tokens,
        canaries=made.canaries,
        seed=seed,
        minimum_rating_gap=made.training.minimum_rating_gap,
        expected=made.tokens.digest,
    )
    row = next((sample for sample in tokens.train if sample.language != CANARY_LANGUAGE), None)
    if row is None:
        return ""
    shown = pieces(_decoder(base), row)
    learned = next((index for index, piece in enumerate(shown) if piece.learned), 0)
    first, last = max(0, learned - SAMPLE_PIECES), min(len(shown), learned + SAMPLE_PIECES)
    text = (coloured if sys.stdout.isatty() else inline)(shown[first:last])
    marked = "bold green" if sys.stdout.isatty() else "between \u27e6 and \u27e7"
    cut = f"; {first + len(shown) - last} more are not shown" if (first, last) != (0, len(shown)) else ""
    return (
        f"A TRAINING ROW as the model reads it, a bar after each token; what is learned is {marked}\n"
        f"{text}\n{row.language}, {len(row.ids)} tokens, {row.supervised} learned{cut}. It is private. More: coop tokens show {made.name}"
    )

"""`coop plan`: from a config to the plan members vote on."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import click

from commonweights.cli import Session
from commonweights.progress import Progress, progress
from commonweights.workspace import Workspace, open_workspace
from governance_hooks.atomic import write_bytes
from governance_hooks.canonical import sha256
from governance_hooks.errors import BadInput

__all__ = ["example", "locate_base", "locate_build", "plan"]

DEMO_BASE = "smollm2-135m-instruct"


def example() -> str:
    """Return the commented example config."""
    return resources.files("commonweights").joinpath("examples/smollm2-lora.yaml").read_text(encoding="utf-8")


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
    raise BadInput(f"there is no build {name}", next=f"coop build make {name}")


def _print_example(ctx: click.Context, option: click.Parameter, wanted: bool) -> None:
    if wanted:
        click.echo(example(), nl=False)
        ctx.exit()


@click.command()
@click.argument("config", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--example",
    "show_example",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_example,
    help="Print a commented config to start from, and leave.",
)
@click.option("--force", is_flag=True, help="Replace a plan of this name that is different.")
@click.pass_obj
def plan(session: Session, config: Path, force: bool) -> None:
    """Resolve CONFIG (YAML) into the canonical plan: every input by digest, every setting, every limit.

    Prints what it means in plain words. Members vote on the SHA-256 of exactly this file.
    """
    from data_pipeline.tokens.mix_svg import mix_svg
    from data_pipeline.tokens.mixture import mixture
    from governance_hooks.code import installed_code
    from governance_hooks.plan import read_plan
    from train.config import read_config
    from train.plan import describe, resolve

    wanted = read_config(config)
    with open_workspace(session.folder, read_only=True) as space, progress(quiet=session.json) as show:
        base, build = locate_base(wanted.base, config.parent, show), locate_build(space, wanted.build, config.parent)
        seed = space.canary_seed(wanted.name)
        data = resolve(wanted, coop=space.coop.register.coop, base=base, build=build, code=installed_code(), canary_seed=seed, progress=show)
        out = space.plan(wanted.name)
        if out.is_file() and out.read_bytes() != data and not force:
            raise BadInput(
                f"{out} is another plan of this name", value=sha256(data), allowed=sha256(out.read_bytes()), next="give the config another name, or use --force"
            )
        write_bytes(out, data)
        words = describe(data, base=base, build=build, canary_seed=seed)
        made = read_plan(data)
        drawing = out.with_suffix(".mix.svg")
        mixed = mixture(made.tokens.languages, made.mix, epochs=made.training.epochs)
        write_bytes(drawing, mix_svg(mixed, f"Languages in plan {made.name}").encode())
    session.show(
        {"plan": str(out), "digest": sha256(data), "mix": str(drawing)},
        f"{words}\n\nplan    {out}\nmix     {drawing}\ndigest  {sha256(data)}\nnext    coop propose run {wanted.name}",
    )

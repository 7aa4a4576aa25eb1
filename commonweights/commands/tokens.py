"""`coop tokens`: the build as the model reads it: make, check and show it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from commonweights.cli import Session
from commonweights.commands.plan import locate_base, locate_build
from commonweights.names import names
from commonweights.progress import Progress, progress
from commonweights.run_inputs import find_base, find_build
from commonweights.workspace import Workspace, open_workspace
from governance_hooks.atomic import write_bytes
from governance_hooks.errors import BadInput

if TYPE_CHECKING:
    from data_pipeline.manifest import Build
    from data_pipeline.tokens.sample import Sample
    from data_pipeline.tokens.tokens import Tokens
    from governance_hooks.plan import Canaries, Plan

__all__ = ["tokens"]


@dataclass(frozen=True, slots=True)
class _Inputs:
    """What a config or a plan says about its tokens."""

    build: Build
    base: Path
    sequence_tokens: int
    max_too_long: float
    canaries: Canaries | None
    minimum_rating_gap: float | None
    """With objective dpo: rows are trained on in pairs."""
    seed: Path
    """Where the seed of the canaries is, if it is here."""
    expected: str | None
    """The digest a plan names; a config names none."""

    def make(self, show: Progress) -> Tokens:
        from data_pipeline.tokens.make import make_tokens

        return make_tokens(
            self.build,
            self.base,
            sequence_tokens=self.sequence_tokens,
            max_too_long=self.max_too_long,
            canaries=self.canaries,
            seed=self.seed,
            minimum_rating_gap=self.minimum_rating_gap,
            expected=self.expected,
            progress=show,
        )


def _inputs(space: Workspace, source: str, base: Path | None, show: Progress) -> _Inputs:
    from data_pipeline.manifest import read_build
    from data_pipeline.tokens.canary_rows import sealed

    path = Path(source)
    if path.suffix in (".yaml", ".yml"):
        from train.config import read_config

        config, near = read_config(path), path.parent
        seed = space.canary_seed(config.name)
        return _Inputs(
            read_build(locate_build(space, config.build, near)),
            base or locate_base(config.base, near, show),
            config.training.sequence_tokens,
            config.training.max_dropped_fraction,
            sealed(config.canaries, seed),
            config.training.minimum_rating_gap,
            seed,
            None,
        )
    plan = _plan(space, source)
    build = read_build(find_build(space, plan))
    training, seed = plan.training, space.canary_seed(plan.name)
    return _Inputs(
        build,
        find_base(plan, base),
        training.sequence_tokens,
        training.max_dropped_fraction,
        plan.canaries,
        training.minimum_rating_gap,
        seed,
        plan.tokens.digest,
    )


def _plan(space: Workspace, source: str) -> Plan:
    from governance_hooks.plan import read_plan

    file = Path(source) if Path(source).is_file() else space.plan(source)
    if not file.is_file():
        known = sorted(one.stem for one in space.plan("any").parent.glob("*.json"))
        raise BadInput(f"there is no plan {source}", allowed=f"{names(known, source)}; or a config (.yaml), or a plan file", next="coop plan CONFIG")
    return read_plan(file.read_bytes(), source=str(file))


_base_option = click.option(
    "--base", type=click.Path(path_type=Path, exists=True, file_okay=False), help="Folder of the base weights [default: the config's, or the cache]."
)


@click.group()
def tokens() -> None:
    """Make, check and show the dataset as the tokens a model reads.

    SOURCE is a config (.yaml) or a plan. Tokens are made once, on a CPU, beside the dataset, and are as private as its text; the plan
    names them by digest, and training reads nothing else.

    \b
    coop tokens make first.yaml     tokenise, before or with coop plan
    coop tokens show first          a sample, token by token
    """


@tokens.command()
@click.argument("source")
@_base_option
@click.pass_obj
def make(session: Session, source: str, base: Path | None) -> None:
    """Tokenise the dataset of SOURCE, unless that is done.

    \b
    coop tokens make first.yaml
    """
    from data_pipeline.tokens.pair_words import pair_lines

    with open_workspace(session.folder, read_only=True) as space, progress(quiet=session.json) as show:
        found = _inputs(space, source, base, show).make(show)
    told = found.description
    lines = [f"{told.samples} samples, digest {found.digest}"]
    for code, both in told.languages.items():
        train, left = both.train, f", {both.train.too_long} too long" if both.train.too_long else ""
        lines.append(f"  {code}  {train.rows:>8} to train on, {train.tokens:>11} tokens, {train.supervised:>11} learned{left}; {both.heldout.rows} held out")
    value = {"tokens": str(found.folder), "digest": found.digest, "languages": {code: both.model_dump() for code, both in told.languages.items()}}
    if told.pairs is not None:
        lines += ["", "pairs of them, which are what is trained on:", *(f"  {line}" for line in pair_lines(told.pairs.found))]
        dropped = sum(both.train.too_long for both in told.pairs.languages.values())
        held = sum(both.heldout.rows for both in told.pairs.languages.values())
        lines.append(f"  {dropped} pairs are too long; {held} are held out")
        value["pairs"] = told.pairs.model_dump()
    lines += [f"tokens  {found.folder}", "next    coop tokens show " + source]
    session.show(value, "\n".join(lines))


@tokens.command()
@click.argument("source")
@click.option("--all", "everything", is_flag=True, help="Tokenise every row again, not one in fifty.")
@_base_option
@click.pass_obj
def verify(session: Session, source: str, everything: bool, base: Path | None) -> None:
    """Check the tokens of SOURCE: digests, counts and masks of all, and rows tokenised again.

    \b
    coop tokens verify first --all
    """
    from data_pipeline.tokens.make import recipe_of, tokens_folder
    from data_pipeline.tokens.tokens import open_tokens
    from data_pipeline.tokens.verify import verify_tokens

    with open_workspace(session.folder, read_only=True) as space, progress(quiet=session.json) as show:
        inputs = _inputs(space, source, base, show)
        folder = tokens_folder(inputs.build, recipe_of(inputs.build, inputs.base, inputs.sequence_tokens, inputs.canaries, inputs.minimum_rating_gap))
        found = open_tokens(folder, expected=inputs.expected)
        seed = inputs.seed if inputs.seed.is_file() else None
        again = verify_tokens(found, inputs.build, inputs.base, permille=1000 if everything else 20, seed=seed, progress=show)
    unchecked = inputs.canaries is not None and seed is None
    value = {"tokens": str(folder), "digest": found.digest, "samples": found.description.samples, "tokenised_again": again, "canaries_unchecked": unchecked}
    words = f"{found.description.samples} samples hold: digests, root, counts and masks as {found.digest[:19]} says"
    if unchecked:
        words += f"\n  the canaries were not made again: their seed is not at {inputs.seed}"
    session.show(value, f"{words}\n  {again} rows tokenised again, all equal" + ("" if everything else " (--all for every row)"))


@tokens.command()
@click.argument("source")
@click.argument("records", nargs=-1)
@click.option("--language", help="Of this language [default: of any].")
@click.option("--first", "count", type=click.IntRange(1, 1000), default=1, show_default=True, help="So many samples, where no text is named.")
@click.option("--html", "out", type=click.Path(path_type=Path, dir_okay=False), help="Write a page instead.")
@_base_option
@click.pass_obj
def show(session: Session, source: str, records: tuple[str, ...], language: str | None, count: int, out: Path | None, base: Path | None) -> None:
    """Show samples of SOURCE token by token, and which of them are learned.

    RECORDS are ids of texts; without any, the first training rows, canaries only with --language zxx. The text is private: show it to who may read the dataset.

    \b
    coop tokens show first --language spa --first 3
    """
    from data_pipeline.tokens.canary_rows import canary_words
    from data_pipeline.tokens.tokenizer import load_tokenizer
    from data_pipeline.tokens.view import coloured, page, pieces, plain

    with open_workspace(session.folder, read_only=True) as space, progress(quiet=session.json) as report:
        inputs = _inputs(space, source, base, report)
        found = inputs.make(report)
        samples = _chosen(found, records, language, count)
        tokenizer = load_tokenizer(inputs.base)
    shown = [(sample, pieces(tokenizer, sample)) for sample in samples]
    if out is not None:
        write_bytes(out, page(f"{source}: what the model reads", shown).encode(), mode=0o600)
        session.show({"page": str(out), "samples": len(shown)}, f"{len(shown)} samples  {out}")
        return
    draw = coloured if sys.stdout.isatty() else plain
    value = {
        "samples": [
            {"record": s.record, "language": s.language, "split": s.split, "ids": s.ids.tolist(), "learned": [s.start, s.stop], "text": [p.text for p in drawn]}
            for s, drawn in shown
        ]
    }
    told = [canary_words(inputs.canaries)] if inputs.canaries is not None else []
    session.show(value, "\n\n".join(told + [f"{s.record} ({s.language}, {s.split}): {len(s.ids)} tokens, {s.supervised} learned\n{draw(p)}" for s, p in shown]))


@tokens.command()
@click.argument("plan")
@click.option("--svg", "out", type=click.Path(path_type=Path, dir_okay=False), help="Draw it too.")
@click.pass_obj
def mix(session: Session, plan: str, out: Path | None) -> None:
    """Show how often a PLAN reads each language; the plan alone says it, neither dataset nor tokens are needed.

    \b
    coop tokens mix first --svg mix.svg
    """
    from data_pipeline.tokens.mix_svg import mix_svg
    from data_pipeline.tokens.mixture import mix_lines, mixture

    with open_workspace(session.folder, read_only=True) as space:
        found = _plan(space, plan)
    rows, counted = mixture(found.tokens.languages, found.mix, epochs=found.training.epochs), "rows" if found.tokens.pairs is None else "pairs"
    if out is not None:
        write_bytes(out, mix_svg(rows, f"Languages in plan {found.name}").encode())
    value = {
        "plan": found.name,
        "strategy": found.mix.strategy,
        "languages": [
            {"language": row.language, "rows": row.rows, "tokens": row.tokens, "read": row.budget, "epochs": float(row.epochs), "capped": row.capped}
            for row in rows
        ],
    }
    session.show(value, "\n".join([f"{found.name}: {found.mix.strategy}", *mix_lines(rows, counted=counted), *([f"drawing  {out}"] if out else [])]))


def _chosen(found: Tokens, records: tuple[str, ...], language: str | None, count: int) -> list[Sample]:
    from itertools import chain, islice

    from governance_hooks.plan import CANARY_LANGUAGE

    if not records:
        picked = list(
            islice((sample for sample in found.train if sample.language == language or (language is None and sample.language != CANARY_LANGUAGE)), count)
        )
        if not picked:
            raise BadInput("no training row of this language", value=language, allowed=", ".join(found.train.languages))
        return picked
    wanted = {sample.record: sample for sample in chain(found.train, found.heldout) if sample.record in records}
    for record in records:
        if record not in wanted:
            out = next((row for row in found.left_out() if row.record == record), None)
            if out is not None:
                raise BadInput(
                    f"text {record} is too long and left out",
                    value=out.tokens,
                    allowed=f"training.sequence_tokens = {found.description.recipe.sequence_tokens}",
                )
            raise BadInput("no such text in the tokens", value=record, next="coop build why NAME RECORD")
    return [wanted[record] for record in records]

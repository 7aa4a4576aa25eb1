"""How a cooperative makes a build: with the quality stages its bylaws ask for, its evaluation suites, and what its log holds."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from commonweights.commands.contribute import seal_batches
from commonweights.workspace import Workspace
from governance_hooks.atomic import PREFIX, remove_leftovers, write_bytes
from governance_hooks.consent import Use
from governance_hooks.errors import BadInput, CoopError
from governance_hooks.process_lock import process_lock
from governance_hooks.state.consents import Contribution, Review

if TYPE_CHECKING:
    from data_pipeline.manifest import Build
    from data_pipeline.recipe import Recipe
    from data_pipeline.stages.stage import Suite
    from data_pipeline.steps import Steps
    from data_pipeline.store import ContributionStore

__all__ = ["add_suite", "choose_recipe", "make_build", "read_suites", "remake"]

Progress = Callable[[str, int, int], None]


def choose_recipe(space: Workspace, file: Path | None = None, without: Sequence[str] = ()) -> Recipe:
    """Return the stages of a build: all by default, changed by a YAML file and by what is left out, within what the bylaws ask for.

    Raises:
        BadInput: an unknown stage or parameter, or one the bylaws want otherwise.
    """
    from data_pipeline.recipe import DEFAULT, Recipe

    asked, said = space.coop.register.bylaws.stages, _read_stages(file) if file is not None else {}
    chosen = {name: said.get(name) or {} for name in {**DEFAULT.stages, **said}}
    Recipe.parse(chosen, source=str(file))  # what the file says is refused by the file's name
    for name in without:
        if name not in chosen:
            raise BadInput("there is no such stage to leave out", value=name, allowed=", ".join(chosen))
        if name in asked:
            raise BadInput("the bylaws ask for this stage", value=name, next="build with it, or propose other bylaws")
        del chosen[name]
    for name, parameters in asked.items():
        for parameter, value in parameters.items():
            if (said.get(name) or {}).get(parameter, value) != value:
                raise BadInput(f"{file}: the bylaws ask for another {name}.{parameter}", value=said[name][parameter], allowed=str(value), next="coop bylaws")
        chosen[name] = {**chosen.get(name, {}), **parameters}
    return Recipe.parse(chosen, source="the bylaws' stages")


def _read_stages(file: Path) -> dict[str, Any]:
    try:
        said = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadInput(f"{file} cannot be read as YAML: {error}", allowed="for example: near_duplicates: {likeness_permille: 800}") from error
    if not isinstance(said, dict) or not all(value is None or isinstance(value, dict) for value in said.values()):
        raise BadInput(f"{file} is not a mapping of stages to parameters", value=said, allowed="for example: near_duplicates: {likeness_permille: 800}")
    return said


def add_suite(space: Workspace, text: str) -> None:
    """Keep a copy of an evaluation suite, given as NAME=FILE, for every later build; raise BadInput for a suite that cannot be read."""
    from data_pipeline.stages.decontamination import read_suite

    name, equals, path = text.partition("=")
    if not equals or not name.replace("-", "").replace("_", "").isalnum() or not name.isascii():
        raise BadInput("--suite: not NAME=FILE", value=text, allowed="for example xcopa=eval/xcopa.jsonl")
    read_suite(Path(path), name)
    space.suites.mkdir(exist_ok=True)
    write_bytes(space.suites / f"{name}.jsonl", Path(path).read_bytes())


def read_suites(space: Workspace) -> list[Suite]:
    """Return the evaluation suites the cooperative keeps its rows clear of."""
    from data_pipeline.stages.decontamination import read_suite

    return [read_suite(path, path.stem) for path in sorted(space.suites.glob("*.jsonl"))] if space.suites.is_dir() else []


def make_build(
    space: Workspace,
    name: str,
    use: Use,
    *,
    heldout_permille: int = 150,
    recipe: Recipe | None = None,
    jobs: int = 0,
    parts: int = 0,
    steps: Steps | None = None,
    show: Progress | None = None,
) -> Path:
    """Build and log a dataset; a build that a crash left unlogged is logged, and a finished one is returned as it is.

    Args:
        space: the cooperative.
        name: of the build.
        use: what its rows will be used for.
        heldout_permille: of a thousand prompts, how many are held out.
        recipe: the quality stages; what the bylaws ask for, and all others, if None.
        jobs: processes, 0 for one a core if there is much to do.
        parts: into how many the records are cut, 0 for one every 16,384; it changes nothing in the build.
        steps: who does the parts' steps instead of this machine's processes (`commonweights.executors`).
        show: called as (label, done, total).
    """
    from data_pipeline.manifest import read_build
    from data_pipeline.store import ContributionStore
    from governance_hooks.statement import now

    out, register = space.build(name), space.coop.register
    if not out.is_dir():
        with _alone(out.parent), ContributionStore(space.contributions) as store:
            if steps is None:
                shutil.rmtree(space.build_parts, ignore_errors=True)  # of a build through datatrove that was given up
            seal_batches(space, store)
            _run(
                space,
                store,
                out,
                at=now(),
                size=register.size,
                use=use,
                heldout_permille=heldout_permille,
                recipe=recipe or choose_recipe(space),
                suites=read_suites(space),
                jobs=jobs,
                shards=parts,
                steps=steps,
                progress=show,
            )
    found = read_build(out)
    if found.digest not in register.builds:
        manifest = found.manifest
        said = {"manifest": found.digest, "root": manifest["root"], "records": manifest["records"], "stages": manifest["stages"]}
        space.coop.operate("coop.build/v1", said)
    return out


def remake(space: Workspace, build: Build, *, jobs: int = 0, show: Progress | None = None) -> None:
    """Make a build again from the log as it was at its position, and the store; raise CoopError unless it is the same to the byte."""
    from data_pipeline.diff import diff
    from data_pipeline.manifest import read_build
    from data_pipeline.recipe import Recipe
    from data_pipeline.store import ContributionStore

    manifest = build.manifest
    known = {suite.digest: suite for suite in read_suites(space)}
    missing = [name for name, digest in manifest["suites"].items() if digest not in known]
    if missing:
        raise CoopError(
            f"the evaluation suite {missing[0]} of the dataset is not at hand", value=manifest["suites"][missing[0]], next="coop build make --suite"
        )
    with _alone(build.folder.parent):
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=build.folder.parent))
        try:
            with ContributionStore(space.contributions) as store:
                _run(
                    space,
                    store,
                    folder / "again",
                    at=manifest["at"],
                    size=manifest["log"]["size"],
                    use=Use.model_validate(manifest["use"]),
                    heldout_permille=manifest["parameters"]["heldout_permille"],
                    max_characters=manifest["parameters"]["max_characters"],
                    recipe=Recipe.parse(manifest["stages"]),
                    suites=[known[digest] for digest in manifest["suites"].values()],
                    jobs=jobs,
                    progress=show,
                )
            again = read_build(folder / "again")
            if again.digest != build.digest:
                changes = diff(build, again)
                first = f"{len(changes)} texts differ, first {changes[0].record}: {changes[0].kind}, {changes[0].why}" if changes else "its texts are the same"
                raise CoopError(f"made again it is another dataset: {first}", value=again.digest, allowed=build.digest)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _alone(builds: Path) -> Iterator[None]:
    """Hold the folder of builds for this process, and remove what a killed one left there: members' texts."""
    with process_lock(builds / ".lock", "building a dataset"):
        remove_leftovers(builds)
        yield


def _run(space: Workspace, store: ContributionStore, out: Path, *, at: str, size: int, use: Use, **options: Any) -> None:
    """Run a build as of a log position: with the statements and consents before it."""
    from data_pipeline.build import build

    register = space.coop.register
    given: list[Contribution | Review] = [*register.contributions.values(), *register.reviews.values()]
    build(
        store,
        out,
        coop=register.coop,
        log_size=size,
        log_root="sha256:" + space.coop.log.root(size).hex(),
        at=at,
        use=use,
        consent_for=lambda member, language, batch: register.consent_for(member, use, language=language, batch=batch, at=at, position=size),
        signed={one.id: one.root for one in given if one.position < size},
        **options,
    )

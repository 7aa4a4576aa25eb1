"""`coop build`: the consented dataset at a log position: make, verify, compare, and prove what is whose."""

from __future__ import annotations

from pathlib import Path

import click

from commonweights.building import add_suite, choose_recipe, make_build, read_suites, remake
from commonweights.cli import Session
from commonweights.commands.build_card import card
from commonweights.commands.build_views import insights, sample
from commonweights.executors import EXECUTORS, steps_of
from commonweights.names import names
from commonweights.options import key_option
from commonweights.progress import progress
from commonweights.workspace import Workspace, load_key, member_of, open_workspace
from governance_hooks.atomic import write_bytes
from governance_hooks.canonical import dumps
from governance_hooks.consent import Use
from governance_hooks.errors import BadInput, Refused
from governance_hooks.vocabulary import LICENCES, PROCESSING, PURPOSES, RECIPIENTS

__all__ = ["build"]


@click.group()
def build() -> None:
    """Build, verify and compare datasets, and prove what is whose in them.

    \b
    coop build make voices-1                 the dataset, and its entry in the log
    coop build insights voices-1             what is in it, by language
    coop build why voices-1 RECORD           why a text is in it, or is not
    """


for other in (card, insights, sample):
    build.add_command(other)


@build.command()
@click.argument("name")
@click.option("--purpose", type=click.Choice(list(PURPOSES)), default="dpv:NonCommercialResearch", show_default=True, help="What the rows are for.")
@click.option("--licence", type=click.Choice(LICENCES), default="Apache-2.0", show_default=True, help="Licence of the weights to come.")
@click.option(
    "--recipient",
    "recipients",
    multiple=True,
    type=click.Choice(RECIPIENTS),
    default=["coop:PublicViaReleasedWeights"],
    show_default=True,
    help="Who is to get the weights.",
)
@click.option("--heldout", "heldout_permille", default=150, show_default=True, help="Share of prompts held out for evaluation, per mille.")
@click.option("--stages", type=click.Path(path_type=Path, dir_okay=False), help="YAML of quality stages and their parameters (docs/data_quality.md).")
@click.option("--without", multiple=True, metavar="STAGE", help="Leave out a quality stage; may be repeated.")
@click.option("--suite", "suites", multiple=True, metavar="NAME=FILE", help="Keep rows clear of this evaluation suite (JSON lines of item, text), from now on.")
@click.option(
    "--jobs", type=click.IntRange(0), help="Processes [default: one a core, if there is much to do]; with slurm, jobs at a time [default: all].", default=0
)
@click.option("--executor", type=click.Choice(EXECUTORS), default="pool", show_default=True, help="Who does the work; it changes nothing in the dataset.")
@click.option("--site", metavar="NAME", help="With --executor slurm: the cluster, by its profile sites/NAME.yaml.")
@click.option("--parts", type=click.IntRange(0, 100_000), default=0, show_default="one every 16,384 texts", help="Parts the texts are cut into.")
@click.pass_obj
def make(
    session: Session,
    name: str,
    purpose: str,
    licence: str,
    recipients: tuple[str, ...],
    heldout_permille: int,
    stages: Path | None,
    without: tuple[str, ...],
    suites: tuple[str, ...],
    jobs: int,
    executor: str,
    site: str | None,
    parts: int,
) -> None:
    """Build the dataset NAME from every text whose authors all consent to this use, at this log position.

    \b
    Every row passes the quality stages: repetition, language_id (marks), pii (rewrites), decontamination,
    review, near_duplicates. The bylaws may ask for some, with their parameters; the rest is yours to say:
    coop build make spring --stages stages.yaml --without review

    Nothing is dropped silently: each text that is left out has a reason its author can read (coop build why).

    With --executor datatrove or slurm the parts are kept in builds/.parts until the dataset is whole: the same command goes on
    where the last one was ended (docs/data_pipeline.md, "Beyond one machine").
    """
    from data_pipeline.manifest import read_build

    use = Use.model_validate({"purpose": purpose, "processing": list(PROCESSING), "recipients": list(recipients), "licence": licence})
    with open_workspace(session.folder) as space, progress(quiet=session.json) as show:
        for suite in suites:
            add_suite(space, suite)
        recipe, steps = choose_recipe(space, stages, without), steps_of(space, name, executor, jobs=jobs, site=site, show=show)
        out = make_build(space, name, use, heldout_permille=heldout_permille, recipe=recipe, jobs=jobs, parts=parts, steps=steps, show=show)
        found = read_build(out)
    manifest = found.manifest
    lines = [f"dataset {name}: {manifest['records']} texts, root {manifest['root'][:19]}, manifest {found.digest[:19]}"]
    lines += [f"  {code}  {n['train']:>6} train {n['heldout']:>5} held out, {n['members']} members" for code, n in manifest["languages"].items()]
    lines += [f"  left out: {count} {reason}" for reason, count in manifest["excluded"].items()]
    lines += [f"  marked:   {count} {mark}" for mark, count in manifest["marks"].items()]
    lines.append(f"  stages:   {', '.join(manifest['stages']) or 'none'}" + (f"; clear of {', '.join(manifest['suites'])}" if manifest["suites"] else ""))
    lines.append(f"each reason by text: {out / 'excluded.jsonl'}")
    said = {key: manifest[key] for key in ("records", "root", "languages", "excluded", "marks", "stages", "suites")}
    session.show({"build": str(out), "manifest": found.digest} | said, "\n".join(lines))


@build.command()
@click.argument("name")
@click.option("--remake", "again", is_flag=True, help="Also make it again from the log and the store, which must give the same bytes.")
@click.option("--jobs", type=click.IntRange(0), default=0, show_default="one a core, if there is much to do", help="Processes, with --remake.")
@click.pass_obj
def verify(session: Session, name: str, again: bool, jobs: int) -> None:
    """Check the dataset NAME from end to end, offline: files, ledger, every row's text and rules, and that consents stood when it was made.

    \b
    coop build verify voices-1 --remake
    """
    from data_pipeline.manifest import BATCHES
    from data_pipeline.verify import verify_build
    from governance_hooks.batches import check_batches, read_batches
    from governance_hooks.ledger import read_ledger
    from governance_hooks.links import check_consents, check_stages
    from governance_hooks.reviews import check_reviews, read_reviews

    with open_workspace(session.folder, read_only=True) as space, progress(quiet=session.json) as show:
        register, found = space.coop.register, verify_build(_folder(space, name), read_suites(space))
        manifest = found.manifest
        if found.digest not in register.builds:
            raise Refused("the log does not know this dataset", value=found.digest, next="coop build make")
        check_stages(found.folder, register.builds[found.digest])
        rows, _ = read_ledger(found.ledger)
        signed = check_batches(register, rows, read_batches(found.folder / BATCHES))
        rated = sum(1 for _ in check_reviews(register, read_reviews(found.reviews)))
        stood = check_consents(register, rows, Use.model_validate(manifest["use"]), at=manifest["at"], position=manifest["log"]["size"])
        if again:
            remake(space, found, jobs=jobs, show=show)
    value = {"build": name, "manifest": found.digest, "records": manifest["records"], "consents": stood, "signed": signed, "ratings": rated, "remade": again}
    lines = [
        f"{name} holds: files, ledger and every row as the manifest {found.digest[:19]} says",
        f"  {signed}; {rated} ratings, each signed by its reviewer",
        f"  {stood} at entry {manifest['log']['size']}",
        *(["  made again from the log and the store: the same bytes"] if again else []),
    ]
    session.show(value, "\n".join(lines))


@build.command()
@click.argument("a")
@click.argument("b")
@click.option("--all", "everything", is_flag=True, help="List every text, not the first 20 of each kind.")
@click.pass_obj
def diff(session: Session, a: str, b: str, everything: bool) -> None:
    """Show which texts came, went or changed from dataset A to dataset B, and why.

    \b
    coop build diff voices-1 voices-2
    """
    from collections import Counter

    from data_pipeline.diff import diff as compare
    from data_pipeline.manifest import read_build

    with open_workspace(session.folder, read_only=True) as space:
        changes = compare(read_build(_folder(space, a)), read_build(_folder(space, b)))
    counts = Counter(change.kind for change in changes)
    lines = [f"{a} -> {b}: {counts['came']} came, {counts['went']} went, {counts['changed']} changed"]
    for kind in ("came", "went", "changed"):
        listed = [change for change in changes if change.kind == kind]
        shown = listed if everything else listed[:20]
        lines += [f"  {kind:<8} {change.record:<24} {change.why}" for change in shown]
        if len(shown) < len(listed):
            lines.append(f"  {kind:<8} and {len(listed) - len(shown)} more (--all)")
    value = {"counts": dict(counts), "changes": [{"record": c.record, "kind": c.kind, "why": c.why} for c in changes]}
    session.show(value, "\n".join(lines))


@build.command()
@click.argument("name")
@click.argument("member", required=False)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write the proof here, for anybody to check.")
@key_option
@click.pass_obj
def prove(session: Session, name: str, member: str | None, out: Path | None, key: Path | None) -> None:
    """Prove that MEMBER [default: you] has rows in the dataset NAME, or has none.

    \b
    coop build prove voices-1 --out mine.json
    """
    from data_pipeline.manifest import read_build, read_ledger
    from governance_hooks.ownership import OwnershipTree

    with open_workspace(session.folder, read_only=True) as space:
        who = member or member_of(space.coop, load_key(key))
        found = read_build(_folder(space, name))
        rows = read_ledger(found)
        proof = OwnershipTree.of_lines([row.authors for row in rows], found.ledger.read_bytes().split(b"\n")[:-1]).prove(who)
    count = proof.check()
    data = dumps(proof.model_dump())
    if out is not None:
        write_bytes(out, data)
    words = f"{count} rows of {name} rest on {who}" if count else f"no row of {name} rests on {who}"
    where = f"\nproof of {len(data)} bytes: {out}; anybody checks it: coop build check {out} --root {proof.root}" if out else ""
    session.show({"member": who, "rows": count, "root": proof.root, "bytes": len(data)}, f"{words}: PROVEN under root {proof.root[:19]}{where}")


@build.command()
@click.argument("proof", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--root", required=True, help="The dataset's root, as the plan, the manifest or the log names it.")
@click.pass_obj
def check(session: Session, proof: Path, root: str) -> None:
    """Check a PROOF somebody gave you, without the dataset and without the cooperative's folder.

    \b
    coop build check mine.json --root sha256:...
    """
    from governance_hooks.ownership import read_ownership

    found = read_ownership(proof.read_bytes(), source=str(proof))
    if found.root != root:
        raise Refused("this proof is about another dataset", value=found.root, allowed=root)
    count = found.check()
    words = f"{count} of {found.rows} rows rest on {found.member}" if count else f"none of the {found.rows} rows rests on {found.member}"
    session.show({"member": found.member, "rows": count, "root": root}, f"{words}: PROVEN")


@build.command()
@click.argument("name")
@click.argument("record")
@click.pass_obj
def why(session: Session, name: str, record: str) -> None:
    """Say why the text RECORD is, or is not, in the dataset NAME.

    \b
    coop build why voices-1 sha256:...
    """
    from data_pipeline.manifest import read_build, read_ledger
    from data_pipeline.verify import read_exclusions

    with open_workspace(session.folder, read_only=True) as space:
        found = read_build(_folder(space, name))
    line = next((line for line in read_ledger(found) if line.record == record), None)
    reason, detail = read_exclusions(found).get(record, ("not stored", "no such text when the dataset was built"))
    if line is not None:
        text = f"{record} is in {name} ({line.split}): {', '.join(f'{a} consents by {c[:19]}' for a, c in zip(line.authors, line.consents, strict=True))}"
        session.show({"record": record, "in": True} | line.as_dict(), text)
    else:
        session.show({"record": record, "in": False, "reason": reason, "detail": detail}, f"{record} is not in {name}: {reason}, {detail}")


def _folder(space: Workspace, name: str) -> Path:
    folder = Path(name) if (Path(name) / "manifest.json").is_file() else space.build(name)
    if not folder.is_dir():
        raise BadInput(f"there is no dataset {name}", allowed=f"{names(space.builds(), name)}; or a dataset folder", next="coop build make NAME")
    return folder

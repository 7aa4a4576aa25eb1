"""Payouts in the cooperative's folder: rules and documents, the work counted from builds, and each member's own statement."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import ValidationError

from commonweights.attributing import read_shares, shares_files
from commonweights.workspace import Workspace
from governance_hooks.atomic import atomic_directory, write_bytes
from governance_hooks.canonical import dumps, sha256
from governance_hooks.errors import BadInput
from governance_hooks.money import show_amount
from governance_hooks.plan import explain_validation, read_plan
from governance_hooks.register import Register
from governance_hooks.report import StepUnknown
from governance_hooks.reviews import check_reviews, read_reviews
from governance_hooks.stake.allocation import Portion
from governance_hooks.stake.beancount import beancount
from governance_hooks.stake.guilds import Assignment, read_assignment
from governance_hooks.stake.payout import Evidence, Payout, SharesUsed, read_payout
from governance_hooks.stake.rule import WORKS, PayoutRule
from governance_hooks.stake.work import Done, count_work

__all__ = [
    "accepted_work",
    "build_with",
    "evidence_of",
    "payout_file",
    "read_rule_file",
    "rule_file",
    "shares_used",
    "stakes_of",
    "statement_words",
    "write_payout",
    "write_rule",
]

DOCUMENT: Final = "payout.json"
LEDGER: Final = "ledger.beancount"
_WORDS: Final = {
    "record": ("text of your own", "texts of your own"),
    "edit": ("edit of somebody's text", "edits of others' texts"),
    "translation": ("translation", "translations"),
    "rating": ("rating", "ratings"),
    "review": ("signed review", "signed reviews"),
}


def payout_file(space: Workspace, name: str) -> Path:
    """Return the document of a payout by name or path."""
    path = Path(name)
    found = path if path.is_file() else space.root / "payouts" / name / DOCUMENT
    if not found.is_file():
        raise BadInput(f"there is no payout {name}", next="coop payout make RULE")
    return found


def rule_file(space: Workspace, name: str) -> Path:
    """Return the canonical file of a rule by name or path."""
    path = Path(name)
    found = path if path.is_file() else space.root / "payouts" / "rules" / f"{name}.json"
    if not found.is_file():
        raise BadInput(f"there is no rule {name}", next="coop payout rule FILE")
    return found


class _Once(yaml.SafeLoader):
    """YAML in which a key stands once: PyYAML would keep the last, silently."""


def _mapping(loader: _Once, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [key.value for key, _ in node.value]
    twice = next((key for key in keys if keys.count(key) > 1), None)
    if twice is not None:
        raise yaml.constructor.ConstructorError(None, None, f"the key {twice} stands twice", node.start_mark)
    return loader.construct_mapping(node, deep=True)


_Once.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read_rule_file(path: Path, coop: str) -> PayoutRule:
    """Read a rule as people write it (YAML); raise BadInput with the nearest name for an unknown field."""
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=_Once)  # noqa: S506 - a safe loader that also refuses double keys
    except (OSError, yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(f"{path} is not YAML: {error}") from error
    if not isinstance(document, dict):
        raise BadInput(f"{path} holds no rule", allowed="name, currency, parts, units, ... (docs/stake.md)")
    try:
        return PayoutRule.model_validate({"coop": coop} | document)
    except ValidationError as error:
        raise explain_validation(error, PayoutRule, str(path)) from error


def write_rule(space: Workspace, rule: PayoutRule) -> Path:
    """Write the canonical file members vote on; raise BadInput for another rule of this name."""
    path, data = space.root / "payouts" / "rules" / f"{rule.name}.json", dumps(rule.model_dump(mode="json"))
    if path.is_file() and path.read_bytes() != data:
        raise BadInput(f"{path} is another rule of this name", value=sha256(data), allowed=sha256(path.read_bytes()), next="give the rule another name")
    write_bytes(path, data)
    return path


def build_with(space: Workspace, manifest: str) -> Path:
    """Return the build folder with a manifest of this digest; raise StepUnknown where it is not here."""
    for path in sorted((space.root / "builds").glob("*/manifest.json")):
        if sha256(path.read_bytes()) == manifest:
            return path.parent
    raise StepUnknown("the dataset whose work counts is not in this folder", todo="fetch it, or ask whoever keeps the texts to check")


def shares_used(space: Workspace, run: str) -> SharesUsed:
    """Return the shares of a run, recomputed; raise BadInput where nothing was gained."""
    made = read_shares(space, run)
    if made["shares"] is None:
        raise BadInput(f"by the voted utility run {run} gained nothing, so its guilds have no shares", next="a rule that gives guilds nothing")
    ppm = {guild: one["share_ppm"] for guild, one in made["shares"].items()}
    return SharesUsed(run=run, digest=sha256(shares_files(space, run)["stake/shares.json"]), utility=made["utility"], ppm=ppm)


def accepted_work(space: Workspace, register: Register, rule: PayoutRule, manifest: str, run: str | None) -> list[Done]:
    """Count the accepted work of a build again, from ledger, rows, signed ratings and the log."""
    from data_pipeline.guilds import assign, kinds_of
    from data_pipeline.manifest import read_build, read_ledger
    from data_pipeline.parquet import checked_rows

    build = read_build(build_with(space, manifest))
    rows = read_ledger(build)
    kinds = kinds_of(list(checked_rows(build.records, rows)))
    assignment: Assignment
    if run is not None:
        attribution = read_plan((space.run(run) / "plan.json").read_bytes()).attribution
        if attribution is None:
            raise BadInput("members voted on no attribution for this run", value=run)
        assignment = read_assignment((space.run(run) / "stake" / "guilds.jsonl").read_bytes(), expected=attribution.assignment)
    else:  # only near copies matter where no guild is paid
        made = assign(build, guilds="language", minimum_members=1)
        assignment = Assignment({}, made.copies)
    ratings = list(check_reviews(register, read_reviews(build.reviews)))
    return count_work(register, rows, kinds, ratings, assignment, rule)


def evidence_of(space: Workspace) -> Evidence:
    """Return what the folder holds to check payouts against."""

    def at(size: int) -> tuple[Register, str]:
        return space.coop.proof().fold(size), "sha256:" + space.coop.log.root(size).hex()

    def shares(run: str) -> tuple[bytes, Mapping[str, int], str]:
        try:
            used = shares_used(space, run)
        except OSError as error:
            raise StepUnknown(f"the shares of run {run} are not in this folder", todo="fetch runs/RUN/stake") from error
        return shares_files(space, run)["stake/shares.json"], used.ppm, used.utility

    def work(payout: Payout, register: Register) -> list[Done]:
        return accepted_work(space, register, payout.rule, payout.build, payout.shares.run if payout.shares is not None else None)

    return Evidence(at=at, shares=shares, work=work)


def _pieces(payout: Payout, member: str) -> str:
    counts = {work: sum(one.pieces for one in payout.work if one.member == member and one.work == work) for work in WORKS}
    said = [f"{count} {_WORDS[work][count != 1]}" for work, count in counts.items() if count]
    return ", ".join(said) or "no work that counts"


def statement_words(payout: Payout, member: str) -> str:
    """Return what a member is told of their part in a payout, in plain words."""
    currency, rule = payout.rule.currency, payout.rule
    mine = payout.allocation.members.get(member, Portion(guilds=0, patronage=0, above_cap=0, departed=0, paid=0))
    lines = [
        f"Your statement, payout {payout.name}",
        "",
        f"The cooperative took in {show_amount(payout.total, currency)}. Members voted how it is divided, and on every amount.",
        f"You are {member}. What you did and was accepted: {_pieces(payout, member)}.",
        "",
        f"From your guilds' shares: {show_amount(mine.guilds, currency)}",
    ]
    if payout.shares is not None:
        guilds = sorted({one.guild for one in payout.work if one.member == member and one.guild is not None})
        for guild in guilds:
            ppm, amount = payout.shares.ppm[guild], payout.allocation.guilds[guild]
            lines.append(f"  {guild}: this guild has {ppm / 10_000:.1f}% of the guilds' part, {show_amount(amount, currency)} for all of it")
    lines.append(f"From all your work: {show_amount(mine.patronage, currency)}")
    if mine.above_cap:
        lines.append(f"Above what one member may get ({rule.member_cap_percent}%), so for the common fund: -{show_amount(mine.above_cap, currency)}")
    if mine.departed:
        lines.append(f"You have left, and by the rule this goes to the common fund: -{show_amount(mine.departed, currency)}")
    lines += [
        f"You get: {show_amount(mine.paid, currency)}",
        "",
        f"The common fund gets {show_amount(payout.allocation.common_fund, currency)}, the reserve {show_amount(payout.allocation.reserve, currency)}.",
        "If a count is wrong, say so before the vote ends. Count again yourself: coop payout check",
    ]
    return "\n".join(lines) + "\n"


def write_payout(space: Workspace, payout: Payout) -> Path:
    """Write the document with its bookkeeping, and a private statement for each member; return the folder."""
    data = payout.dumps()
    target = space.root / "payouts" / payout.name
    with atomic_directory(target) as folder:
        (folder / DOCUMENT).write_bytes(data)
        text = beancount(payout, space.coop.register, digest=sha256(data), day=space.coop.clock()[:10])
        (folder / LEDGER).write_text(text, encoding="utf-8")
    private = space.root / "private" / "statements" / payout.name
    private.mkdir(parents=True, exist_ok=True, mode=0o700)
    for member in payout.allocation.members:
        write_bytes(private / f"{member}.txt", statement_words(payout, member).encode(), mode=0o600)
    return target


def stakes_of(space: Workspace, member: str) -> list[tuple[str, Payout, str]]:
    """Return the payouts a member has a part in: name, document, and how far it is."""
    register, found = space.coop.register, []
    for path in sorted((space.root / "payouts").glob(f"*/{DOCUMENT}")):
        data = path.read_bytes()
        payout = read_payout(data, source=str(path))
        if member in payout.allocation.members:
            proposed = [one for one in register.proposals.values() if one.kind == "payout" and one.subject == sha256(data)]
            approved = any(one.tally is not None and one.tally.approved for one in proposed)
            state = "paid" if sha256(data) in register.payouts else "approved, not paid yet" if approved else "voted on" if proposed else "a draft"
            found.append((path.parent.name, payout, state))
    return found

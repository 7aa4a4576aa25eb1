"""What was measured: losses and scores by language with their intervals, the leak test, and the shares of the guilds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from model_card.people import Crowd, counts_of
from model_card.previous import Previous
from model_card.records import CardRecords, Field, Source, estimated, not_applicable, not_collected

__all__ = ["contamination_of", "evaluation_of", "language_rows", "leak_of", "people_behind_tasks", "safety_of", "shares_of", "tasks_of"]

OUTCOME: Final = ("items", "tokens", "base", "tuned", "difference", "low", "high", "resampled", "verdict", "improved")
TASK: Final = (
    "items", "unjudged", "base", "tuned", "tuned_low", "tuned_high", "difference", "low", "high", "detectable", "p_corrected", "verdict", "reason", "improved", "contaminated", "clean", "previous",
)  # fmt: skip
PEOPLE: Final = ("heldout_chrf", "preference")
"""Tasks whose clusters are people."""
LOWER_IS_BETTER: Final = ("unsafe_compliance", "over_refusal")
NOT_EVALUATED: Final = "the run was not evaluated"
TOO_FEW: Final = "too few held-out rows to state it"


def _missing(report: Source) -> str:
    return TOO_FEW if report.sha256 else NOT_EVALUATED


def _to_previous(records: CardRecords, language: str, previous: Previous | None) -> Field:
    """Return the difference to the release before, where both were measured on the same held-out answers."""
    if previous is None:
        return not_applicable("there is no release before it in this folder")
    build = previous.field("data", "manifest")
    if build is None or build["value"] != records.manifest.sha256:
        return not_applicable("the release before was measured on other held-out answers (another build)")
    before, now = previous.field("languages", language, "tuned"), records.report.field("languages", language, "tuned")
    if before is None or "value" not in now or not isinstance(before["value"], (int, float)) or isinstance(before["value"], bool):
        return not_collected("one of the two was not measured")
    method = "difference of the two releases' means on the same held-out answers; no interval: their items are not paired here"
    return estimated(now["value"] - before["value"], method, now, before)


def language_rows(records: CardRecords, crowd: Crowd, previous: Previous | None) -> dict[str, dict[str, Any]]:
    """Return the row of each language: people, rows, tokens, losses, interval, verdict, scores of tasks, difference to the release before."""
    manifest, run, report = records.manifest, records.run, records.report
    found: dict[str, dict[str, Any]] = {}
    for language in sorted(records.plan.build.languages):
        row: dict[str, Any] = {"members": crowd.part(manifest, "languages", language, "members")}
        for split in ("train", "heldout"):
            row[split] = manifest.field("languages", language, split)
        for kind in ("input", "supervised"):
            row[f"{kind}_tokens"] = run.field("tokens", language, kind, missing="the run trained on no record of this language")
        row["contributors_heldout"] = crowd.part(report, "languages", language, "clusters", missing=_missing(report))
        for name in OUTCOME:
            row[f"heldout_{name}" if name in ("items", "tokens") else name] = report.field("languages", language, name, missing=_missing(report))
        row["difference_to_previous"] = _to_previous(records, language, previous)
        row["consent"] = manifest.field("use")
        row["reviewers"] = not_collected("reviews are signed by batch; how many native speakers reviewed a language is not among the public records")
        found[language] = row
    return found


def evaluation_of(records: CardRecords, crowd: Crowd) -> dict[str, Any]:
    """Return the voted policy, what came out over all languages, and how it was measured."""
    report, plan = records.report, records.plan_source
    overall: dict[str, Field] = {"contributors_heldout": crowd.total(report, "overall", "clusters", missing=_missing(report))}
    overall |= {name: report.field("overall", name, missing=_missing(report)) for name in OUTCOME}
    facts = (
        "passed",
        "blocking",
        "waivable",
        "worse",
        "unproven",
        "skipped",
        "languages_without_prompt",
        "precision",
        "device",
        "threads",
        "batch",
        "packages",
        "wall_s",
    )
    return {"policy": plan.field("evaluation"), "overall": overall} | {name: report.field(name, missing=NOT_EVALUATED if not report.sha256 else "the report does not hold it") for name in facts}  # fmt: skip


def _clusters(crowd: Crowd, report: Source, kind: object, *keys: str) -> Field:
    """Return the number of clusters of a task; they are people where members' own rows or choices are the items."""
    if kind not in PEOPLE:
        return report.field(*keys)
    return crowd.total(report, *keys) if keys[2] == "overall" else crowd.part(report, *keys)


def _or_none(report: Source, *keys: str) -> Field:
    """Return a field of which null says that there is nothing of the kind."""
    return report.field(*keys) if report.get(*keys) is not None else not_applicable("there is nothing of the kind in this task")


def tasks_of(records: CardRecords, crowd: Crowd) -> dict[str, Any]:
    """Return the scores of the tasks beside held-out loss, by task and language, with intervals and verdicts."""
    report = records.report
    found: dict[str, Any] = {}
    for task, kind in sorted(task_kinds(report).items()):
        languages = report.get("tasks", task, "languages")
        facts = {name: _or_none(report, "tasks", task, name) for name in ("kind", "tier", "verdict", "missing", "items", "between_languages")}
        rows = {
            language: {name: report.field("tasks", task, "languages", language, name, missing=TOO_FEW) for name in TASK}
            | {"clusters": _clusters(crowd, report, kind, "tasks", task, "languages", language, "clusters")}
            for language in (sorted(languages) if isinstance(languages, dict) else [])
        }
        overall = {name: report.field("tasks", task, "overall", name, missing="not pooled over languages") for name in TASK}
        overall["clusters"] = _clusters(crowd, report, kind, "tasks", task, "overall", "clusters")
        found[task] = facts | {"lower_is_better": kind in LOWER_IS_BETTER, "overall": overall, "languages": rows}
    return found


def task_kinds(report: Source) -> dict[str, object]:
    """Return the kind of each task the report has."""
    tasks = report.get("tasks")
    return {str(name): task.get("kind") for name, task in tasks.items() if isinstance(task, Mapping)} if isinstance(tasks, dict) else {}


def people_behind_tasks(report: Source) -> list[object]:
    """Return the numbers of people by language behind the tasks whose items are members' own."""
    return [
        count
        for task, kind in task_kinds(report).items()
        if kind in PEOPLE
        for count in counts_of(report.document, "tasks", task, "languages", "*", "clusters")
    ]


def safety_of(records: CardRecords) -> dict[str, Any]:
    """Return the safety tests both ways, complying with harmful requests and refusing harmless ones, by task and language."""
    report = records.report
    found = {
        task: {
            "kind": report.field("tasks", task, "kind"),
            "verdict": report.field("tasks", task, "verdict"),
            "rate": report.field("tasks", task, "overall", "tuned", missing=TOO_FEW),
            "low": report.field("tasks", task, "overall", "tuned_low", missing=TOO_FEW),
            "high": report.field("tasks", task, "overall", "tuned_high", missing=TOO_FEW),
        }
        for task, kind in sorted(task_kinds(report).items())
        if kind in LOWER_IS_BETTER
    }
    return found or not_collected("no safety test was run on these weights: the voted policy names none")


def contamination_of(records: CardRecords) -> dict[str, Any]:
    """Return how many items of each task overlap with the training data, and the scores without them."""
    report = records.report
    found = {
        task: {name: _or_none(report, "tasks", task, "overall", name) for name in ("items", "contaminated", "clean")} for task in sorted(task_kinds(report))
    }
    return found or not_collected("no task with outside items was evaluated; held-out answers are kept apart by the build's near-duplicate rules")


_LEAK: Final[dict[str, tuple[str, ...]]] = {
    "passed": ("passed",),
    "criteria": ("criteria",),
    "policy": ("policy",),
    "epsilon_lower": ("numbers", "epsilon", "lower_bound"),
    "epsilon_with_delta": ("numbers", "epsilon", "with_delta"),
    "delta": ("numbers", "epsilon", "delta"),
    "epsilon_ceiling": ("numbers", "epsilon", "ceiling"),
    "auc": ("numbers", "auc"),
    "tpr": ("numbers", "tpr"),
    "exposure": ("numbers", "exposure"),
    "extraction": ("numbers", "extraction"),
    "control": ("numbers", "control"),
    "made": ("numbers", "made"),
    "included": ("numbers", "included"),
    "confidence": ("numbers", "confidence"),
    "items": ("items",),
}


_DIFFERENTIAL: Final[dict[str, tuple[str, ...]]] = {
    "verdict": ("verdict",),
    "passed": ("passed",),
    "criteria": ("criteria",),
    "flags": ("flags",),
    "previous_run": ("previous", "run"),
    "lines_left": ("numbers", "left"),
    "lines_never_in": ("numbers", "never"),
    "confidence": ("numbers", "confidence"),
    "auc": ("numbers", "auc"),
    "tpr": ("numbers", "tpr"),
    "permutation": ("numbers", "permutation"),
}


def leak_of(leak: Source | None, differential: Source | None, crowd: Crowd) -> dict[str, Any]:
    """Return the leak test's numbers, the lower bound of epsilon among them: that nothing was extracted is no proof that nothing leaks."""
    if leak is None:
        nothing = not_collected("no leak test was run on these weights")
        section: dict[str, Any] = {"verdict": nothing} | dict.fromkeys(_LEAK, nothing)
    else:
        section = {"verdict": leak.field("verdict", missing="members voted no leak policy: the numbers are shown, and nothing was required of them")}
        section |= {name: leak.field(*keys) for name, keys in _LEAK.items()}
    if differential is None:
        section["differential"] = not_applicable("no comparison with the release before is in this folder")
    else:
        # Not the record as a whole: it holds a loss of each canary, and the plan before in full.
        section["differential"] = {name: differential.field(*keys, missing="no limit was voted for it") for name, keys in _DIFFERENTIAL.items()}
        section["differential"] |= {f"members_{name}": crowd.part(differential, "members", name) for name in ("left", "joined")}
        section["differential"] |= {f"members_{name}": crowd.total(differential, "members", name) for name in ("previous", "now")}
    return section


def shares_of(shares: Source | None, crowd: Crowd, *, voted: bool) -> dict[str, Any]:
    """Return the shares of the guilds under the voted utility and two others, beside the plain share of records; members of small guilds are withheld."""
    if shares is None:
        uncounted = "members voted how the credit is shared among guilds, and the shares were not computed before this release"
        nothing = not_collected(uncounted) if voted else not_applicable("members voted no attribution for this run")
        return {"method": nothing, "utility": nothing, "shares": nothing}
    names = (
        "verdict",
        "method",
        "utility",
        "interval",
        "shares",
        "alternatives",
        "collapsed",
        "trainings",
        "seeds",
        "permutations",
        "splitting",
        "values",
        "guilds",
    )
    section: dict[str, Any] = {name: shares.field(name) for name in names}
    if shares.get("shares") is None:
        section["shares"] = not_applicable("no guild's data made the weights better by the voted measure, so there is nothing to share")
    players = shares.get("players")
    section["players"] = {
        guild: {
            "records": shares.field("players", guild, "records"),
            "record_share_ppm": shares.field("players", guild, "record_share_ppm"),
            "members": crowd.part(shares, "players", guild, "members"),
        }
        for guild in (sorted(players) if isinstance(players, dict) else [])
    }
    return section

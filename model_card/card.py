"""The card: one JSON document in which every value points to the record it came from.

A field is `{"value", "source", "sha256"}` or `{"estimated", "method", "from"}`, or says why there is no value: `not_collected`,
`not_applicable`, or `withheld` and `by` whom. Nothing is blank and nothing is typed by hand, so a verifier renders it again from the
bundle and compares bytes.
"""

from __future__ import annotations

from typing import Any, Final

from governance_hooks.canonical import is_digest
from governance_hooks.errors import BadInput
from model_card.compute import compute_of, energy_of
from model_card.decisions import consent_of, dissent_of, gates_of, statements_of_card, votes_section
from model_card.measurements import contamination_of, evaluation_of, language_rows, leak_of, people_behind_tasks, safety_of, shares_of, tasks_of
from model_card.people import SUPPRESS_BELOW, Crowd, counts_of
from model_card.previous import previous_card
from model_card.records import CardRecords, Field, Source, not_applicable, not_collected
from model_card.renderer import renderer_digest

__all__ = ["FORMAT", "SUPPRESS_BELOW", "make_card"]

FORMAT: Final = "coop.card/v2"
_AFTER: Final = "it comes after this card, which members vote on; coop verify shows it"
_RUN: Final = (
    "run", "status", "reason", "started", "ended", "wall_s", "starts", "steps", "total_steps", "tokens", "trained_records", "trained_root", "dropped", "loss", "device", "threads",
    "packages", "trainable_parameters", "parameters", "outputs", "hardware", "environment", "segments", "unreleasable",
)  # fmt: skip


def _check(records: CardRecords) -> None:
    if not is_digest(records.coop):
        raise BadInput("the cooperative is named by the digest of its founding statement", value=records.coop, allowed="sha256:<64 hex>")
    plan, build = records.plan_source.sha256, records.manifest.sha256
    for path, what, found, expected in (
        ("plan.json", "coop", records.plan.coop, records.coop),
        ("plan.json", "build", records.plan.build.manifest, build),
        ("data/manifest.json", "languages", records.manifest.get("languages"), records.plan.build.languages),
        ("run.json", "plan", records.run.get("plan"), plan),
        *(
            []
            if records.report_bytes is None
            else [("eval/report.json", "plan", records.report.get("plan"), plan), ("eval/report.json", "build", records.report.get("build"), build)]
        ),
    ):
        if found != expected:
            raise BadInput(f"{path} belongs to other records: field {what}", value=found, allowed=str(expected))


def _of_this_run(source: Source | None, records: CardRecords) -> Source | None:
    """Return an optional record; refuse one that names another run or plan."""
    if source is not None:
        for name, expected in (("run", records.run.get("run")), ("plan", records.plan_source.sha256)):
            found = source.get(name)
            if found is not None and found != expected:
                raise BadInput(f"{source.path} belongs to other records: field {name}", value=found, allowed=str(expected))
    return source


def _crowd(records: CardRecords, shares: Source | None, differential: Source | None) -> Crowd:
    parts = counts_of(records.manifest.document, "languages", "*", "members") + counts_of(records.report.document, "languages", "*", "clusters")
    parts += people_behind_tasks(records.report)
    parts += counts_of(shares.document, "players", "*", "members") if shares is not None else []
    return Crowd(parts + ([differential.get("members", name) for name in ("left", "joined")] if differential is not None else []))


def _weights(records: CardRecords) -> dict[str, Any]:
    """Return what weights the folder holds beside what the run wrote: merged and GGUF ones, by the records of their derivation."""
    derived = {}
    for path in sorted(path for path in records.files if path.startswith("derived/") and path.endswith(".json")):
        source = records.optional(path, ("coop.export/v1", "coop.merge/v1", "coop.gguf/v1"))
        assert source is not None  # its path is in the files
        derived[path] = {"value": source.sha256, "source": f"{path}#", "sha256": source.sha256}
    return {
        "outputs": records.run.field("outputs", missing="the run wrote none"),
        "derived": derived or not_applicable("this folder holds no merged or converted weights"),
    }


def _training(records: CardRecords) -> dict[str, Field]:
    plan = records.plan_source
    return {
        name: plan.field("training", name)
        if plan.get("training", name) is not None
        else not_applicable("no limit was voted" if name == "max_steps" else "not part of the method members voted for")
        for name in sorted(plan.get("training"))
        if name != "lora"
    } | {f"lora_{name}": plan.field("training", "lora", name) for name in sorted(plan.get("training", "lora") or {})}


def make_card(records: CardRecords) -> dict[str, Any]:
    """Render the card ("coop.card/v2") from the release's own records; the same records give the same bytes.

    Raises:
        BadInput: a record is not canonical, has another format, or belongs to another plan, build, run or cooperative.
    """
    _check(records)
    plan, run, manifest = records.plan_source, records.run, records.manifest
    leak = _of_this_run(records.optional("privacy/leak.json", ("coop.leak/v1",)), records)
    differential = records.optional("privacy/differential.json", ("coop.leak-differential/v1",))
    shares = _of_this_run(records.optional("stake/shares.json", ("coop.shares/v1",)), records)
    before = previous_card(records)
    crowd = _crowd(records, shares, differential)
    return {
        "format": FORMAT,
        "renderer": renderer_digest(),
        "name": {"value": records.name, "source": "release.json#/name", "sha256": None},  # release.json names the card, not the reverse
        "coop": plan.field("coop"),
        "licence": plan.field("use", "licence"),
        "base": {name: plan.field("base", name) for name in ("name", "licence", "digest")},
        "plan": {"value": plan.sha256, "source": "plan.json#", "sha256": plan.sha256},
        "release": {"id": not_applicable(f"the digest of release.json, which lists this card: {_AFTER}"), "status": not_applicable(_AFTER), "signed_by": not_applicable(_AFTER)},
        "previous": before.fields if before else not_applicable("no release before it is in this folder"),
        "languages": language_rows(records, crowd, before),
        "tasks": tasks_of(records, crowd) or not_collected("no task beside the held-out loss was evaluated"),
        "training": _training(records),
        "canaries": not_applicable("the plan has none")
        if records.plan.canaries is None
        else {name: plan.field("canaries", name) for name in ("count", "commitment")},
        "run": {name: run.field(name, missing="the record of the run does not hold it") for name in _RUN},
        "compute": compute_of(records),
        "energy": energy_of(records),
        "data": {name: manifest.field(name) for name in ("at", "records", "root", "splits", "licences", "excluded", "rules", "parameters", "stages", "log")}
        | {"manifest": {"value": manifest.sha256, "source": "data/manifest.json#", "sha256": manifest.sha256}},
        "consent": consent_of(records, crowd),
        "votes": votes_section(records),
        "dissent": dissent_of(records),
        "gates": gates_of(records, leak, differential),
        "evaluation": evaluation_of(records, crowd),
        "generations": records.report.field("generations", missing="the run was not evaluated"),
        "safety": safety_of(records),
        "contamination": contamination_of(records),
        "leak": leak_of(leak, differential, crowd),
        "attribution": shares_of(shares, crowd, voted=records.plan.attribution is not None),
        "weights": _weights(records),
        "statements": statements_of_card(records),
    }  # fmt: skip

"""Records of a small release as a card takes them, and the members' statements, tests and shares that may stand beside them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from governance_hooks.canonical import dumps, sha256
from governance_hooks.proof import read_proof
from model_card.records import CardRecords
from model_card.votes import votes_of

KINDS = [
    {"value", "source", "sha256"},
    {"estimated", "method", "from"},
    {"not_collected"},
    {"not_collected", "signed"},
    {"not_applicable"},
    {"withheld", "by"},
]
PLAIN = ("/format", "/renderer")
"""Where a card has a plain value: its own format, and the renderer."""


def files_of(folder: Path) -> dict[str, bytes]:
    """Return the files of a release that are no weights, by path."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix not in (".safetensors", ".gz")
    }


def votes_in(bundle: Path, **changes: Any) -> dict[str, Any]:
    release = json.loads((bundle / "release.json").read_bytes())
    consents = {c for line in (bundle / "data/ledger.jsonl").read_bytes().splitlines() for c in json.loads(line)["consents"]}
    return votes_of(read_proof((bundle / "proof.jsonl.gz").read_bytes()).fold(), run=release["run"], consents=consents) | changes


def records_of(bundle: Path, *, extra: dict[str, bytes] | None = None, votes: dict[str, Any] | None = None, **changes: Any) -> CardRecords:
    """Return the records of a bundle; `changes` are fields of CardRecords, `extra` more files."""
    release = json.loads((bundle / "release.json").read_bytes())
    files = files_of(bundle) | (extra or {})
    fields: dict[str, Any] = {
        "name": release["name"],
        "coop": release["coop"],
        "plan_bytes": files["plan.json"],
        "run_bytes": files["run.json"],
        "manifest_bytes": files["data/manifest.json"],
        "report_bytes": files["eval/report.json"],
        "votes": votes_in(bundle) if votes is None else votes,
        "files": files,
    }
    return CardRecords(**(fields | changes))


def fields_of(value: Any, where: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every typed field of a card with its path; raise for anything that is neither a field nor a group."""
    if isinstance(value, dict) and set(value) in KINDS:
        yield where, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from fields_of(item, f"{where}/{key}")
    elif where not in PLAIN and not (where.startswith("/gates/") and where.endswith("/result")) and not where.endswith("/lower_is_better"):
        raise AssertionError(f"{where} is neither a field nor a group: {value!r}")


def resolve(document: Any, pointer: str) -> Any:
    for part in pointer.split("/")[1:]:
        document = document[int(part)] if isinstance(document, list) else document[part.replace("~1", "/").replace("~0", "~")]
    return document


def leak_of(bundle: Path, **numbers: Any) -> bytes:
    """Return a leak record of the bundle's run as eval writes it."""
    rate = {"count": 17, "of": 105, "value": 0.1619, "low": 0.0972, "high": 0.2466}
    none = {"count": 0, "of": 105, "value": 0, "low": 0, "high": 0.0346}
    return dumps(
        {
            "format": "coop.leak/v1",
            "run": "run-1",
            "plan": sha256((bundle / "plan.json").read_bytes()),
            "items": sha256(b"canaries"),
            "policy": {"maximum_epsilon": 2},
            "numbers": {
                "epsilon": {"lower_bound": 1.35, "with_delta": 1.33, "delta": 0.00001, "ceiling": 3.53},
                "auc": {"gain": {"value": 0.85, "low": 0.78, "high": 0.89}},
                "tpr": rate,
                "exposure": {"included": 3.93, "others": 1.39, "largest": 6.58, "ceiling": 6.58},
                "extraction": {"whole": none, "half": none, "others": none},
                "control": {"base": {"lower_bound": 0}, "shuffled": {"above_zero": 6, "of": 200}},
                "made": 200,
                "included": 105,
                "confidence": 0.95,
            }
            | numbers,
            "criteria": {"epsilon": "PASS"},
            "verdict": "PASS",
            "passed": True,
        }
    )


def compared_of(*, left: int = 6, passed: bool = True) -> bytes:
    """Return a comparison as the leak test writes it, with what a card must not hold."""
    return dumps(
        {
            "format": "coop.leak-differential/v1",
            "run": "run-1",
            "previous": {"run": "run-0", "plan": {"secret": "a plan in full"}, "weights": []},
            "seed": "00" * 32,
            "losses": [[81.25, 81.5]] * 200,
            "members": {"previous": 40, "now": 40 - left, "left": left, "joined": 0},
            "numbers": {
                "left": 96,
                "never": 104,
                "confidence": 0.95,
                "auc": {"value": 0.64, "low": 0.56, "high": 0.71},
                "tpr": {"count": 4, "of": 96, "value": 0.0417, "low": 0.01, "high": 0.1},
                "permutation": {"of": 1000, "as_high": 2, "p": 0.003},
            },
            "criteria": {"left_told_apart": "PASS" if passed else "FAIL", "members_left": "PASS"},
            "flags": [],
            "verdict": "PASS" if passed else "FAIL",
            "passed": passed,
        }
    )


def shares_of(bundle: Path, *, members: tuple[int, int] = (7, 9)) -> bytes:
    """Return a record of shares of the bundle's run."""
    share = {"share_ppm": 493120, "low_ppm": 455000, "high_ppm": 532000, "value_micro": 240110}
    other = {"share_ppm": 506880, "low_ppm": 468000, "high_ppm": 545000, "value_micro": 246810}
    return dumps(
        {
            "format": "coop.shares/v1",
            "run": "run-1",
            "plan": sha256((bundle / "plan.json").read_bytes()),
            "method": "exact",
            "utility": "languages",
            "trainings": 8,
            "verdict": "shared",
            "interval": {"confidence_percent": 95, "resamples": 1000, "unit": "clusters", "units": 12},
            "players": {guild: {"records": 120, "members": count, "record_share_ppm": 500000} for guild, count in zip(("nor", "spa"), members, strict=True)},
            "shares": {"nor": share, "spa": other},
            "alternatives": {"tokens": {"nor": share, "spa": other}, "accuracy": None},
        }
    )


def with_tasks(report: bytes, *, clusters: dict[str, int] | None = None) -> bytes:
    """Return a report with a safety test, a set of outside questions and a score of held-out answers."""
    row = {
        "items": 40,
        "clusters": 40,
        "unjudged": 0,
        "base": 0.31,
        "tuned": 0.36,
        "tuned_low": 0.3,
        "tuned_high": 0.41,
        "difference": 0.05,
        "low": 0.01,
        "high": 0.09,
    }
    row |= {"verdict": "PASS", "reason": "shown", "improved": True, "contaminated": 0, "clean": None, "detectable": 0.04, "p_corrected": 0.02}
    own = clusters or {"spa": 6}
    kinds = {"refusals": "over_refusal", "mgsm": "exact_match", "own-words": "heldout_chrf"}
    tasks = {
        name: {
            "kind": kind,
            "tier": "required",
            "verdict": "PASS",
            "missing": False,
            "items": {"path": f"eval/items/{name}.jsonl", "size": 10, "sha256": sha256(name.encode())},
            "languages": {language: row | {"clusters": own.get(language, 40) if kind == "heldout_chrf" else 40} for language in own},
            "overall": row | {"clusters": sum(own.values())},
        }
        for name, kind in kinds.items()
    }
    return dumps(json.loads(report) | {"tasks": tasks, "blocking": [], "waivable": True})


SAID = {
    "field": "intended_use",
    "language": "eng",
    "author": "m-0000000000000001",
    "issued": "2026-11-22T12:00:00Z",
    "absent": None,
    "translates": None,
    "reviewers": 0,
    "approved": None,
}


def statements(*said: dict[str, Any]) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Return files of statements and what the log says of them, as `votes_of` finds it."""
    files, log = {}, {}
    for place, one in enumerate(said):
        identifier = sha256(f"statement {place}".encode())
        text = one.get("text")
        entry = SAID | {key: value for key, value in one.items() if key != "text"} | {"text": None if text is None else sha256(text.encode())}
        body = {"statement": identifier, "approved": entry["approved"]} | ({} if text is None else {"text": text})
        files[f"statements/{identifier[7:]}.json"] = dumps(body)
        log[identifier] = entry
    return files, log

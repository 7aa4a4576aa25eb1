"""The tasks of a config: files an engineer names by path become digests and counts before anybody votes on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from data_pipeline.task_data import describe_file
from governance_hooks.canonical import sha256
from governance_hooks.errors import BadInput
from governance_hooks.inventory import sha256_file
from governance_hooks.tasks import HELDOUT, KINDS, METRICS

__all__ = ["name_files"]

NEW_TOKENS: Final = {"heldout_chrf": 96, "exact_match": 192, "open": 128, "preference": 128, "unsafe_compliance": 64, "over_refusal": 64}
"""Kind -> length limit of an answer if the config gives none."""
MAX_PREVIOUS_BYTES: Final = 256 << 20


def _previous(folder: Path, task: str) -> tuple[dict[str, str], Path]:
    document, items = folder / "release.json", folder / "eval" / "items" / f"{task}.jsonl"
    for path in (document, items):
        if not path.is_file() or path.stat().st_size > MAX_PREVIOUS_BYTES:
            raise BadInput(f"task {task}: {path} is not there or too large", value=str(folder), allowed="the folder of a release that measured this task")
    return {"release": sha256(document.read_bytes()), "sha256": sha256_file(items)}, items


def name_files(tasks: list[Any], near: Path, files: dict[str, Path]) -> None:
    """Replace `file` and a folder in `previous` by what the plan says of them, and fill in what follows from the kind; changes the tasks.

    Args:
        tasks: as read from YAML.
        near: folder that relative paths start from.
        files: gets digest -> file of everything named.

    Raises:
        BadInput: a file that cannot be read, is malformed or has no item in a language.
    """
    for number, task in enumerate(tasks):
        if not isinstance(task, dict) or task.get("kind") not in KINDS or not isinstance(task.get("name"), str):
            continue  # the schema says what is wrong with it
        kind = task["kind"]
        task.setdefault("metric", METRICS[kind][0])
        if kind in NEW_TOKENS:
            task.setdefault("new_tokens", NEW_TOKENS[kind])
        if isinstance(task.get("languages"), list) and all(isinstance(one, str) for one in task["languages"]):
            task["languages"] = sorted(set(task["languages"]))
        file = task.pop("file", None)
        if file is not None and kind not in HELDOUT:
            if not isinstance(file, str) or "data" in task:
                raise BadInput(f"evaluation.tasks.{number}.file is no path, or stands beside data", value=file, allowed="a path relative to the config")
            path, languages, most = near / file, task.get("languages"), task.get("items_per_language")
            made = describe_file(
                path,
                task=task["name"],
                kind=kind,
                languages=languages if isinstance(languages, list) else None,
                per_language=most if isinstance(most, int) else None,
            )
            task["data"] = made.model_dump()
            task.setdefault("languages", sorted(made.items))
            files[made.sha256] = path
        elif file is not None:
            raise BadInput(f"evaluation.tasks.{number}: a task of kind {kind} reads the held-out rows of the dataset, no file", value=file)
        if isinstance(task.get("previous"), str):
            task["previous"], items = _previous(near / task["previous"], task["name"])
            files[task["previous"]["sha256"]] = items

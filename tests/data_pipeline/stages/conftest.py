from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from data_pipeline.candidate import Candidate
from data_pipeline.record import Record
from governance_hooks.canonical import sha256

Row = Callable[..., Candidate]


def make_row(name: str, inputs: str = "What is this?", targets: str = "That is a house.", **changes: object) -> Candidate:
    plain = Record(
        record=name,
        inputs=inputs,
        targets=targets,
        language="eng",
        annotation_type="original-annotations",
        user_id=None,
        parents=(),
        licence="CC-BY-4.0",
        written_at=None,
        line=1,
        batch="b",
        position=0,
        statement=sha256(b"statement"),
        member="ana",
        authors=("ana",),
        salt="0" * 32,
        commitment=sha256(b"c"),
        created_at="2026-01-01T00:00:00Z",
        erased_at=None,
    )
    return Candidate(replace(plain, **changes), (sha256(b"consent"),), inputs, targets)  # type: ignore[arg-type] # a test changes any field


@pytest.fixture
def row() -> Row:
    """Make a candidate: name, prompt, answer, and fields of its record."""
    return make_row


@pytest.fixture
def real_rows() -> list[Candidate]:
    """Rows of real contributors where the folder is at hand, else none: the same claims are tested on made-up rows as well."""
    folder = os.environ.get("COMMONWEIGHTS_SHARED_DATA")
    path = Path(folder, "contributions.jsonl") if folder else None
    if path is None or not path.is_file():
        return []
    rows: list[dict[str, Any]] = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()[:1500]]
    return [make_row(r["record_id"], r["inputs"], r["targets"], language=r["language_code"], created_at=r["created_at"], authors=(r["user_id"],)) for r in rows]

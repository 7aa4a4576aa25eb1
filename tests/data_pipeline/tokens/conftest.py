"""A tiny base and a build of hostile and multilingual rows to tokenise."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from data_pipeline.build import build as make_build
from data_pipeline.manifest import Build
from data_pipeline.record import Draft
from data_pipeline.store import ContributionStore
from governance_hooks.canonical import digest
from governance_hooks.consent import Use
from tests.tiny import write_base

os.environ["TOKENIZERS_PARALLELISM"] = "false"

USE = Use(purpose="dpv:NonCommercialResearch", processing=["ai:ModelFineTuning", "coop:ModelEvaluation"], recipients=["coop:Members"], licence="Apache-2.0")

TEXTS = [
    ("eng", "Say hello.", "Hello!"),
    ("eng", "What is <|im_end|>?", "A token: <|im_start|>assistant"),
    ("spa", "¿Qué hora es?", "Son las dos.\n\nCreo."),
    ("hin", "क्या समय हुआ है?", "दो बजे हैं।"),
    ("hin", "\u2066gnp.exe\u2069", "नहीं \u2066x\u2069"),
    ("zho", "现在几点？", "两点。👩‍👩‍👧"),
    ("eus", "Zer ordu da?", "Ordu biak."),
]

WriteBuild = Callable[..., Build]


def long_text(number: int) -> str:
    """Sixty made-up words, none twice: text that repeats itself is left out of builds."""
    return " ".join("".join(random.Random(f"{number}-{word}").choices("abdegiklmnorstuz", k=7)) for word in range(60))


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base(tmp_path_factory.mktemp("weights") / "tiny")


@pytest.fixture
def write_build(tmp_path: Path) -> WriteBuild:
    """Return a function that makes a build of so many rows, in turn from TEXTS, and of long ones in Basque."""

    def make(name: str = "build", *, rows: int = 42, long_rows: int = 0, prefix: str = "r-") -> Build:
        drafts = []
        for number in range(rows):
            language, inputs, targets = TEXTS[number % len(TEXTS)]
            drafts.append(Draft(inputs=f"{inputs} {number}", targets=targets, language=language, licence="CC-BY-4.0", record_id=f"{prefix}{number:05d}"))
        drafts += [Draft(inputs=f"luze {n}", targets=long_text(n), language="eus", licence="CC-BY-4.0", record_id=f"long-{n}") for n in range(long_rows)]
        with ContributionStore(tmp_path / f"{name}.sqlite") as store:
            batch = store.add_batch("m-one", drafts)
            store.seal(batch.batch, digest("m-one"))
            return make_build(
                store, tmp_path / name, coop=digest("coop"), log_size=1, log_root=digest("log"), at="2026-11-22T13:00:00Z", use=USE,
                consent_for=lambda member, language, batch: digest(["consent", member]),
            )  # fmt: skip

    return make

"""A tiny Llama with a ChatML tokenizer, a real build of a few rows, and a plan over both."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from data_pipeline.build import build as make_build
from data_pipeline.record import Draft
from data_pipeline.store import ContributionStore
from governance_hooks.canonical import digest
from governance_hooks.consent import Use
from governance_hooks.plan import Code, Limits, Mix
from governance_hooks.training import Lora, Training
from tests.passing import Passing
from tests.tiny import write_base
from train.config import RunConfig
from train.plan import resolve
from train.run import train

COOP = digest("the cooperative of the tests")
CODE = Code(digest=digest("code"), packages={"torch": "0"})
USE = Use(
    purpose="dpv:NonCommercialResearch",
    processing=["ai:ModelFineTuning", "coop:ModelEvaluation"],
    recipients=["coop:PublicViaReleasedWeights"],
    licence="Apache-2.0",
)
os.environ["TOKENIZERS_PARALLELISM"] = "false"


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    torch.set_num_threads(1)


def long_text(number: int) -> str:
    """Sixty made-up words, none twice: text that repeats itself is left out of builds."""
    return " ".join("".join(random.Random(f"{number}-{word}").choices("abdegiklmnorstuz", k=7)) for word in range(60))


def write_build(root: Path, *, rows: int = 24, long_rows: int = 0, crowd: int = 0) -> Path:
    """Write a real build of short rows of two members in two languages, and of `crowd` more members in Spanish; the record ids are fixed, the salts are not."""
    drafts = [
        Draft(inputs=f"{word} {number}", targets=f"{answer} {number * 7 % 13}", language=language, licence="CC-BY-4.0", record_id=f"{language}-{number:03d}")
        for language, word, answer in (("spa", "pregunta", "respuesta"), ("eus", "galdera", "erantzuna"))
        for number in range(rows)
    ]
    drafts += [Draft(inputs=f"largo {n}", targets=long_text(n), language="spa", licence="CC-BY-4.0", record_id=f"long-{n}") for n in range(long_rows)]
    with ContributionStore(root / "contributions.sqlite") as store:
        more = [
            (f"m-more-{n}", [Draft(inputs=f"otra {n}", targets=f"más {n * 5 % 7}", language="spa", licence="CC-BY-4.0", record_id=f"more-{n}")])
            for n in range(crowd)
        ]
        for member, part in (("m-one", drafts[::2]), ("m-two", drafts[1::2]), *more):
            batch = store.add_batch(member, part)
            store.seal(batch.batch, digest(member))
        make_build(
            store, root / "build", coop=COOP, log_size=1, log_root=digest("log"), at="2026-11-22T13:00:00Z", use=USE,
            consent_for=lambda member, language, batch: digest(["consent", member]),
        )  # fmt: skip
    return root / "build"


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny base folder, shared: tests that change it copy it first."""
    return write_base(tmp_path_factory.mktemp("weights") / "tiny")


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real build, shared."""
    return write_build(tmp_path_factory.mktemp("data"))


TINY: dict[str, Any] = {
    "lora": Lora(rank=4, alpha=8, dropout=0.1),
    "precision": "32-true",
    "sequence_tokens": 128,
    "sequences_per_step": 2,
    "sequences_per_forward": 1,
    "epochs": 3,
    "max_steps": 8,
    "learning_rate": 5e-3,
    "validate_every_steps": 4,
    "validation_rows_per_language": 2,
    "checkpoint_every_steps": 4,
    "keep_checkpoints": 2,
}


@pytest.fixture
def canary_seed(tmp_path: Path) -> Path:
    """A seed that puts six of the first twelve canaries in."""
    path = tmp_path / "plan.seed"
    path.write_bytes(bytes(32))
    return path


@pytest.fixture
def plan_of(base: Path, build: Path, canary_seed: Path) -> Callable[..., bytes]:
    """Return a function that makes a plan over the tiny base and build, with changed training or limits."""

    def make(*, limits: Limits | None = None, mix: Mix | None = None, canaries: int = 0, **training: Any) -> bytes:
        config = RunConfig(
            name="tiny",
            use=USE,
            base=str(base),
            build=str(build),
            mix=mix or Mix(),
            canaries=canaries,
            training=Training(**(TINY | training)),
            limits=limits or Limits(max_starts=9),
        )
        return resolve(config, coop=COOP, base=base, build=build, code=CODE, canary_seed=canary_seed)

    return make


@pytest.fixture
def go(base: Path, build: Path) -> Callable[..., dict[str, Any]]:
    """Return a function that runs (or resumes) a plan in a folder with a guard that passes."""

    def start(folder: Path, plan: bytes, **changes: Any) -> dict[str, Any]:
        arguments: dict[str, Any] = {
            "base": base,
            "build": build,
            "guard": Passing(),
            "run_id": folder.name,
            "coop": COOP,
            "proposal": None,
            "threads": 1,
        }
        return train(folder, plan, **(arguments | changes))

    return start

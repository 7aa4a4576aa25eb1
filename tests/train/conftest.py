"""A tiny Llama with a ChatML tokenizer, a real build of a few rows, and a plan over both."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM

from data_pipeline.build import build as make_build
from data_pipeline.record import Draft
from data_pipeline.store import ContributionStore
from governance_hooks.canonical import digest, dumps
from governance_hooks.consent import Use
from governance_hooks.plan import Code, Limits, Lora, Training
from train.config import RunConfig
from train.plan import resolve

COOP = digest("the cooperative of the tests")
CODE = Code(digest=digest("code"), packages={"torch": "0"})
USE = Use(purpose="dpv:NonCommercialResearch", processing=["ai:ModelFineTuning"], recipients=["coop:PublicViaReleasedWeights"], licence="Apache-2.0")
TEMPLATE = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
os.environ["TOKENIZERS_PARALLELISM"] = "false"


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    torch.set_num_threads(1)


def write_base(folder: Path) -> Path:
    """Write a two-layer Llama of 64 dimensions with a byte-level tokenizer."""
    folder.mkdir(parents=True)
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=special, initial_alphabet=sorted(alphabet), show_progress=False)
    tokenizer.train_from_iterator(["user assistant question answer"] * 4, trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    ids = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "pad_token": "<|im_end|>", "unk_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(ids | {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 512}))
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=512, tie_word_embeddings=True, bos_token_id=1, eos_token_id=2, pad_token_id=2,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    (folder / "base.json").write_bytes(dumps({"format": "coop.base/v1", "name": "village/tiny", "licence": "Apache-2.0"}))
    return folder


def write_build(root: Path, *, rows: int = 24, long_rows: int = 0) -> Path:
    """Write a real build of short rows in two languages; the record ids are fixed, the salts are not."""
    drafts = [
        Draft(inputs=f"{word} {number}", targets=f"{answer} {number * 7 % 13}", language=language, licence="CC-BY-4.0", record_id=f"{language}-{number:03d}")
        for language, word, answer in (("spa", "pregunta", "respuesta"), ("eus", "galdera", "erantzuna"))
        for number in range(rows)
    ]
    drafts += [Draft(inputs=f"largo {n}", targets="palabra " * 60, language="spa", licence="CC-BY-4.0", record_id=f"long-{n}") for n in range(long_rows)]
    with ContributionStore(root / "contributions.sqlite") as store:
        for member, part in (("m-one", drafts[::2]), ("m-two", drafts[1::2])):
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
def plan_of(base: Path, build: Path) -> Callable[..., bytes]:
    """Return a function that makes a plan over the tiny base and build, with changed training or limits."""

    def make(*, limits: Limits | None = None, **training: Any) -> bytes:
        config = RunConfig(
            name="tiny", use=USE, base=str(base), build=str(build), training=Training(**(TINY | training)), limits=limits or Limits(max_starts=9)
        )
        return resolve(config, coop=COOP, base=base, build=build, code=CODE)

    return make

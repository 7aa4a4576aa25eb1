"""A tiny base (2 layers, hidden 64), a LoRA adapter over it, a real build, and the run folder that ties them together."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from data_pipeline.build import build
from data_pipeline.record import Draft
from data_pipeline.store import ContributionStore
from governance_hooks.canonical import digest, dumps, sha256
from governance_hooks.consent import Use
from governance_hooks.inventory import file_entry, inventory, inventory_digest
from governance_hooks.plan import Base, BuildRef, Code, EvaluationPolicy, Limits, Mix, Plan, Policies
from governance_hooks.training import Training
from tests.village import tokens_of

USE = Use(
    purpose="dpv:NonCommercialResearch",
    processing=["ai:ModelFineTuning", "coop:ModelEvaluation"],
    recipients=["coop:PublicViaReleasedWeights"],
    licence="Apache-2.0",
)
COOP = digest("the cooperative")
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SPECIAL = ["<|pad|>", "<|im_start|>", "<|im_end|>"]


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """Return a byte-level tokenizer with a ChatML template: one token for each byte, three control tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={symbol: i for i, symbol in enumerate([*SPECIAL, *alphabet])}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(SPECIAL)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|pad|>", chat_template=CHATML)


def write_base(folder: Path) -> None:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=259, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=512,
        eos_token_id=2, pad_token_id=0, bos_token_id=1, tie_word_embeddings=True,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)


def write_adapter(base: Path, folder: Path, *, scale: float = 0.3) -> None:
    """Save a LoRA adapter whose effect is not zero."""
    torch.manual_seed(1)
    model = get_peft_model(LlamaForCausalLM.from_pretrained(base), LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM"))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, scale)
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)


def write_build(root: Path) -> Path:
    words = {"spa": ["sol", "mar", "pan", "flor", "casa", "luz"], "est": ["päike", "meri", "leib", "lill", "maja"], "zul": ["ilanga", "ulwandle"]}
    with ContributionStore(root / "contributions.sqlite") as store:
        for number in range(6):
            member = f"m-{number:016x}"
            drafts = [
                Draft(inputs=f"{word} {member[-1]} {i}?", targets=f"{word} " * (i + 1) + member[-1], language=language, licence="CC-BY-4.0")
                for language, listed in words.items()
                for i, word in enumerate(listed)
                if language != "zul" or number == 0
            ]
            batch = store.add_batch(member, drafts, at="2026-11-01T00:00:00Z")
            store.seal(batch.batch, digest(["statement", member]))
        made = build(store, root / "build", coop=COOP, log_size=1, log_root=sha256(b"log"), at="2026-11-02T00:00:00Z", use=USE,
                     consent_for=lambda member, language, batch: digest(["consent", member]), heldout_permille=500)  # fmt: skip
    return made.folder


@dataclass(frozen=True)
class Run:
    """A finished run in its folder, with its base and build."""

    run_dir: Path
    base: Path
    build: Path

    def model(self) -> Any:
        return PeftModel.from_pretrained(LlamaForCausalLM.from_pretrained(self.base), self.run_dir / "adapter").eval()

    def rerecord(self) -> None:
        """Make run.json name the plan and the weights as they are now."""
        document = json.loads((self.run_dir / "run.json").read_bytes())
        document["plan"] = sha256((self.run_dir / "plan.json").read_bytes())
        document["outputs"] = [file_entry(self.run_dir, path) for name in ("adapter", "model") for path in sorted((self.run_dir / name).glob("*"))]
        (self.run_dir / "run.json").write_bytes(dumps(document))


@pytest.fixture(scope="session")
def _run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    root = tmp_path_factory.mktemp("run")
    base, run_dir = root / "base", root / "runs/run-1"
    run_dir.mkdir(parents=True)
    write_base(base)
    write_adapter(base, run_dir / "adapter")
    made = write_build(root)
    manifest = json.loads((made / "manifest.json").read_bytes())
    files = inventory(base)
    plan = Plan(
        coop=COOP,
        name="run",
        use=USE,
        base=Base.model_validate({"name": "tiny/base", "licence": "Apache-2.0", "digest": inventory_digest(files), "files": files}),
        build=BuildRef(
            manifest=sha256((made / "manifest.json").read_bytes()), root=manifest["root"], records=manifest["records"], languages=manifest["languages"]
        ),
        code=Code(digest=digest("code"), packages={}),
        tokens=tokens_of(manifest["languages"]),
        mix=Mix(),
        training=Training(sequence_tokens=256),
        evaluation=EvaluationPolicy(resamples=200),
        limits=Limits(),
        policies=Policies(),
    )
    (run_dir / "plan.json").write_bytes(dumps(plan.model_dump(mode="json")))
    record = {"format": "coop.run/v1", "run": "run-1", "coop": COOP, "plan": sha256((run_dir / "plan.json").read_bytes()), "status": "completed", "outputs": []}
    (run_dir / "run.json").write_bytes(dumps(record))
    run = Run(run_dir, base, made)
    run.rerecord()
    return run


@pytest.fixture(scope="session")
def run(_run: Run) -> Run:
    """The finished run, shared: tests only read it."""
    return _run


@pytest.fixture
def own_run(_run: Run, tmp_path: Path) -> Run:
    """A copy of the finished run, for the test to change."""
    return Run(*(shutil.copytree(folder, tmp_path / name) for folder, name in ((_run.run_dir, "run-1"), (_run.base, "base"), (_run.build, "build"))))


@pytest.fixture
def full_run(own_run: Run) -> Run:
    """The same run as if it had trained all weights: its result is the base and adapter merged."""
    own_run.model().merge_and_unload().save_pretrained(own_run.run_dir / "model")
    shutil.rmtree(own_run.run_dir / "adapter")
    plan = json.loads((own_run.run_dir / "plan.json").read_bytes())
    plan["training"] |= {"method": "full", "lora": None}
    (own_run.run_dir / "plan.json").write_bytes(dumps(plan))
    own_run.rerecord()
    return own_run

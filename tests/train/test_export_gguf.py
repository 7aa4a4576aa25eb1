from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Literal

import gguf
import numpy as np
import pytest
import torch
from gguf import GGUFReader
from gguf.quants import dequantize
from safetensors.torch import load_file, save_file

from governance_hooks.errors import BadInput, CoopError
from train.export.gguf_file import Source, write_gguf

DIGEST = "sha256:" + "ab" * 32
GPT2 = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
Kind = Literal["f16", "q8_0"]


def source(folder: Path) -> Source:
    return Source(folder, "tiny", "CC-BY-4.0", DIGEST, "village/tiny")


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.fixture
def model(base: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(base, tmp_path / "model"))


def tensors(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    return {tensor.name: np.asarray(dequantize(tensor.data, tensor.tensor_type), np.float32) for tensor in GGUFReader(path).tensors}


@pytest.mark.parametrize("kind", ["f16", "q8_0"])
def test_a_gguf_file_reads_back_as_the_model(model: Path, build: Path, tmp_path: Path, kind: Kind) -> None:
    record = write_gguf(source(model), tmp_path / "tiny.gguf", kind, build=build)
    assert record["parity"]["gguf"]["top1"] > (0.99 if kind == "f16" else 0.95)
    assert record["parity"]["texts"] == "heldout"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "tiny.gguf", "tiny.json"]
    found, weights = tensors(tmp_path / "tiny.gguf"), load_file(model / "model.safetensors")
    assert len(found) == len(weights)
    assert "output.weight" not in found
    # One half of a scale's step; a scale is the block's largest number over 127, in half precision.
    bound = 5e-4 if kind == "f16" else 1e-2
    for ours, theirs in (("blk.1.ffn_down.weight", "model.layers.1.mlp.down_proj.weight"), ("token_embd.weight", "model.embed_tokens.weight")):
        np.testing.assert_allclose(found[ours], weights[theirs].numpy(), atol=bound * float(weights[theirs].abs().max()))
    q = weights["model.layers.0.self_attn.q_proj.weight"].numpy().reshape(4, 2, 8, 64).swapaxes(1, 2).reshape(64, 64)
    np.testing.assert_allclose(found["blk.0.attn_q.weight"], q, atol=bound * np.abs(q).max())


def test_the_header_says_what_it_is_and_comes_from(model: Path, tmp_path: Path) -> None:
    write_gguf(source(model), tmp_path / "tiny.gguf", "q8_0", check=False)
    fields = {name: field.contents() for name, field in GGUFReader(tmp_path / "tiny.gguf").fields.items()}
    assert fields["general.architecture"] == "llama"
    assert fields["general.file_type"] == 7
    assert (fields["general.name"], fields["general.license"], fields["coop.source"]) == ("tiny", "cc-by-4.0", DIGEST)
    assert fields["general.base_model.0.name"] == "village/tiny"
    assert fields["tokenizer.ggml.model"] == "gpt2"
    assert fields["tokenizer.ggml.pre"] == "gpt-2"
    tokens = fields["tokenizer.ggml.tokens"]
    assert tokens[fields["tokenizer.ggml.bos_token_id"]] == "<|im_start|>"
    assert tokens[fields["tokenizer.ggml.eos_token_id"]] == "<|im_end|>"
    assert fields["tokenizer.ggml.token_type"][:4] == [3, 3, 3, 1]
    assert fields["tokenizer.chat_template"] == (model / "chat_template.jinja").read_text()
    assert fields["tokenizer.ggml.add_bos_token"] is False
    assert fields["llama.attention.head_count_kv"] == 2
    assert fields["llama.rope.dimension_count"] == 16


def test_one_folder_gives_one_file(model: Path, tmp_path: Path) -> None:
    one, two = (write_gguf(source(model), tmp_path / f"{name}.gguf", "q8_0", check=False) for name in ("one", "two"))
    assert one == two
    assert (tmp_path / "one.gguf").read_bytes() == (tmp_path / "two.gguf").read_bytes()


def test_rows_that_no_block_divides_stay_in_half_precision(model: Path, tmp_path: Path) -> None:
    weights = load_file(model / "model.safetensors")
    for layer in range(2):
        for name in ("gate_proj", "up_proj"):
            key = f"model.layers.{layer}.mlp.{name}.weight"
            weights[key] = weights[key][:80].contiguous()
        key = f"model.layers.{layer}.mlp.down_proj.weight"
        weights[key] = weights[key][:, :80].contiguous()
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    edit(model / "config.json", intermediate_size=80)
    write_gguf(source(model), tmp_path / "tiny.gguf", "q8_0")
    types = {tensor.name: tensor.tensor_type for tensor in GGUFReader(tmp_path / "tiny.gguf").tensors}
    assert types["blk.0.ffn_down.weight"] == gguf.GGMLQuantizationType.F16
    assert types["blk.0.ffn_up.weight"] == gguf.GGMLQuantizationType.Q8_0


def _split(pattern: str) -> dict[str, Any]:
    cut = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    return {"type": "Sequence", "pretokenizers": [cut, GPT2 | {"use_regex": False}]}


@pytest.mark.parametrize(
    ("file", "changes", "words"),
    [
        ("config.json", {"model_type": "gemma2"}, "no GGUF for this architecture"),
        ("config.json", {"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, "rope scaling"),
        ("config.json", {"rope_parameters": {"rope_type": "yarn", "factor": 8.0}}, "rope scaling"),
        ("config.json", {"model_type": "mistral", "sliding_window": 4096}, "sliding_window"),
        ("config.json", {"attention_bias": True}, "attention_bias"),
        ("config.json", {"hidden_act": "gelu"}, "hidden_act"),
        ("tokenizer.json", {"pre_tokenizer": _split(r"\p{L}+")}, "no name in GGUF"),
        ("tokenizer.json", {"pre_tokenizer": {"type": "Metaspace"}}, "no name in GGUF"),
        ("tokenizer.json", {"normalizer": {"type": "Lowercase"}}, "no name in GGUF"),
        ("tokenizer.json", {"model": {"type": "Unigram", "vocab": []}}, "no byte-level BPE"),
        ("tokenizer.json", {"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [], "byte_fallback": True}}, "GGUF cannot say"),
        ("tokenizer.json", {"model": {"type": "BPE", "vocab": {"a": 10**9}, "merges": []}}, "no room for"),
        ("tokenizer.json", {"model": {"type": "BPE", "vocab": {"a": -1}, "merges": []}}, "no room for"),
        ("tokenizer.json", {"model": {"type": "BPE", "vocab": [], "merges": []}}, "malformed"),
        ("tokenizer_config.json", {"eos_token": "<|none|>"}, "names no eos_token"),
    ],
)
def test_what_gguf_cannot_say_is_refused(model: Path, tmp_path: Path, file: str, changes: dict[str, Any], words: str) -> None:
    edit(model / file, **changes)
    with pytest.raises(BadInput, match=words):
        write_gguf(source(model), tmp_path / "tiny.gguf", "f16", check=False)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_numbers_too_large_for_half_precision_are_refused(model: Path, tmp_path: Path) -> None:
    weights = load_file(model / "model.safetensors")
    weights["model.embed_tokens.weight"][0, 0] = 1e5
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BadInput, match="not finite in this type"):
        write_gguf(source(model), tmp_path / "tiny.gguf", "f16", check=False)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_an_unknown_weight_is_refused(model: Path, tmp_path: Path) -> None:
    weights = load_file(model / "model.safetensors") | {"model.layers.0.secret.weight": torch.zeros(2, 2)}
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BadInput, match="does not know"):
        write_gguf(source(model), tmp_path / "tiny.gguf", "f16", check=False)


@pytest.mark.parametrize("broken", ["rows in another order", "another vocabulary"])
def test_a_file_that_reads_back_otherwise_is_not_published(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    if broken == "rows in another order":
        weights = load_file(model / "model.safetensors")
        for name in weights:
            if "q_proj" in name or "k_proj" in name:  # as they start, attention is nearly even and order means nothing
                weights[name] *= 30
        save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
        monkeypatch.setattr("train.export.gguf_file._rotary", lambda array, heads: array)
    else:
        monkeypatch.setattr(gguf.GGUFWriter, "add_token_merges", lambda self, merges: self.add_array("tokenizer.ggml.merges", merges[::-1]))
    with pytest.raises(
        CoopError,
        match="blk.0.attn_k.weight of the GGUF file, read back, is not" if broken.startswith("rows") else "read back, has another tokenizer.ggml.merges",
    ):
        write_gguf(source(model), tmp_path / "tiny.gguf", "f16")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_file_that_is_there_is_not_replaced(model: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny.gguf").write_bytes(b"mine")
    with pytest.raises(CoopError, match="exists already"):
        write_gguf(source(model), tmp_path / "tiny.gguf", "f16", check=False)
    with pytest.raises(BadInput, match=r"\.gguf"):
        write_gguf(source(model), tmp_path / "tiny.bin", "f16", check=False)

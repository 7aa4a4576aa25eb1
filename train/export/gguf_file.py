"""Writes a model folder as one GGUF file, weight by weight, and checks it by reading it back.

    safetensors ──► rotary rows permuted as llama.cpp wants them ──► F16 or Q8_0 ──► file.gguf
    tokenizer, template, config, name, licence, digest of the source ──► its header

The same folder gives the same bytes: nothing depends on time, machine or hash order. Format: ggml-org/ggml, docs/gguf.md; names and
row order as in llama.cpp's convert_hf_to_gguf.py.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Callable
from contextlib import redirect_stderr
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import gguf
import numpy as np
import torch
from safetensors import safe_open

from governance_hooks.atomic import PREFIX, write_bytes
from governance_hooks.canonical import dumps
from governance_hooks.errors import BadInput, CoopError
from governance_hooks.inventory import sha256_file
from train.export.check import load_causal, load_tokenizer
from train.export.gguf_vocabulary import Vocabulary, read_vocabulary
from train.export.parity import F16, Q8_0, reference, require
from train.export.shards import Weight, layout
from train.export.texts import fixed_texts, heldout_texts

__all__ = ["Source", "write_gguf"]

Progress = Callable[[str, int, int], None]
Type = Literal["f16", "q8_0"]
_ARCHITECTURES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2"}
"""model_type of transformers -> architecture of GGUF."""
_BLOCK = 32
"""Q8_0 has one scale for so many numbers of a row."""


@dataclass(frozen=True, slots=True)
class Source:
    """A model folder and what its records say of it."""

    folder: Path
    name: str
    licence: str
    digest: str
    """Of the inventory of its files."""
    base: str | None = None


def _config(folder: Path) -> dict[str, Any]:
    """Return config.json if every setting in it is one the file can say; raise BadInput naming the first that is not."""
    try:
        config = json.loads((folder / "config.json").read_bytes())
        kind = config["model_type"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise BadInput(f"{folder / 'config.json'} is no config of a model") from error
    if kind not in _ARCHITECTURES:
        raise BadInput(f"{folder}: no GGUF for this architecture", value=kind, allowed=", ".join(_ARCHITECTURES), next="publish the safetensors alone")
    rope = config.get("rope_parameters") or {}
    scaling = config.get("rope_scaling") or (rope if rope.get("rope_type", "default") != "default" else None)
    for what, found, allowed in (
        ("rope scaling", scaling, None),
        ("sliding_window", config.get("sliding_window") if config.get("use_sliding_window", kind == "mistral") else None, None),
        ("attention_bias", config.get("attention_bias", False), False),
        ("mlp_bias", config.get("mlp_bias", False), False),
        ("hidden_act", config.get("hidden_act", "silu"), "silu"),
        ("partial_rotary_factor", config.get("partial_rotary_factor", rope.get("partial_rotary_factor", 1.0)), 1.0),
    ):
        if found != allowed:
            raise BadInput(
                f"{folder / 'config.json'}: this export cannot say {what} in GGUF", value=found, allowed=str(allowed), next="publish the safetensors alone"
            )
    return {**config, "rope_theta": rope.get("rope_theta") or config.get("rope_theta", 10000.0)}


def _header(writer: gguf.GGUFWriter, source: Source, config: dict[str, Any], vocabulary: Vocabulary, kind: Type) -> None:
    heads = config["num_attention_heads"]
    writer.add_type("model")
    writer.add_name(source.name)
    writer.add_license(source.licence.lower())
    if source.base is not None:
        writer.add_base_model_count(1)
        writer.add_base_model_name(0, source.base)
    writer.add_string("coop.source", source.digest)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16 if kind == "f16" else gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_vocab_size(config["vocab_size"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config.get("num_key_value_heads") or heads)
    writer.add_rope_dimension_count(config.get("head_dim") or config["hidden_size"] // heads)
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(vocabulary.pre)
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(vocabulary.types)
    writer.add_token_merges(vocabulary.merges)
    for name, add in (
        ("bos", writer.add_bos_token_id),
        ("eos", writer.add_eos_token_id),
        ("padding", writer.add_pad_token_id),
        ("unknown", writer.add_unk_token_id),
    ):
        if name in vocabulary.special:
            add(vocabulary.special[name])
    writer.add_add_bos_token(vocabulary.add_bos)
    if vocabulary.template is not None:
        writer.add_chat_template(vocabulary.template)


def _rotary(array: np.ndarray[Any, Any], heads: int) -> np.ndarray[Any, Any]:
    """Put the rows of a rotary projection in llama.cpp's order (convert_hf_to_gguf.py, `permute`)."""
    return array.reshape(heads, 2, array.shape[0] // heads // 2, *array.shape[1:]).swapaxes(1, 2).reshape(array.shape)


def _type_of(weight: Weight, kind: Type) -> gguf.GGMLQuantizationType:
    if len(weight.shape) == 1:
        return gguf.GGMLQuantizationType.F32
    return gguf.GGMLQuantizationType.Q8_0 if kind == "q8_0" and weight.shape[-1] % _BLOCK == 0 else gguf.GGMLQuantizationType.F16


def _names(weights: dict[str, Weight], config: dict[str, Any], folder: Path) -> dict[str, str]:
    """Return {name of a weight: its name in GGUF}; the head of tied embeddings is left out, as the embeddings are it."""
    known = gguf.get_tensor_name_map(
        {"llama": gguf.MODEL_ARCH.LLAMA, "qwen2": gguf.MODEL_ARCH.QWEN2}[_ARCHITECTURES[config["model_type"]]], config["num_hidden_layers"]
    )
    names = {
        name: known.get_name(name, try_suffixes=(".weight", ".bias"))
        for name in weights
        if not (config.get("tie_word_embeddings") and name == "lm_head.weight")
    }
    odd = sorted(name for name, found in names.items() if found is None or len(weights[name].shape) not in (1, 2))
    if odd:
        raise BadInput(f"{folder} holds a weight this export does not know", value=odd[0], allowed="those of a plain decoder of Llama, Mistral or Qwen2")
    return {name: str(found) for name, found in names.items()}


def _write(source: Source, config: dict[str, Any], vocabulary: Vocabulary, kind: Type, path: Path, progress: Progress | None) -> None:
    weights = layout(source.folder)
    names = _names(weights, config, source.folder)
    heads = {"q_proj": config["num_attention_heads"], "k_proj": config.get("num_key_value_heads") or config["num_attention_heads"]}
    writer = gguf.GGUFWriter(path, _ARCHITECTURES[config["model_type"]])
    try:
        _header(writer, source, config, vocabulary, kind)
        for name, renamed in names.items():
            weight, into = weights[name], _type_of(weights[name], kind)
            block, size = gguf.GGML_QUANT_SIZES[into]
            writer.add_tensor_info(renamed, weight.shape, np.dtype(np.float32), int(np.prod(weight.shape)) // block * size, raw_dtype=into)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for done, name in enumerate(names, 1):
            with safe_open(source.folder / weights[name].shard, framework="pt") as file:
                array = file.get_tensor(name).to(torch.float32).numpy()
            projection = name.split(".")[-2]
            if config["model_type"] != "qwen2" and projection in heads:
                array = _rotary(array, heads[projection])
            with np.errstate(over="ignore"):  # what overflows is refused below
                data = array if array.ndim == 1 else gguf.quantize(np.ascontiguousarray(array), _type_of(weights[name], kind))
            if not np.isfinite(array).all() or (data.dtype == np.float16 and not np.isfinite(data).all()):
                raise BadInput(
                    f"{name} holds a number that is not finite in this type", allowed="numbers below 65,504 for F16", next="publish the safetensors alone"
                )
            writer.write_tensor_data(data)
            if progress is not None:
                progress(f"writing GGUF {kind}, tensors", done, len(names))
    finally:
        writer.close()


def _check_header(path: Path, vocabulary: Vocabulary, source: Source) -> None:
    """Raise CoopError unless the file, read back, says what was meant."""
    fields = gguf.GGUFReader(path).fields
    for key, wanted in (
        ("tokenizer.ggml.tokens", vocabulary.tokens),
        ("tokenizer.ggml.merges", vocabulary.merges),
        ("tokenizer.ggml.token_type", vocabulary.types),
        ("tokenizer.chat_template", vocabulary.template),
        ("general.name", source.name),
        ("coop.source", source.digest),
    ):
        found = fields[key].contents() if key in fields else None
        if found != wanted:
            raise CoopError(f"the GGUF file, read back, has another {key} than was written")


def _compare(source: Source, path: Path, kind: Type, build: Path | None, progress: Progress | None) -> dict[str, Any]:
    from transformers import GgufConfig

    tokenizer = load_tokenizer(source.folder)
    texts = heldout_texts(build, tokenizer) if build is not None else fixed_texts(tokenizer)
    model = load_causal(source.folder, use_safetensors=True)
    with reference(model, texts, path.parent, "reading with the model", progress) as wanted:
        del model
        gc.collect()
        try:
            with redirect_stderr(StringIO()):  # a bar of the library's that nothing turns off
                loaded = load_causal(path.parent, gguf_file=path.name, quantization_config=GgufConfig(dequantize=True))
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            raise CoopError(f"transformers cannot load the GGUF file: {error}") from error
        found = wanted.compare(loaded, "reading with the GGUF file", progress)
    require(found, F16 if kind == "f16" else Q8_0, f"GGUF {kind} against the model it was made from")
    return {"texts": "heldout" if build is not None else "fixed", "gguf": found}


def write_gguf(source: Source, out: Path, kind: Type, *, build: Path | None = None, check: bool = True, progress: Progress | None = None) -> dict[str, Any]:
    """Write `source` to the new file `out`, whole or not at all, with its record beside it (`out` with .json), and return the record.

    Raises:
        BadInput: an architecture, setting or tokenizer this export cannot say in GGUF, or a number that is not finite.
        CoopError: the file exists, or read back it is not the model.
    """
    if out.suffix != ".gguf":
        raise BadInput(f"{out} does not end in .gguf", allowed="a name that llama.cpp recognises")
    for path in (out, out.with_suffix(".json")):
        if path.exists():
            raise CoopError(f"{path} exists already", next="remove it, or give another file with --out")
    config = _config(source.folder)
    vocabulary = read_vocabulary(source.folder, size=config["vocab_size"])
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=PREFIX, dir=out.parent) as folder:
        made = Path(folder) / "model.gguf"
        _write(source, config, vocabulary, kind, made, progress)
        _check_header(made, vocabulary, source)
        parity = _compare(source, made, kind, build, progress) if check else None
        record = {
            "format": "coop.gguf/v1",
            "type": kind,
            "name": source.name,
            "licence": source.licence,
            "source": source.digest,
            "size": made.stat().st_size,
            "sha256": sha256_file(made),
            "parity": parity,
        }
        write_bytes(out.with_suffix(".json"), dumps(record))
        made.replace(out)
    return record

"""Writes a model folder as one GGUF file, weight by weight, and checks it by reading it back, weight by weight too.

    safetensors ──► rotary rows permuted as llama.cpp wants them ──► F16 or Q8_0 ──► file.gguf
    tokenizer, template, config, name, licence, digest of the source ──► its header

The same folder gives the same bytes: nothing depends on time, machine or hash order. Format: ggml-org/ggml, docs/gguf.md; names and
row order as in llama.cpp's convert_hf_to_gguf.py.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gguf
import numpy as np
import torch
from safetensors import safe_open

from governance_hooks.atomic import PREFIX, write_bytes
from governance_hooks.canonical import dumps
from governance_hooks.errors import BadInput, CoopError
from governance_hooks.inventory import sha256_file
from train.export.gguf_model import ARCHITECTURES, Source, Type, heads_of, names_of, read_config, type_of
from train.export.gguf_read_back import read_back, read_header
from train.export.gguf_vocabulary import Vocabulary, read_vocabulary
from train.export.shards import layout

__all__ = ["Source", "write_gguf"]

Progress = Callable[[str, int, int], None]


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


def _write(source: Source, config: dict[str, Any], vocabulary: Vocabulary, kind: Type, path: Path, progress: Progress | None) -> None:
    weights = layout(source.folder)
    names = names_of(weights, config, source.folder)
    heads = heads_of(names, config)
    writer = gguf.GGUFWriter(path, ARCHITECTURES[config["model_type"]])
    try:
        _header(writer, source, config, vocabulary, kind)
        for name, renamed in names.items():
            weight, into = weights[name], type_of(weights[name], kind)
            block, size = gguf.GGML_QUANT_SIZES[into]
            writer.add_tensor_info(renamed, weight.shape, np.dtype(np.float32), int(np.prod(weight.shape)) // block * size, raw_dtype=into)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for done, name in enumerate(names, 1):
            with safe_open(source.folder / weights[name].shard, framework="pt") as file:
                array = file.get_tensor(name).to(torch.float32).numpy()
            if name in heads:
                array = _rotary(array, heads[name])
            with np.errstate(over="ignore"):  # what overflows is refused below
                data = array if array.ndim == 1 else gguf.quantize(np.ascontiguousarray(array), type_of(weights[name], kind))
            if not np.isfinite(array).all() or (data.dtype == np.float16 and not np.isfinite(data).all()):
                raise BadInput(
                    f"{name} holds a number that is not finite in this type", allowed="numbers below 65,504 for F16", next="publish the safetensors alone"
                )
            writer.write_tensor_data(data)
            if progress is not None:
                progress(f"writing GGUF {kind}, tensors", done, len(names))
    finally:
        writer.close()


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
    config = read_config(source.folder)
    vocabulary = read_vocabulary(source.folder, size=config["vocab_size"])
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=PREFIX, dir=out.parent) as folder:
        made = Path(folder) / "model.gguf"
        _write(source, config, vocabulary, kind, made, progress)
        if check:
            parity = read_back(source, made, kind, build=build, progress=progress)
        else:
            parity = None
            read_header(made, vocabulary, source)
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

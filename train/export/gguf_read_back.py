"""Reads a GGUF file back: its header, every byte of its weights, and what it answers beside the model it was made from; one weight in memory at a time."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gguf

from governance_hooks.errors import CoopError
from train.export.check import load_tokenizer
from train.export.gguf_model import Source, Type, heads_of, names_of, read_config
from train.export.gguf_tensors import Stored, compare_gguf, read_stored, stored_tensors
from train.export.gguf_vocabulary import Vocabulary, read_vocabulary
from train.export.parity import F16, Q8_0, reference, require
from train.export.shards import layout
from train.export.streamed import Weights, folder_weights, streamed
from train.export.texts import fixed_texts, heldout_texts

__all__ = ["read_back", "read_header"]

Progress = Callable[[str, int, int], None]


def read_header(path: Path, vocabulary: Vocabulary, source: Source) -> dict[str, Stored]:
    """Return where the tensors lie; raise CoopError unless the file, read back, says what was meant."""
    try:
        reader = gguf.GGUFReader(path)
    except (ValueError, LookupError, OverflowError) as error:
        raise CoopError(f"the GGUF file cannot be read back: {error}", next="nothing was written") from error
    for key, wanted in (
        ("tokenizer.ggml.tokens", vocabulary.tokens),
        ("tokenizer.ggml.merges", vocabulary.merges),
        ("tokenizer.ggml.token_type", vocabulary.types),
        ("tokenizer.chat_template", vocabulary.template),
        ("general.name", source.name),
        ("coop.source", source.digest),
    ):
        found = reader.fields[key].contents() if key in reader.fields else None
        if found != wanted:
            raise CoopError(f"the GGUF file, read back, has another {key} than was written")
    return stored_tensors(reader)


def read_back(source: Source, path: Path, kind: Type, *, build: Path | None = None, progress: Progress | None = None) -> dict[str, Any]:
    """Compare a file with the model folder it was made from, header, bytes and answers, and return the parity record.

    Raises:
        BadInput: the folder is none this export knows.
        CoopError: the file is not what the folder says, or answers too differently.
    """
    config = read_config(source.folder)
    found = read_header(path, read_vocabulary(source.folder, size=config["vocab_size"]), source)
    weights, tied = layout(source.folder), bool(config.get("tie_word_embeddings"))
    names = names_of(weights, config, source.folder)
    heads = heads_of(names, config)
    tensors = compare_gguf(path, found, source.folder, weights, names, kind=kind, heads=heads, progress=progress)
    tokenizer = load_tokenizer(source.folder)
    texts = heldout_texts(build, tokenizer) if build is not None else fixed_texts(tokenizer)
    with reference(
        streamed(source.folder, folder_weights(source.folder, weights, tied=tied)), texts, path.parent, "reading with the model", progress
    ) as wanted:
        stored = Weights({name: partial(read_stored, path, found[renamed], heads.get(name)) for name, renamed in names.items()}, tied=tied)
        compared = wanted.compare(streamed(path.parent, stored, gguf_file=path.name), "reading with the GGUF file", progress)
    require(compared, F16 if kind == "f16" else Q8_0, f"GGUF {kind} against the model it was made from")
    return {"texts": "heldout" if build is not None else "fixed", "tensors": tensors, "gguf": compared}

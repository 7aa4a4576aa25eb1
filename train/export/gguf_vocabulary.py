"""The tokenizer of a model folder in the words of GGUF: tokens, types and merges of a byte-level BPE whose way of cutting text llama.cpp knows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gguf import TokenType

from governance_hooks.errors import BadInput

__all__ = ["Vocabulary", "read_vocabulary"]

_LONGEST = 100_000_000
_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def _bytes(use_regex: bool) -> tuple[Any, ...]:
    return ("ByteLevel", use_regex)


_CUTS: dict[tuple[Any, ...], str] = {
    (_bytes(True),): "gpt-2",
    (("Digits", True), _bytes(True)): "smollm",
    (("Split", _WORDS % "{1,3}"), _bytes(False)): "llama-bpe",
    (("Split", _WORDS % ""), _bytes(False)): "qwen2",
}
"""Steps of a pre-tokenizer -> its name in llama.cpp (llama-vocab.cpp)."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What a GGUF file says of its tokenizer."""

    pre: str
    tokens: list[str]
    types: list[int]
    merges: list[str]
    special: dict[str, int]
    """bos, eos, padding and unknown -> id, as far as they are there."""
    add_bos: bool
    template: str | None


def _document(path: Path) -> dict[str, Any]:
    if not path.is_file() or path.is_symlink() or path.stat().st_size > _LONGEST:
        raise BadInput(f"{path} is missing, a link or too long", allowed=f"a tokenizer in the form of the library tokenizers, at most {_LONGEST} bytes")
    try:
        document = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path} is not JSON") from error
    if not isinstance(document, dict):
        raise BadInput(f"{path} is not a JSON object")
    return document


def _step(step: dict[str, Any]) -> tuple[Any, ...]:
    kind = step.get("type")
    if kind == "ByteLevel" and step.get("add_prefix_space") is False:
        return _bytes(step.get("use_regex", True))
    if kind == "Digits":
        return ("Digits", step.get("individual_digits"))
    if kind == "Split" and step.get("behavior") == "Isolated" and step.get("invert") is False:
        return ("Split", step.get("pattern", {}).get("Regex"))
    return (kind,)


def _cut(document: dict[str, Any], path: Path) -> str:
    """Return llama.cpp's name of the way text is cut before BPE."""
    found = document.get("pre_tokenizer") or {}
    steps = tuple(_step(step) for step in (found.get("pretokenizers", []) if found.get("type") == "Sequence" else [found]))
    name = _CUTS.get(steps)
    normalizer = document.get("normalizer")
    if name is None or not (normalizer is None or (name == "qwen2" and normalizer == {"type": "NFC"})):
        raise BadInput(f"{path} cuts text in a way that has no name in GGUF", value=[step[0] for step in steps], allowed=", ".join(sorted(_CUTS.values())))
    model = document["model"]
    odd = {key: model.get(key) for key in ("dropout", "byte_fallback", "continuing_subword_prefix", "end_of_word_suffix") if model.get(key)}
    if odd or (bool(model.get("ignore_merges")) != (name == "llama-bpe")):
        raise BadInput(f"{path}: the BPE is of a kind that GGUF cannot say", value=odd or "ignore_merges", allowed="plain byte-level BPE")
    return name


def _tokens(document: dict[str, Any], size: int, path: Path) -> tuple[list[str], list[int]]:
    tokens = [f"[PAD{number}]" for number in range(size)]
    types = [int(TokenType.UNUSED)] * size
    named = [(token, number, int(TokenType.NORMAL)) for token, number in document["model"]["vocab"].items()]
    named += [(str(e["content"]), e["id"], int(TokenType.CONTROL if e.get("special") else TokenType.USER_DEFINED)) for e in document.get("added_tokens", [])]
    for token, number, kind in named:
        if not isinstance(number, int) or not 0 <= number < size:
            raise BadInput(f"{path} has a token the model has no room for", value=number, allowed=f"0 to {size - 1}")
        tokens[number], types[number] = token, kind
    if len(set(tokens)) != size:
        raise BadInput(f"{path} has a token twice")
    return tokens, types


def _text(entry: object) -> str | None:
    """Return a special token of tokenizer_config.json, which is a text or an object with it."""
    found = entry.get("content") if isinstance(entry, dict) else entry
    return found if isinstance(found, str) else None


def read_vocabulary(folder: Path, *, size: int) -> Vocabulary:
    """Read the tokenizer of a model folder for a model of `size` embeddings.

    Raises:
        BadInput: no byte-level BPE, a way of cutting text that llama.cpp has no name for, or a token outside of the model.
    """
    path = folder / "tokenizer.json"
    document, settings = _document(path), _document(folder / "tokenizer_config.json")
    try:
        if document["model"]["type"] != "BPE":
            raise BadInput(f"{path} is no byte-level BPE", value=document["model"]["type"], allowed="BPE", next="publish the safetensors alone")
        pre = _cut(document, path)
        tokens, types = _tokens(document, size, path)
        merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in document["model"]["merges"]]
    except (LookupError, TypeError, AttributeError) as error:
        raise BadInput(f"{path} is malformed", value=str(error)[:100]) from error
    ids = {token: number for number, token in enumerate(tokens)}
    special = {}
    for key, name in (("bos_token", "bos"), ("eos_token", "eos"), ("pad_token", "padding"), ("unk_token", "unknown")):
        token = _text(settings.get(key))
        if token is not None and token in ids:
            special[name] = ids[token]
    if "eos" not in special:
        raise BadInput(f"{folder / 'tokenizer_config.json'} names no eos_token that the tokenizer has", value=settings.get("eos_token"))
    template = folder / "chat_template.jinja"
    words = template.read_text(encoding="utf-8") if template.is_file() else settings.get("chat_template")
    return Vocabulary(pre, tokens, types, merges, special, _adds_bos(path, special.get("bos")), words if isinstance(words, str) else None)


def _adds_bos(path: Path, bos: int | None) -> bool:
    """Ask the tokenizer itself whether it puts the first token before a text."""
    from tokenizers import Tokenizer

    ids: list[int] = Tokenizer.from_file(str(path)).encode("a").ids
    return bos is not None and ids[:1] == [bos]

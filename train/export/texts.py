"""What two models are compared on: held-out rows of a build in the form training uses, or a few fixed texts of our own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_pipeline.chat import Conversation, Renderer, TooLong
from data_pipeline.manifest import read_build
from data_pipeline.reader import rows
from governance_hooks.canonical import sha256
from governance_hooks.errors import BadInput

__all__ = ["PROMPTS", "Text", "fixed_texts", "heldout_texts", "prompt_ids"]

PROMPTS = {
    "eng": "What is the sun, and why is it warm?",
    "fra": "Qu'est-ce que l'eau, et d'où vient-elle ?",
    "hin": "सूर्य क्या है?",
    "spa": "Cuenta de uno a diez y explica por qué.",
}
"""ISO 639-3 code -> a question of ours; greedy answers to them are compared too."""
_ROWS = 4
_LONGEST = 256
_PREDICTIONS = 512


@dataclass(frozen=True, slots=True)
class Text:
    """Token ids; the predictions of ids[start:stop] are compared."""

    language: str
    ids: tuple[int, ...]
    start: int
    stop: int

    @property
    def predictions(self) -> int:
        """How many tokens are predicted."""
        return self.stop - self.start


def fixed_texts(tokenizer: Any) -> list[Text]:
    """Return the prompts as plain text, predicted from their second token on."""
    found = [(language, tokenizer(prompt, add_special_tokens=False)["input_ids"]) for language, prompt in sorted(PROMPTS.items())]
    return [Text(language, tuple(ids), 1, len(ids)) for language, ids in found if len(ids) > 1]


def heldout_texts(build: Path, tokenizer: Any) -> list[Text]:
    """Return a few held-out rows of each language, chosen by a hash of their id, with their answers to predict.

    Raises:
        BadInput: the build holds no row that can be used.
    """
    renderer = Renderer(tokenizer)
    chosen: dict[str, list[tuple[str, Text]]] = {}
    for row in rows(read_build(build), "heldout"):
        [rendered] = renderer.batch([Conversation(row.inputs, row.targets, row.history)], max_tokens=_LONGEST)
        if isinstance(rendered, TooLong):
            continue
        text = Text(row.language, tuple(rendered.ids), rendered.start, rendered.stop)
        kept = chosen.setdefault(row.language, [])
        kept.append((sha256(row.record.encode()), text))
        chosen[row.language] = sorted(kept, key=lambda pair: pair[0])[:_ROWS]
    texts: list[Text] = []
    room = _PREDICTIONS
    for number in range(_ROWS):  # a row of each language in turn, until there is enough
        for _, kept in sorted(chosen.items()):
            if number < len(kept) and kept[number][1].predictions <= room:
                texts.append(kept[number][1])
                room -= kept[number][1].predictions
    if not texts:
        raise BadInput(f"{build} has no held-out row of at most {_LONGEST} tokens", next="--no-check, if you mean to go without")
    return texts


def prompt_ids(tokenizer: Any) -> list[list[int]]:
    """Return the prompts as a user's turn, ready for the answer, if the tokenizer has a chat template; else as plain text."""
    if tokenizer.chat_template is None:
        return [list(tokenizer(prompt)["input_ids"]) for prompt in PROMPTS.values()]
    asked = [[{"role": "user", "content": prompt}] for prompt in PROMPTS.values()]
    return [list(tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)["input_ids"]) for messages in asked]

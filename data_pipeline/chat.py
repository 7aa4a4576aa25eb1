"""Render one prompt and answer as token ids by the tokenizer's chat template, with a mask of what is learned.

    head  inputs  middle  targets  end-of-turn  rest
    0     0       0       1        1            0        <- supervised

The template is asked once, with two markers for the texts, how it frames a conversation. Frame and texts are then
tokenised apart: the frame with its control tokens, the texts without, so that a contributed `<|im_end|>` or `<filename>`
stays text and can never open a turn of its own. The mask follows from positions, never from token ids.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from governance_hooks.canonical import sha256
from governance_hooks.errors import CoopError

__all__ = ["Frame", "Rendered", "TemplateError", "TooLong", "frame_of", "render"]

# Private-use characters: no template writes them, and a template that trims or changes contents shows it on them.
_PROMPT: Final = "\ue000prompt\ue001"
_ANSWER: Final = "\ue002answer\ue003"


class TemplateError(CoopError):
    """A chat template that cannot be trained on without guessing."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What a chat template puts around one prompt and one answer."""

    template: str
    """SHA-256 of the template's source."""
    head: str
    """Before the prompt; holds the default system message, if the template has one."""
    middle: str
    """Between prompt and answer, generation prompt included."""
    end: str
    """After the answer."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """Token ids of one conversation and which of them are learned (same length)."""

    ids: list[int] = field(repr=False)
    supervised: list[bool] = field(repr=False)


@dataclass(frozen=True, slots=True)
class TooLong:
    """A conversation that does not fit; it is dropped and counted, never cut."""

    tokens: int
    max_tokens: int


def _apply(tokenizer: Any, messages: list[dict[str, str]], *, tokenize: bool, generate: bool = False) -> Any:
    # transformers 5 returns a BatchEncoding unless told otherwise.
    return tokenizer.apply_chat_template(messages, tokenize=tokenize, add_generation_prompt=generate, return_dict=False)


def _messages(inputs: str, targets: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": inputs}, {"role": "assistant", "content": targets}]


def _encode(tokenizer: Any, text: str, *, control: bool) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False, split_special_tokens=not control)["input_ids"]
    return ids


def frame_of(tokenizer: Any) -> Frame:
    """Return what the tokenizer's chat template writes around a prompt and an answer.

    A default system message (SmolLM2 has one) is kept as the template puts it and stands in `head`, to be recorded.

    Raises:
        TemplateError: no template, or one that changes contents or opens the answer differently from its generation prompt.
    """
    source = getattr(tokenizer, "chat_template", None)
    if not isinstance(source, str):
        raise TemplateError("the tokenizer has no single chat template", value=type(source).__name__, next="take base weights of an instruction-tuned model")
    whole = _apply(tokenizer, _messages(_PROMPT, _ANSWER), tokenize=False)
    if whole.count(_PROMPT) != 1 or whole.count(_ANSWER) != 1 or whole.index(_PROMPT) > whole.index(_ANSWER):
        raise TemplateError("the chat template does not write the prompt once and then the answer once", value=whole)
    head, rest = whole.split(_PROMPT)
    middle, end = rest.split(_ANSWER)
    opened = _apply(tokenizer, _messages(_PROMPT, _ANSWER)[:1], tokenize=False, generate=True)
    if opened != head + _PROMPT + middle:
        raise TemplateError("the chat template opens an answer differently from its generation prompt", value=opened, allowed=head + _PROMPT + middle)
    return Frame(sha256(source.encode()), head, middle, end)


def render(tokenizer: Any, inputs: str, targets: str, *, max_tokens: int, frame: Frame | None = None) -> Rendered | TooLong:
    """Return the token ids of one user turn and one assistant turn with their mask, or TooLong.

    The answer and the end-of-turn token are supervised, all before and after is not. The result is checked against the
    template's own rendering: same text, and same ids unless a text spells a control token.

    Args:
        tokenizer: a Hugging Face tokenizer with a chat template.
        inputs: normalised prompt.
        targets: normalised answer.
        max_tokens: longest conversation.
        frame: `frame_of(tokenizer)`, to save its cost when many rows are rendered.

    Raises:
        TemplateError: the template does not round-trip, nothing is supervised, or the end-of-turn token is not.
    """
    frame = frame or frame_of(tokenizer)
    if _apply(tokenizer, _messages(inputs, targets), tokenize=False) != frame.head + inputs + frame.middle + targets + frame.end:
        raise TemplateError(
            "the chat template changes the contents it is given", value=inputs, allowed="contents without outer white space, as builds hold them"
        )
    prompt = _encode(tokenizer, frame.head, control=True) + _encode(tokenizer, inputs, control=False) + _encode(tokenizer, frame.middle, control=True)
    answer = _encode(tokenizer, targets, control=False)
    end = _encode(tokenizer, frame.end, control=True)
    ids = prompt + answer + end
    if not answer:
        raise TemplateError("no token of the answer is supervised", value=targets)
    if tokenizer.eos_token_id is None or tokenizer.eos_token_id not in end:
        raise TemplateError(
            "the end-of-turn token is not supervised: the template does not end an answer with the tokenizer's end token",
            value=frame.end,
            allowed=f"an end that holds {tokenizer.eos_token!r}",
        )
    if not _spells_control(tokenizer, inputs + targets) and ids != _apply(tokenizer, _messages(inputs, targets), tokenize=True):
        raise TemplateError(
            "the template's own token ids differ from prompt + answer + end", value=inputs, next="this tokenizer joins tokens across turns; use another base"
        )
    if len(ids) > max_tokens:
        return TooLong(len(ids), max_tokens)
    learned = len(answer) + end.index(tokenizer.eos_token_id) + 1
    return Rendered(ids, [False] * len(prompt) + [True] * learned + [False] * (len(end) - (learned - len(answer))))


def _spells_control(tokenizer: Any, text: str) -> bool:
    """Tell whether a text spells one of the tokenizer's control tokens."""
    return any(token.special and token.content in text for token in tokenizer.added_tokens_decoder.values())

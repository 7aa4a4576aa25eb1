"""Render conversations as token ids by the tokenizer's chat template, with a mask of what is learned.

    piece  inputs  piece  targets  piece  inputs  piece  targets  end-of-turn  rest
    0      0       0      0        0      0       0      1        1            0        <- supervised

The template is asked once for each number of turns, with markers for the texts, how it frames a conversation. Then every text is
held against that frame: a contributed `<|im_end|>` or `<filename>` stays text and can never open a turn of its own, and the mask
follows from positions, never from searching the text. Only the last answer and its end-of-turn token are supervised.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from governance_hooks.canonical import sha256
from governance_hooks.errors import CoopError

__all__ = ["Conversation", "Frame", "Rendered", "Renderer", "TemplateError", "TooLong", "frame_of", "render"]

# Private-use characters: no template writes them, and a template that trims or changes contents shows it on them.
_MARK: Final = "\ue000text {}\ue001"


class TemplateError(CoopError):
    """A chat template that cannot be trained on without guessing."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """Turns of prompt and answer; the last answer is the one to learn."""

    inputs: str = field(repr=False)
    targets: str = field(repr=False)
    history: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """Earlier turns: (prompt, answer)."""

    @property
    def texts(self) -> list[str]:
        """All texts, prompts and answers in turn."""
        return [*(text for turn in self.history for text in turn), self.inputs, self.targets]

    @property
    def messages(self) -> list[dict[str, str]]:
        """The texts with their roles, as templates take them."""
        return [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(self.texts)]


@dataclass(frozen=True, slots=True)
class Frame:
    """What a chat template puts around the texts of a conversation of so many turns."""

    template: str
    """SHA-256 of the template's source."""
    pieces: tuple[str, ...]
    """Before the first text, between the texts, and after the last: two a turn and one more."""

    @property
    def head(self) -> str:
        """Before the first prompt; holds the default system message, if the template has one."""
        return self.pieces[0]

    @property
    def middle(self) -> str:
        """Between the last prompt and its answer, generation prompt included."""
        return self.pieces[-2]

    @property
    def end(self) -> str:
        """After the last answer."""
        return self.pieces[-1]

    def fill(self, texts: Sequence[str]) -> str:
        """Return the whole conversation as text."""
        return "".join(part for pair in zip(self.pieces, texts, strict=False) for part in pair) + self.end


@dataclass(frozen=True, slots=True)
class Rendered:
    """Token ids of one conversation, of which [start, stop) are learned."""

    ids: list[int] = field(repr=False)
    start: int
    stop: int

    @property
    def supervised(self) -> list[bool]:
        """The mask: for each id, whether it is learned."""
        return [self.start <= position < self.stop for position in range(len(self.ids))]


@dataclass(frozen=True, slots=True)
class TooLong:
    """A conversation that does not fit; it is dropped and counted, never cut."""

    tokens: int
    max_tokens: int


@dataclass(frozen=True, slots=True)
class _Pieces:
    """A frame as token ids."""

    frame: Frame
    ids: list[list[int]]
    leading: list[int]
    """Of each piece, the ids before its first control token; all of them if it has none."""
    trailing: list[int]
    """And after its last."""
    controls: list[int]
    """The control tokens of all pieces in order."""
    counts: list[int]
    """How many of them are in each piece."""


class Renderer:
    """Renders conversations with one tokenizer, many at a time."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        special = [(token_id, token.content) for token_id, token in tokenizer.added_tokens_decoder.items() if token.special]
        self._control = frozenset(token_id for token_id, _ in special)
        self._spelt = [content for _, content in special if content]
        self._pieces: dict[int, _Pieces] = {}

    def frame(self, turns: int = 1) -> Frame:
        """Return what the template writes around conversations of so many turns."""
        return self._frame(turns).frame

    def _frame(self, turns: int) -> _Pieces:
        if turns not in self._pieces:
            frame = frame_of(self.tokenizer, turns)
            ids = self._encode(frame.pieces, control=True)
            where = [[n for n, token in enumerate(piece) if token in self._control] for piece in ids]
            self._pieces[turns] = _Pieces(
                frame,
                ids,
                leading=[at[0] if at else len(piece) for at, piece in zip(where, ids, strict=True)],
                trailing=[len(piece) - 1 - at[-1] if at else len(piece) for at, piece in zip(where, ids, strict=True)],
                controls=[token for piece in ids for token in piece if token in self._control],
                counts=[len(at) for at in where],
            )
            if self.tokenizer.eos_token_id is None or self.tokenizer.eos_token_id not in ids[-1]:
                raise TemplateError(
                    "the end-of-turn token is not supervised: the template does not end an answer with the tokenizer's end token",
                    value=frame.end,
                    allowed=f"an end that holds {self.tokenizer.eos_token!r}",
                )
        return self._pieces[turns]

    def _encode(self, texts: Sequence[str], *, control: bool) -> list[list[int]]:
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        if backend is None:  # a tokenizer written in Python
            found: list[list[int]] = self.tokenizer(list(texts), add_special_tokens=False, split_special_tokens=not control)["input_ids"]
            return found
        backend.encode_special_tokens = not control
        backend.no_truncation()
        backend.no_padding()
        return [encoding.ids for encoding in backend.encode_batch_fast(list(texts), add_special_tokens=False)]

    def batch(self, conversations: Sequence[Conversation], *, max_tokens: int) -> list[Rendered | TooLong]:
        """Return the token ids and mask of each conversation, or TooLong, in order.

        Raises:
            TemplateError: the template changes a text, its ids cannot be told apart from the texts', or nothing is supervised.
        """
        if not conversations:
            return []
        pieces = [self._frame(len(c.history) + 1) for c in conversations]
        written: list[str] = self.tokenizer.apply_chat_template([c.messages for c in conversations], tokenize=False, return_dict=False)
        for conversation, text, framed in zip(conversations, written, pieces, strict=True):
            if not conversation.targets:
                raise TemplateError("no token of the answer is supervised", value=conversation.targets)
            if text != framed.frame.fill(conversation.texts):
                raise TemplateError(
                    "the chat template changes the contents it is given",
                    value=conversation.inputs,
                    allowed="contents without outer white space, as builds hold them",
                )
        whole = self._encode(written, control=True)
        made: list[Rendered | TooLong] = []
        for conversation, ids, framed in zip(conversations, whole, pieces, strict=True):
            rendered = self._placed(ids, framed) or self._apart(conversation, ids, framed)
            made.append(rendered if len(rendered.ids) <= max_tokens else TooLong(len(rendered.ids), max_tokens))
        return made

    def _placed(self, ids: list[int], framed: _Pieces) -> Rendered | None:
        """Find the texts in the template's own ids by its control tokens; None unless every piece of the frame is where it must be, token by token."""
        at = [position for position, token in enumerate(ids) if token in self._control]
        if not all(framed.counts[1:-1]) or [ids[position] for position in at] != framed.controls:
            return None
        cursor, seen = 0, 0  # tokens and control tokens before the piece
        start = stop = 0
        for number, piece in enumerate(framed.ids):
            count = framed.counts[number]
            if number:
                # A text reaches to the next control token, less what the piece puts before it.
                stop = (at[seen] if count else len(ids)) - framed.leading[number]
                start, cursor = cursor, stop
            if start > stop or ids[cursor : cursor + len(piece)] != piece:
                return None
            cursor, seen = cursor + len(piece), seen + count
        return self._learned(ids, start, stop, framed) if cursor == len(ids) else None

    def _apart(self, conversation: Conversation, whole: list[int], framed: _Pieces) -> Rendered:
        """Tokenise the texts apart from the frame and without control tokens; refuse ids that differ from the template's own for another reason."""
        texts = self._encode(conversation.texts, control=False)
        ids = [token for piece, text in zip(framed.ids, [*texts, []], strict=True) for token in (*piece, *text)]
        stop = len(ids) - len(framed.ids[-1])
        start = stop - len(texts[-1])
        if ids != whole and not self._spells_control(conversation.texts):
            raise TemplateError(
                "the template's own token ids differ from those of frame and texts",
                value=conversation.inputs,
                next="this tokenizer joins tokens across turns; use another base",
            )
        return self._learned(ids, start, stop, framed)

    def _learned(self, ids: list[int], start: int, stop: int, framed: _Pieces) -> Rendered:
        if not 0 < start < stop:
            raise TemplateError("no token of the answer is supervised, or nothing stands before it", value=(start, stop))
        return Rendered(ids, start, stop + framed.ids[-1].index(self.tokenizer.eos_token_id) + 1)

    def _spells_control(self, texts: Iterable[str]) -> bool:
        """Tell whether a text spells one of the tokenizer's control tokens."""
        return any(token in text for text in texts for token in self._spelt)


def frame_of(tokenizer: Any, turns: int = 1) -> Frame:
    """Return what the tokenizer's chat template writes around a conversation of so many turns.

    A default system message (SmolLM2 has one) is kept as the template puts it and stands in `head`, to be recorded.

    Raises:
        TemplateError: no template, or one that changes contents or opens the last answer differently from its generation prompt.
    """
    source = getattr(tokenizer, "chat_template", None)
    if not isinstance(source, str):
        raise TemplateError("the tokenizer has no single chat template", value=type(source).__name__, next="take base weights of an instruction-tuned model")
    marks = [_MARK.format(number) for number in range(2 * turns)]
    messages = Conversation(marks[-2], marks[-1], tuple(zip(marks[:-2:2], marks[1:-2:2], strict=True))).messages
    # transformers 5 returns a BatchEncoding unless told otherwise.
    whole = rest = str(tokenizer.apply_chat_template(messages, tokenize=False, return_dict=False))
    pieces: list[str] = []
    for mark in marks:
        before, found, rest = rest.partition(mark)
        if not found or whole.count(mark) != 1:
            raise TemplateError("the chat template does not write the prompt once and then the answer once", value=whole)
        pieces.append(before)
    frame = Frame(sha256(source.encode()), (*pieces, rest))
    opened = tokenizer.apply_chat_template(messages[:-1], tokenize=False, add_generation_prompt=True, return_dict=False)
    allowed = whole[: len(whole) - len(marks[-1]) - len(rest)]
    if opened != allowed:
        raise TemplateError("the chat template opens an answer differently from its generation prompt", value=opened, allowed=allowed)
    return frame


def render(tokenizer: Any, inputs: str, targets: str, *, max_tokens: int, history: tuple[tuple[str, str], ...] = ()) -> Rendered | TooLong:
    """Return the token ids of one conversation with their mask, or TooLong; `Renderer.batch` does many faster.

    Args:
        tokenizer: a Hugging Face tokenizer with a chat template.
        inputs: normalised prompt.
        targets: normalised answer, the one to learn.
        max_tokens: longest conversation.
        history: earlier turns, (prompt, answer).

    Raises:
        TemplateError: the template does not round-trip, nothing is supervised, or the end-of-turn token is not.
    """
    return Renderer(tokenizer).batch([Conversation(inputs, targets, history)], max_tokens=max_tokens)[0]

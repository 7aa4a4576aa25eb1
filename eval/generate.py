"""Greedy answers to prompts, several at once; and the sample answers before and after, to a few fixed questions of our own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import torch
from peft import PeftModel
from transformers import GenerationConfig

from eval.prompts import PROMPTS
from eval.weights import Weights

__all__ = ["BATCH", "MAX_NEW_TOKENS", "before_and_after", "greedy", "own_settings", "sample_answers", "without_prompt"]

Progress = Callable[[str, int, int], None]
BATCH: Final = 8
"""Prompts answered at once. Rounding of the matrix products depends on it, so two tokens that are equally likely to the last digits may change places: the report says it."""
TOKENS_EACH: Final = 128
"""A batch may have so many tokens for each of its prompts, padding included: longer prompts go in smaller batches, which are faster and need no more memory."""
MAX_NEW_TOKENS: Final = 48


def without_prompt(languages: Iterable[str]) -> list[str]:
    """Return the languages we have no question in; the report names them."""
    return sorted(set(languages) - set(PROMPTS))


def _end_and_pad(tokenizer: Any) -> tuple[int | None, int]:
    """Return the token that ends an answer, and one to fill up with."""
    end = tokenizer.eos_token_id
    return end, next((token for token in (tokenizer.pad_token_id, end) if token is not None), 0)


@contextmanager
def own_settings(model: Any, tokenizer: Any) -> Iterator[None]:
    """Let nothing that stands in a folder's generation_config.json decide what is answered: within the block there are the library's defaults, and no more."""
    end, pad = _end_and_pad(tokenizer)
    holders = [model, model.get_base_model()] if isinstance(model, PeftModel) else [model]
    before = [one.generation_config for one in holders]
    for one in holders:
        one.generation_config = GenerationConfig(eos_token_id=end, pad_token_id=pad)
    try:
        yield
    finally:
        for one, kept in zip(holders, before, strict=True):
            one.generation_config = kept


def _batches(lengths: Sequence[int], batch: int) -> Iterator[list[int]]:
    """Yield the places of the prompts that are answered together; each batch begins with its longest, and one prompt may be longer than a batch."""
    places: list[int] = []
    # Prompts of one length stand together, so that little is padding; the longest go first: what does not fit into memory fails at once.
    for place in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
        if places and (len(places) == batch or (len(places) + 1) * lengths[places[0]] > batch * TOKENS_EACH):
            yield places
            places = []
        places.append(place)
    if places:
        yield places


def _batch_answers(model: Any, tokenizer: Any, prompts: Sequence[Sequence[int]], max_new_tokens: int) -> list[str]:
    """Return the answers of one batch. Prompts are padded on the left, so that all answers begin in the same column."""
    end, pad = _end_and_pad(tokenizer)
    device, width = next(model.parameters()).device, max(map(len, prompts))
    input_BT = torch.tensor([[pad] * (width - len(tokens)) + list(tokens) for tokens in prompts], device=device)
    attention_BT = torch.tensor([[0] * (width - len(tokens)) + [1] * len(tokens) for tokens in prompts], device=device)
    with own_settings(model, tokenizer):
        output_BT = model.generate(input_ids=input_BT, attention_mask=attention_BT, max_new_tokens=max_new_tokens, do_sample=False)
    answers = []
    for made in output_BT[:, width:].tolist():
        # What stands behind the end of an answer is padding, until the longest answer of the batch is done.
        answer = made[: made.index(end)] if end in made else made
        answers.append(str(tokenizer.decode(answer, skip_special_tokens=True)).strip())
    return answers


@torch.inference_mode()
def greedy(
    model: Any, tokenizer: Any, prompts: Sequence[Sequence[int]], *, max_new_tokens: int, batch: int = BATCH, progress: Progress | None = None, label: str = ""
) -> list[str]:
    """Return the greedy continuation of each prompt as text, without special tokens.

    Args:
        model: a causal language model.
        tokenizer: of the model.
        prompts: token ids of each.
        max_new_tokens: length limit of one answer.
        batch: most prompts answered at once (of long ones fewer). An answer is that of its prompt alone, up to rounding.
        progress: called with label, done, total.
        label: what is answered.
    """
    model.eval()
    out, done = [""] * len(prompts), 0
    for places in _batches([len(tokens) for tokens in prompts], batch):
        for place, answer in zip(places, _batch_answers(model, tokenizer, [prompts[place] for place in places], max_new_tokens), strict=True):
            out[place] = answer
        done += len(places)
        if progress:
            progress(label, done, len(prompts))
    return out


def before_and_after(
    weights: Weights,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int = MAX_NEW_TOKENS,
    batch: int = BATCH,
    progress: Progress | None = None,
    label: str = "sample answers",
) -> list[tuple[str, str]]:
    """Return the base's and the tuned answer to each prompt; what is not explained here is as in `greedy`."""
    with weights.before() as model:
        base = greedy(model, tokenizer, prompts, max_new_tokens=max_new_tokens, batch=batch, progress=progress, label=f"{label}, base")
    tuned = greedy(weights.tuned, tokenizer, prompts, max_new_tokens=max_new_tokens, batch=batch, progress=progress, label=f"{label}, tuned")
    return list(zip(base, tuned, strict=True))


def sample_answers(
    weights: Weights,
    tokenizer: Any,
    languages: Iterable[str],
    *,
    prompt_tokens: Callable[[str], Sequence[int]],
    per_language: int = 1,
    batch: int = BATCH,
    progress: Progress | None = None,
) -> list[dict[str, str]]:
    """Return language, prompt, base and tuned answer for each language that has a question of ours, sorted by language.

    Args:
        weights: base and tuned.
        tokenizer: of the base weights.
        languages: ISO 639-3 codes.
        prompt_tokens: question -> token ids under the chat template, ready for the answer.
        per_language: questions for each language; there are two of them, more are not asked.
        batch: as in `greedy`.
        progress: called with label, done, total.
    """
    wanted = [(language, prompt) for language in sorted(set(languages)) for prompt in PROMPTS.get(language, ())[:per_language]]
    answers = before_and_after(weights, tokenizer, [prompt_tokens(prompt) for _, prompt in wanted], batch=batch, progress=progress)
    return [{"language": language, "prompt": prompt, "base": base, "tuned": tuned} for (language, prompt), (base, tuned) in zip(wanted, answers, strict=True)]

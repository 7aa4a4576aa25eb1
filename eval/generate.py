"""Sample answers before and after: a few greedy generations on our own fixed questions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from transformers import GenerationConfig

from eval.prompts import PROMPTS
from eval.weights import Weights

__all__ = ["MAX_NEW_TOKENS", "before_and_after", "greedy", "without_prompt"]

Progress = Callable[[str, int, int], None]
MAX_NEW_TOKENS = 48


def without_prompt(languages: Iterable[str]) -> list[str]:
    """Return the languages we have no question in; the report names them."""
    return sorted(set(languages) - set(PROMPTS))


@torch.inference_mode()
def greedy(model: Any, tokenizer: Any, tokens: Sequence[int], *, max_new_tokens: int = MAX_NEW_TOKENS) -> str:
    """Return the greedy continuation of a prompt as text, without special tokens."""
    end = tokenizer.eos_token_id
    # Every sampling field is set here: the base folder's generation_config must not decide what the card shows.
    config = GenerationConfig(
        max_new_tokens=max_new_tokens, do_sample=False, num_beams=1, repetition_penalty=1.0, temperature=1.0, top_k=50, top_p=1.0,
        eos_token_id=end, pad_token_id=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else end,
    )  # fmt: skip
    model.eval()
    input_1T = torch.tensor([list(tokens)], device=next(model.parameters()).device)
    output_1T = model.generate(input_ids=input_1T, attention_mask=torch.ones_like(input_1T), generation_config=config)
    return str(tokenizer.decode(output_1T[0, input_1T.shape[1] :], skip_special_tokens=True)).strip()


def before_and_after(
    weights: Weights,
    tokenizer: Any,
    languages: Iterable[str],
    *,
    prompt_tokens: Callable[[str], Sequence[int]],
    per_language: int = 1,
    max_new_tokens: int = MAX_NEW_TOKENS,
    progress: Progress | None = None,
) -> list[dict[str, str]]:
    """Return language, prompt, base and tuned answer for each language that has a question of ours, sorted by language.

    Args:
        weights: base and tuned.
        tokenizer: of the base weights.
        languages: ISO 639-3 codes.
        prompt_tokens: question -> token ids under the chat template, ready for the answer.
        per_language: questions for each language; there are two of them, more are not asked.
        max_new_tokens: length limit of one answer.
        progress: called with label, done, total.
    """
    wanted = [(language, prompt) for language in sorted(set(languages)) for prompt in PROMPTS.get(language, ())[:per_language]]
    samples = []
    for done, (language, prompt) in enumerate(wanted, 1):
        tokens = prompt_tokens(prompt)
        with weights.before() as model:
            base = greedy(model, tokenizer, tokens, max_new_tokens=max_new_tokens)
        tuned = greedy(weights.tuned, tokenizer, tokens, max_new_tokens=max_new_tokens)
        samples.append({"language": language, "prompt": prompt, "base": base, "tuned": tuned})
        if progress:
            progress("sample answers", done, len(wanted))
    return samples

"""The canaries of a run, in or out, as the tokens they were trained on as, measured under the weights before and after."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from data_pipeline.chat import Conversation, Renderer, TooLong
from eval.heldout import Answer
from eval.leak.surprise import surprises
from eval.weights import Weights
from governance_hooks.canaries import Canary
from governance_hooks.errors import BadInput
from governance_hooks.leak import DECIMALS
from governance_hooks.plan import CANARY_LANGUAGE

__all__ = ["canary_answers", "measure_canaries"]

Progress = Callable[[str, int, int], None]


def canary_answers(sealed: Sequence[Canary], tokenizer: Any, *, longest: int) -> list[Answer]:
    """Return the canaries as tokens, framed as in training; BadInput if one is longer than the model can read."""
    answers = []
    for one, rendered in zip(sealed, Renderer(tokenizer).batch([Conversation(one.inputs, one.targets) for one in sealed], max_tokens=longest), strict=True):
        if isinstance(rendered, TooLong):
            raise BadInput("a canary is longer than the model can read", value=one.canary, allowed=f"{longest} tokens")
        answers.append(Answer(one.canary, CANARY_LANGUAGE, one.canary, tuple(rendered.ids), tuple(rendered.supervised)))
    return answers


def measure_canaries(weights: Weights, tokenizer: Any, sealed: Sequence[Canary], *, longest: int, progress: Progress | None = None) -> list[dict[str, Any]]:
    """Return the lines of `privacy/canaries.jsonl`, in the order of the sealed list.

    Args:
        weights: base and tuned.
        tokenizer: of the base weights.
        sealed: all canaries, whether the coin put them in or not.
        longest: most tokens the model can read.
        progress: called with label, done, total.
    """
    answers = canary_answers(sealed, tokenizer, longest=longest)
    with weights.before() as model:
        base = surprises(model, answers, progress=progress, label="canaries, base")
    tuned = surprises(weights.tuned, answers, progress=progress, label="canaries, tuned")
    return [
        {
            "index": index,
            "canary": one.canary,
            "included": one.included,
            "tokens": answer.supervised_tokens,
            "base": round(base[one.canary].loss, DECIMALS),
            "tuned": round(tuned[one.canary].loss, DECIMALS),
            "base_min_k": round(base[one.canary].min_k, DECIMALS),
            "tuned_min_k": round(tuned[one.canary].min_k, DECIMALS),
            "matched": tuned[one.canary].matched,
            "tail": tuned[one.canary].tail,
        }
        for index, (one, answer) in enumerate(zip(sealed, answers, strict=True))
    ]

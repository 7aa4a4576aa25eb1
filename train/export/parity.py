"""How far two models differ on the same texts, and whether that is little enough to call them one model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import log_softmax

from governance_hooks.atomic import PREFIX
from governance_hooks.errors import CoopError
from train.export.texts import Text

__all__ = ["BF16", "EXACT", "F16", "Q8_0", "Bounds", "Reference", "continuations", "reference", "require", "require_kept", "same_answers", "table"]

Progress = Callable[[str, int, int], None]
NEW_TOKENS = 24
MOST_LOST = 0.05
"""A merged model may be so much of the way from the adapter's model to the base, by mean divergence."""
_DECIMALS = 9


@dataclass(frozen=True, slots=True)
class Bounds:
    """The largest differences that pass."""

    max_logit: float
    """Largest difference of any logit."""
    mean_kl: float
    """Mean Kullback-Leibler divergence per predicted token, nats."""
    top1: float
    """Least share of predictions with the same most likely token; of few predictions one may differ, since no share below one can be told from it."""
    nll: float
    """Largest difference of the mean loss of any language, nats per token."""


EXACT = Bounds(max_logit=1e-3, mean_kl=1e-8, top1=0.999, nll=1e-5)
BF16 = Bounds(max_logit=2.0, mean_kl=2e-3, top1=0.97, nll=5e-2)
F16 = Bounds(max_logit=0.1, mean_kl=1e-4, top1=0.99, nll=5e-3)
Q8_0 = Bounds(max_logit=2.0, mean_kl=1e-2, top1=0.95, nll=5e-2)


@torch.inference_mode()
def _logits(model: Any, text: Text) -> Tensor:
    """Return the logits that predict ids[start:stop], float32, shape [N, V]."""
    logits_TV: Tensor = model(input_ids=torch.tensor([text.ids]), use_cache=False).logits[0, text.start - 1 : text.stop - 1]
    return logits_TV.float()


@dataclass(slots=True)
class Reference:
    """The logits of the model the others are held against; in a file, since a vocabulary times some thousand tokens is too much for memory."""

    texts: Sequence[Text]
    logits_NV: np.memmap[Any, Any]

    def compare(self, model: Any, label: str, progress: Progress | None = None) -> dict[str, Any]:
        """Return the differences of a model from this one, over all texts and by language."""
        sums = {"abs": 0.0, "kl": 0.0, "same": 0, "max": 0.0, "max_kl": 0.0}
        losses: dict[str, list[float]] = {}
        begin = 0
        for done, text in enumerate(self.texts, 1):
            found_NV = _logits(model, text)
            wanted_NV = torch.from_numpy(np.array(self.logits_NV[begin : begin + text.predictions]))
            begin += text.predictions
            if not torch.isfinite(found_NV).all():
                raise CoopError(f"{label}: the model's outputs are not finite", next="do not use these weights")
            difference_NV = (found_NV - wanted_NV).abs()
            wanted_log_NV, found_log_NV = log_softmax(wanted_NV.double(), -1), log_softmax(found_NV.double(), -1)
            kl_N = (wanted_log_NV.exp() * (wanted_log_NV - found_log_NV)).sum(-1)
            sums["abs"] += float(difference_NV.double().mean(-1).sum())
            sums["max"] = max(sums["max"], float(difference_NV.max()))
            sums["kl"] += float(kl_N.sum())
            sums["max_kl"] = max(sums["max_kl"], float(kl_N.max()))
            sums["same"] += int((found_NV.argmax(-1) == wanted_NV.argmax(-1)).sum())
            targets_N1 = torch.tensor(text.ids[text.start : text.stop])[:, None]
            loss = losses.setdefault(text.language, [0.0, 0.0, 0.0])
            loss[0] += text.predictions
            loss[1] -= float(wanted_log_NV.gather(-1, targets_N1).sum())
            loss[2] -= float(found_log_NV.gather(-1, targets_N1).sum())
            if progress is not None:
                progress(label, done, len(self.texts))
        return {
            "texts": len(self.texts),
            "tokens": begin,
            "max_logit": round(sums["max"], _DECIMALS),
            "mean_logit": round(sums["abs"] / begin, _DECIMALS),
            "mean_kl": round(sums["kl"] / begin, _DECIMALS),
            "max_kl": round(sums["max_kl"], _DECIMALS),
            "top1": round(sums["same"] / begin, 6),
            "languages": {
                language: {"tokens": int(n), "reference": round(wanted / n, 6), "difference": round((found - wanted) / n, _DECIMALS)}
                for language, (n, wanted, found) in sorted(losses.items())
            },
        }


@contextmanager
def reference(model: Any, texts: Sequence[Text], beside: Path, label: str, progress: Progress | None = None) -> Iterator[Reference]:
    """Yield the logits of `model` on the texts; their file lies beside the result and is gone after the block."""
    with TemporaryDirectory(prefix=PREFIX, dir=beside) as folder:
        shape = (sum(text.predictions for text in texts), model.config.vocab_size)
        logits_NV: np.memmap[Any, Any] = np.memmap(Path(folder) / "logits", np.float32, "w+", shape=shape)
        begin = 0
        for done, text in enumerate(texts, 1):
            logits_NV[begin : begin + text.predictions] = _logits(model, text).numpy()
            begin += text.predictions
            if progress is not None:
                progress(label, done, len(texts))
        yield Reference(texts, logits_NV)


@torch.inference_mode()
def continuations(model: Any, prompts: Sequence[Sequence[int]], stop: int | None) -> list[tuple[list[int], Tensor]]:
    """Return for each prompt the greedily chosen tokens, and the logits of each choice [N, V]."""
    from transformers import GenerationConfig

    # Every field that steers is set here: the folder's generation_config could ask for sampling.
    config = GenerationConfig(
        max_new_tokens=NEW_TOKENS, do_sample=False, num_beams=1, repetition_penalty=1.0, temperature=1.0, top_k=50, top_p=1.0,
        eos_token_id=stop, pad_token_id=stop, output_logits=True, return_dict_in_generate=True,
    )  # fmt: skip
    found = []
    for prompt in prompts:
        ids_1T = torch.tensor([list(prompt)])
        made = model.generate(input_ids=ids_1T, attention_mask=torch.ones_like(ids_1T), generation_config=config)
        found.append((made.sequences[0, ids_1T.shape[1] :].tolist(), torch.cat(made.logits)))
    return found


def same_answers(wanted: Sequence[tuple[list[int], Tensor]], found: Sequence[tuple[list[int], Tensor]], *, max_logit: float) -> dict[str, int]:
    """Return how many answers are the same to the last token, and how many part at a near tie.

    A near tie is a choice where the reference itself held the two tokens within twice the largest difference seen of a logit: rounding
    alone may turn it.

    Raises:
        CoopError: an answer differs where the reference was sure.
    """
    ties = 0
    for number, ((left, logits_NV), (right, _)) in enumerate(zip(wanted, found, strict=True), 1):
        at = next((n for n, pair in enumerate(zip(left, right, strict=False)) if pair[0] != pair[1]), None)
        if at is None:
            if len(left) != len(right):
                raise CoopError(f"answer {number} is longer in one model than in the other", value=[len(left), len(right)])
            continue
        gap = float(logits_NV[at, left[at]] - logits_NV[at, right[at]])
        if gap > 2 * max_logit:
            raise CoopError(
                f"answer {number} differs at token {at + 1}, where the choice was clear", value=round(gap, 6), allowed=f"a gap of {2 * max_logit:g}"
            )
        ties += 1
    return {"answers": len(wanted), "same": len(wanted) - ties, "near_ties": ties}


def require(found: dict[str, Any], bounds: Bounds, what: str) -> None:
    """Raise CoopError naming every difference that is beyond its bound."""
    worst = max((abs(row["difference"]) for row in found["languages"].values()), default=0.0)
    parted, may_part = round((1 - found["top1"]) * found["tokens"]), ceil(round((1 - bounds.top1) * found["tokens"], _DECIMALS))
    beyond = [
        f"{name} {value:g} ({'at least' if name == 'top1' else 'at most'} {bound:g})"
        for name, value, bound, bad in (
            ("max_logit", found["max_logit"], bounds.max_logit, found["max_logit"] > bounds.max_logit),
            ("mean_kl", found["mean_kl"], bounds.mean_kl, found["mean_kl"] > bounds.mean_kl),
            ("top1", found["top1"], bounds.top1, parted > may_part),
            ("nll", worst, bounds.nll, worst > bounds.nll),
        )
        if bad
    ]
    if beyond:
        raise CoopError(f"{what}: the models differ too much", value="; ".join(beyond), allowed="the bounds in docs/weights.md", next="nothing was written")


def require_kept(merged: dict[str, Any], base: dict[str, Any]) -> None:
    """Raise CoopError if what the adapter changes drowns in the rounding of the merged weights."""
    lost, change = merged["mean_kl"], base["mean_kl"]
    if lost > MOST_LOST * change and lost > EXACT.mean_kl:
        raise CoopError(
            "the adapter changes so little that rounding the merged weights hides it",
            value=f"mean_kl {lost:g} lost of {change:g}",
            allowed=f"at most {MOST_LOST:.0%}",
            next="publish the adapter, which loses nothing",
        )


def table(rows: dict[str, dict[str, Any]]) -> str:
    """Return the comparisons as a table, with the loss by language below."""
    lines = [f"{'against the reference':<34}{'max |dlogit|':>14}{'mean':>12}{'mean KL':>12}{'same top':>10}"]
    for name, row in rows.items():
        lines.append(f"{name:<34}{row['max_logit']:>14.3g}{row['mean_logit']:>12.3g}{row['mean_kl']:>12.3g}{row['top1']:>10.2%}")
    lines += ["", f"{'loss, nats per token':<34}" + "".join(f"{language:>11}" for language in next(iter(rows.values()))["languages"])]
    first = next(iter(rows.values()))["languages"].values()
    lines.append(f"{'reference':<34}" + "".join(f"{row['reference']:>11.4f}" for row in first))
    lines += [f"{name:<34}" + "".join(f"{row['difference']:>+11.2g}" for row in values["languages"].values()) for name, values in rows.items()]
    return "\n".join(lines)

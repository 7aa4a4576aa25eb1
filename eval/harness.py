"""Multiple choice and exact match through lm-evaluation-harness, on questions at hand: no network, no code of a data set, one model in memory.

The harness makes the requests, asks the model and scores; what is kept are its scores of single items. Its own summary treats items as
independent and two models as unpaired, so the statistics are ours.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import datasets
import lm_eval.tasks.xcopa.utils as xcopa
from lm_eval import evaluator
from lm_eval.api import task as harness_task
from lm_eval.api.task import ConfigurableTask
from lm_eval.models.huggingface import HFLM

from data_pipeline.task_data import Question
from eval.generate import BATCH, own_settings
from governance_hooks.errors import BadInput
from governance_hooks.tasks import Task

__all__ = ["SCORES", "ask", "connector"]

Progress = Callable[[str, int, int], None]
SCORES: Final = {"accuracy": "acc", "accuracy_per_byte": "acc_bytes", "exact_match": "exact_match"}
"""Our metric -> the harness's."""
REQUESTS: Final = 64
"""Requests between two reports of progress."""
_TWO_LETTERS: Final = {
    "est": "et",
    "hat": "ht",
    "ind": "id",
    "ita": "it",
    "que": "qu",
    "swa": "sw",
    "tam": "ta",
    "tha": "th",
    "tur": "tr",
    "vie": "vi",
    "zho": "zh",
}
_NUMBER: Final = r"(-?[$0-9.,]{2,})|(-?[0-9]+)"
"""The harness's own for MGSM, its last match."""


def connector(language: str, relation: str) -> str:
    """Return `because` or `therefore` in a language of XCOPA, as the harness has it (BadInput for another language)."""
    if language == "eng":
        return {"cause": "because", "effect": "therefore"}[relation]
    if language not in _TWO_LETTERS:
        raise BadInput("XCOPA questions need the words for because and therefore", value=language, allowed=", ".join(sorted([*_TWO_LETTERS, "eng"])))
    word: str = getattr(xcopa, f"doc_to_text_{_TWO_LETTERS[language]}").keywords["connector"][relation]
    return word


def _document(one: Question) -> dict[str, Any]:
    """Return a question as the harness's documents have it."""
    if one.relation is not None:  # the harness drops the full stop, and begins the choices small
        text = f"{one.prompt.strip()[:-1]} {connector(one.language, one.relation)}"
        choices = [choice[0].lower() + choice[1:] for choice in one.choices]
    else:
        text, choices = one.prompt, list(one.choices)
    return {"item": one.item, "text": text, "choices": choices, "label": one.label, "answer": one.answer}


class _Reporting(HFLM):
    """The harness's model, on weights that are loaded already, with our progress instead of its bars."""

    def __init__(self, model: Any, tokenizer: Any, *, report: Callable[[int, int], None], batch: int) -> None:
        super().__init__(pretrained=model, tokenizer=tokenizer, batch_size=batch, trust_remote_code=False, add_bos_token=False)
        self.report = report

    def _parts(self, requests: list[Any], answer: Callable[[list[Any]], list[Any]]) -> list[Any]:
        # In order of length, so that the rows of a batch are alike although each part is batched for itself.
        order = sorted(range(len(requests)), key=lambda place: -sum(len(str(part)) for part in requests[place].args))
        out: list[Any] = [None] * len(requests)
        self.report(0, len(order))  # generating a part takes minutes: say at once what is being done, and take the time from here
        for start in range(0, len(order), REQUESTS):
            places = order[start : start + REQUESTS]
            for place, one in zip(places, answer([requests[place] for place in places]), strict=True):
                out[place] = one
            self.report(min(start + REQUESTS, len(order)), len(order))
        return out

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> list[Any]:
        """Return (log-likelihood, greedy) of each continuation."""
        return self._parts(requests, lambda part: super(_Reporting, self).loglikelihood(part, disable_tqdm=True))

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[Any]:
        """Return the greedy answer to each prompt."""
        return self._parts(requests, lambda part: super(_Reporting, self).generate_until(part, disable_tqdm=True))


def _task(task: Task, questions: Sequence[Question]) -> ConfigurableTask:
    documents = [_document(one) for one in questions]
    shared: dict[str, Any] = {
        "task": task.name,
        "custom_dataset": lambda **_: {"test": datasets.Dataset.from_list(documents)},
        "test_split": "test",
        "doc_to_text": lambda document: document["text"],
        "metadata": {},
    }
    if task.kind == "multiple_choice":
        choice = {"doc_to_choice": lambda document: document["choices"], "doc_to_target": lambda document: document["label"]}
        metrics = [{"metric": name, "aggregation": "mean", "higher_is_better": True} for name in ("acc", "acc_bytes")]
        return ConfigurableTask(config=shared | choice | {"output_type": "multiple_choice", "metric_list": metrics})
    numbers = all(re.fullmatch(r"-?[0-9][0-9.,]*", one.answer or "") for one in questions)
    extract: list[dict[str, Any]] = [{"function": "regex", "group_select": -1, "regex_pattern": _NUMBER}] if numbers else [{"function": "remove_whitespace"}]
    return ConfigurableTask(
        config=shared
        | {
            "output_type": "generate_until",
            "doc_to_target": lambda document: document["answer"],
            "generation_kwargs": {"do_sample": False, "temperature": 0.0, "until": [], "max_gen_toks": task.new_tokens},
            "filter_list": [{"name": "extract", "filter": [*extract, {"function": "take_first"}]}],
            "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True, "ignore_case": True, "ignore_punctuation": True}],
        }
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the harness's remarks to its developers off the user's terminal."""
    loggers = [logging.getLogger(name) for name in ("lm_eval", "lm-eval", "lm_eval.models.huggingface", "lm_eval.api.task", "lm_eval.evaluator")]
    levels = [one.level for one in loggers]
    bars = datasets.is_progress_bar_enabled()
    bar = harness_task.tqdm
    datasets.disable_progress_bar()
    harness_task.tqdm = lambda each, **_: each  # it has no switch of its own
    for one in loggers:
        one.setLevel(logging.ERROR)
    try:
        yield
    finally:
        harness_task.tqdm = bar
        for one, level in zip(loggers, levels, strict=True):
            one.setLevel(level)
        if bars:
            datasets.enable_progress_bar()


def ask(
    model: Any, tokenizer: Any, task: Task, questions: Sequence[Question], *, batch: int = BATCH, progress: Progress | None = None, label: str = ""
) -> tuple[dict[str, float], float]:
    """Return item -> score of a model, and the harness's own mean over the items.

    Choices are scored by the log-likelihood of each after the bare text, as the harness does for XCOPA. Questions with one answer are put under
    the chat template, and of the answer the last number counts (or all of it, if the answers of the task are no numbers).
    """

    def report(done: int, total: int) -> None:
        if progress:
            progress(label or task.name, done, total)

    generates = task.kind == "exact_match"
    with _quiet(), own_settings(model, tokenizer):
        made = evaluator.evaluate(
            lm=_Reporting(model, tokenizer, report=report, batch=batch),
            task_dict={task.name: _task(task, questions)},
            bootstrap_iters=0,
            log_samples=True,
            apply_chat_template=generates,
        )
    assert made is not None
    metric = SCORES[task.metric]
    scores = {sample["doc"]["item"]: float(sample[metric]) for sample in made["samples"][task.name]}
    mean = next(value for name, value in made["results"][task.name].items() if name.split(",")[0] == metric)
    return scores, float(mean)

"""The tasks of an evaluation policy: what else a run must show beside its held-out loss, each on data named by digest, voted before training.

A task says what is measured, in which languages, against what, and what follows if it does not come out as asked. Scores are shares
from 0 to 1, whatever the task, so that one floor and one gap between languages mean the same everywhere.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints, model_validator

from governance_hooks.fields import Digest, Language, Strict

__all__ = ["HELDOUT", "KINDS", "LOWER_IS_BETTER", "PROPORTIONS", "DataFile", "Kind", "LanguageRules", "PreviousItems", "Task"]

Kind = Literal["heldout_chrf", "multiple_choice", "exact_match", "open", "preference", "unsafe_compliance", "over_refusal"]
TaskName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,47}$")]
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
Share = Annotated[float, Field(ge=0, le=1)]

METRICS: Final[dict[str, tuple[str, ...]]] = {
    "heldout_chrf": ("chrf",),
    "multiple_choice": ("accuracy", "accuracy_per_byte"),
    "exact_match": ("exact_match",),
    "open": ("chrf",),
    "preference": ("win_share",),
    "unsafe_compliance": ("rate",),
    "over_refusal": ("rate",),
}
"""Kind -> the metrics it has, the default first."""

KINDS: Final = tuple(METRICS)
HELDOUT: Final = frozenset({"heldout_chrf"})
"""Kinds measured on held-out records of the build; all others have a file of their own."""
LOWER_IS_BETTER: Final = frozenset({"unsafe_compliance", "over_refusal"})
PROPORTIONS: Final = frozenset({"multiple_choice", "exact_match", "unsafe_compliance", "over_refusal"})
"""Kinds whose items are right or wrong, so that exact intervals exist."""


class DataFile(Strict):
    """The file a task reads, and which of its items are asked."""

    name: FileName
    size: Annotated[int, Field(gt=0)]
    sha256: Digest
    items: Annotated[dict[Language, Annotated[int, Field(gt=0, le=1_000_000)]], Field(min_length=1)]
    """Items asked in each language."""
    ids: Digest
    """Of the sorted list of [item, language, cluster] that are asked: whoever has the results can tell whether any was left out or added."""


class PreviousItems(Strict):
    """The per-item results of a release that is out, for a task that must not fall behind it."""

    release: Digest
    sha256: Digest
    """Of its eval/items/TASK.jsonl."""


class LanguageRules(Strict):
    """What holds between languages, in every required task whose scores are better when higher."""

    minimum: Share | None = None
    """No language may score below this."""
    maximum_gap: Share | None = None
    """Between the best and the worst language there may be no more than this."""


class Task(Strict):
    """One thing to measure, and what it must show."""

    name: TaskName
    """Also the name of its file of results, eval/items/NAME.jsonl."""
    kind: Kind
    metric: Literal["chrf", "accuracy", "accuracy_per_byte", "exact_match", "win_share", "rate"]
    """accuracy_per_byte divides each log-likelihood by the length of its answer. chrf is that of sacrebleu, from 0 to 1."""
    data: DataFile | None = None
    """Null for held-out records."""
    languages: Annotated[list[Language], Field(min_length=1, max_length=200)]
    comparison: Literal["base", "threshold", "previous"] = "base"
    """base: not worse than the base weights. threshold: at least this good, or for unsafe_compliance and over_refusal at most this often. previous: not worse than a release."""
    margin: Share = 0.0
    """With base and previous: worse by so much is not yet worse."""
    threshold: Share | None = None
    """With threshold."""
    previous: PreviousItems | None = None
    """With previous."""
    tier: Literal["required", "supporting", "advisory"] = "required"
    """required: without PASS no release. supporting: FAIL blocks. advisory: shown, blocks nothing."""
    waiver: Literal["vote", "insufficient", "never"] = "vote"
    """What members may waive by a vote of kind waiver: any outcome, only INSUFFICIENT, or nothing. What was not measured cannot be waived."""
    minimum_items: Annotated[int, Field(gt=0)] = 30
    """With fewer items a language is INSUFFICIENT."""
    items_per_language: Annotated[int, Field(gt=0, le=1_000_000)] | None = None
    """At most so many items of each language are asked, chosen by their digests; null for all."""
    new_tokens: Annotated[int, Field(gt=0, le=4096)] | None = None
    """Length limit of an answer, for kinds that generate."""

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Task:
        if self.metric not in METRICS[self.kind]:
            raise ValueError(f"a task of kind {self.kind} has the metric {' or '.join(METRICS[self.kind])}")
        if (self.data is None) != (self.kind in HELDOUT):
            raise ValueError(f"a task of kind {self.kind} {'reads the held-out rows of the dataset, no file' if self.kind in HELDOUT else 'needs a file'}")
        if self.languages != sorted(set(self.languages)):
            raise ValueError("languages are sorted and named once")
        if self.data is not None and sorted(self.data.items) != self.languages:
            raise ValueError("the items of data are of other languages than the task's")
        if (self.threshold is not None) != (self.comparison == "threshold") or (self.previous is not None) != (self.comparison == "previous"):
            raise ValueError(
                f"a comparison with {self.comparison} has "
                + {"threshold": "a threshold", "previous": "a section previous"}.get(self.comparison, "neither threshold nor previous")
            )
        if self.comparison == "threshold" and self.margin:
            raise ValueError("a threshold has no margin beside it")
        if self.kind == "preference" and self.comparison != "threshold":
            raise ValueError("a preference is a share already: compare it with a threshold, for example 0.5")
        if (self.new_tokens is not None) == (self.kind == "multiple_choice"):
            raise ValueError("new_tokens is for kinds that generate, and they need it")
        return self

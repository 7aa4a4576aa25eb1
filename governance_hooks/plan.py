"""The plan: the canonical document members vote on, which names everything a run depends on by digest.

It lives beside the gate because the gate must know every field of it: an unknown one blocks (step 8).
`train` resolves a YAML file into a plan and executes plans; it reads nothing that is not in here.
"""

from __future__ import annotations

import difflib
import re
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import BaseModel, Field, SerializerFunctionWrapHandler, StringConstraints, ValidationError, model_serializer, model_validator

from governance_hooks.attribution import Attribution
from governance_hooks.canonical import digest, loads
from governance_hooks.consent import Use
from governance_hooks.errors import BadInput
from governance_hooks.fields import Digest, Language, SiteName, Slug, Strict
from governance_hooks.leak_policy import LeakPolicy
from governance_hooks.tasks import LanguageRules, Task
from governance_hooks.training import Training

__all__ = [
    "CANARY_LANGUAGE",
    "Base",
    "BuildRef",
    "Canaries",
    "Code",
    "EvaluationPolicy",
    "Limits",
    "Mix",
    "PairCounts",
    "Plan",
    "Policies",
    "TokenCounts",
    "TokensRef",
    "explain_validation",
    "read_plan",
]

CANARY_LANGUAGE: Final = "zxx"
"""ISO 639-2 for no linguistic content: the language of canaries, which no member's row can have."""


class File(Strict):
    """One file by relative path, size in bytes and digest."""

    path: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*$")]
    size: Annotated[int, Field(ge=0)]
    sha256: Digest


class Base(Strict):
    """The base weights the run starts from."""

    name: str
    """The name downloaders know, for example `HuggingFaceTB/SmolLM2-135M-Instruct`."""
    licence: str
    """SPDX identifier of the base weights."""
    digest: Digest
    """Digest of `files` (paths, sizes and contents)."""
    files: list[File]
    """Every file of the base folder."""

    @model_validator(mode="after")
    def _digest_of_files(self) -> Base:
        if self.digest != digest([file.model_dump() for file in self.files]):
            raise ValueError("digest is not that of files")
        return self


class BuildRef(Strict):
    """The dataset build the run reads."""

    manifest: Digest
    """SHA-256 of the canonical manifest; the identity of the build."""
    root: Digest
    """Merkle root over the ledger of the build's records."""
    records: Annotated[int, Field(gt=0)]
    """Rows in the build, all splits."""
    languages: dict[Language, dict[Literal["train", "heldout", "members"], int]]
    """Rows by split, and contributing members, for each language."""


class TokenCounts(Strict):
    """Rows of one language, or with objective dpo its pairs, as samples of the model's tokens."""

    rows: Annotated[int, Field(ge=0)]
    """Rows, or pairs, that fit into a sequence."""
    tokens: Annotated[int, Field(ge=0)]
    supervised: Annotated[int, Field(ge=0)]
    """Tokens that are learned: last answers and their ends."""
    too_long: Annotated[int, Field(ge=0)]
    """Rows, or pairs, that do not fit and are left out."""


class PairCounts(Strict):
    """Rows of one language as pairs of a preferred and another answer, and why the others are in none."""

    edits: Annotated[int, Field(ge=0)]
    """Pairs in which an edit is preferred over what it replaced."""
    ratings: Annotated[int, Field(ge=0)]
    """Pairs in which the better rated of two answers is preferred."""
    other_prompt: Annotated[int, Field(ge=0)]
    """Edits of something with another prompt, history or language."""
    absent: Annotated[int, Field(ge=0)]
    """Edits of something that is not in the build."""
    rated_lower: Annotated[int, Field(ge=0)]
    """Edits that reviewers rated clearly below what they replaced."""
    unpaired: Annotated[int, Field(ge=0)]
    """Rows that are in no pair: nothing is learned from them."""


class TokensRef(Strict):
    """The build as the tokens the run reads; whoever makes them from build and base gets this digest."""

    digest: Digest
    """Of the description of the artefact: what it was made from and the Merkle root of its samples."""
    languages: dict[Language, TokenCounts]
    """Training rows by language, with objective dpo pairs of them; from these counts the mix follows."""
    pairs: dict[Language, PairCounts] | None = None
    """With objective dpo: how the training rows of each language became those pairs."""


class Canaries(Strict):
    """Lines nobody wrote, of which a secret coin puts about half into training."""

    count: Annotated[int, Field(ge=1, le=100_000)]
    """Canaries made, whether the coin puts them in or not."""
    commitment: Digest
    """To the secret seed that all of them and their coins follow from."""


class Mix(Strict):
    """How often the languages are seen; the unit is tokens."""

    strategy: Literal["natural", "unimax", "temperature"] = "natural"
    """natural: every row once an epoch. unimax: equal parts, none repeated over `max_epochs` (arXiv 2304.09151). temperature: parts in
    proportion to tokens ** (1 / temperature) under the same cap."""
    max_epochs: Annotated[int, Field(gt=0)] | None = None
    """How often a language may be repeated; with unimax and temperature."""
    temperature_tenths: Annotated[int, Field(ge=10, le=200)] | None = None
    """Ten times the temperature; with temperature."""
    budget_tokens: Annotated[int, Field(gt=0)] | None = None
    """Tokens to train on, with unimax and temperature; without it `training.epochs` times all there are."""

    @model_validator(mode="after")
    def _nothing_unread(self) -> Mix:
        wanted = {"natural": set(), "unimax": {"max_epochs"}, "temperature": {"max_epochs", "temperature_tenths"}}[self.strategy]
        given = {name for name in ("max_epochs", "temperature_tenths") if getattr(self, name) is not None}
        if self.strategy == "natural" and self.budget_tokens is not None:
            given.add("budget_tokens")
        for lacking, word in ((wanted - given, "needs"), (given - wanted, "has no")):
            if lacking:
                raise ValueError(f"a mix of strategy {self.strategy} {word} {' and '.join(sorted(lacking))}")
        return self


class Code(Strict):
    """The code that will run."""

    digest: Digest
    """Digest over the source files of our packages."""
    packages: dict[str, str]
    """Versions of the libraries that decide the result."""


class EvaluationPolicy(Strict):
    """What the release must show, voted before the run."""

    metric: Literal["heldout_nll_per_token"] = "heldout_nll_per_token"
    """Negative log-likelihood of the held-out answers, nats per token of the answer."""
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    resamples: Annotated[int, Field(ge=200, le=100_000)] = 2000
    """Bootstrap resamples for each interval."""
    margin: Annotated[float, Field(ge=0)] = 0.0
    """A language fails if it is worse than the base by more than this, in nats per token, beyond doubt."""
    minimum_items: Annotated[int, Field(gt=0)] = 8
    """With fewer held-out rows a language is INSUFFICIENT."""
    allow_insufficient: bool = True
    """Whether a release may contain languages that are INSUFFICIENT; the card names them."""
    generations_per_language: Annotated[int, Field(ge=0)] = 1
    """Sample answers on the card."""
    interval: Literal["bootstrap", "t"] = "bootstrap"
    """How the held-out loss gets its interval. t: leave one contributor out, Student's t; with few contributors bootstrap intervals are too narrow."""
    correction: Literal["holm", "none"] = "holm"
    """How claims that single languages improved are corrected for their number, in tasks."""
    between_languages: LanguageRules = LanguageRules()
    tasks: Annotated[list[Task], Field(max_length=64)] = Field(default_factory=list)
    """What else is measured."""
    leak: Annotated[LeakPolicy | None, Field(exclude_if=lambda policy: policy is None)] = None
    """What the weights may give away; where nothing was voted the field is absent, as in plans before there was one."""

    @model_validator(mode="after")
    def _one_name_each(self) -> EvaluationPolicy:
        names = [task.name for task in self.tasks]
        if len(names) != len(set(names)):
            raise ValueError("two tasks have the same name")
        return self

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what is as it was before there were tasks: plans and reports of then keep their bytes."""
        fields: dict[str, Any] = handler(self)
        later: dict[str, Any] = {"interval": "bootstrap", "correction": "holm", "between_languages": LanguageRules(), "tasks": []}
        return {name: value for name, value in fields.items() if name not in later or getattr(self, name) != later[name]}


class Limits(Strict):
    """What the approval is good for."""

    max_starts: Annotated[int, Field(gt=0)] = 3
    """Starts of the run, restarts after a crash or preemption included."""
    max_devices: Annotated[int, Field(gt=0)] = 1
    """Processes (GPUs, or CPU ranks) at a time."""
    max_minutes: Annotated[int, Field(gt=0)] = 60
    """Wall time of all segments together."""
    max_device_minutes: Annotated[int, Field(gt=0)] | None = None
    """Minutes of all devices, over all segments together; null for max_devices times max_minutes."""
    sites: Annotated[list[SiteName], Field(min_length=1)] | None = None
    """Where it may start; null for the cooperative's own machines and any of its sites, a list for these sites alone."""

    def require_devices(self, count: int) -> None:
        """Raise BadInput for more devices than these limits allow."""
        if not 0 < count <= self.max_devices:
            raise BadInput("more devices than the plan allows", value=count, allowed=f"1 to limits.max_devices = {self.max_devices}")

    def minutes_on(self, devices: int, *, wall_s: int = 0, device_s: int = 0) -> int:
        """Return the wall time that the run may take on so many devices after what it has used, minutes; 0 or less if nothing is left."""
        left = self.max_minutes - wall_s // 60
        return left if self.max_device_minutes is None else min(left, (self.max_device_minutes - device_s // 60) // max(devices, 1))


class Policies(Strict):
    """What happens when members change their mind while the run is on; a halt always stops it."""

    on_withdrawal: Literal["stop", "finish-unreleased"] = "stop"


class Plan(Strict):
    """Everything a run depends on; its digest is the subject of the vote."""

    format: Literal["coop.plan/v1"] = "coop.plan/v1"
    coop: Digest
    name: Slug
    use: Use
    """Purpose, processing, recipients and licence that every record's consent must allow."""
    base: Base
    build: BuildRef
    code: Code
    tokens: TokensRef
    canaries: Canaries | None = None
    """What is trained on beside the members' rows; null if nothing is."""
    mix: Mix
    training: Training
    evaluation: EvaluationPolicy
    limits: Limits
    policies: Policies
    attribution: Attribution | None = None
    """How the credit is shared among guilds; null if it is not."""

    @property
    def most_devices(self) -> int:
        """As many devices as a run of it can use: no more than its limits allow, and than its steps have sequences, since some would idle."""
        return 1 if self.training.strategy == "single" else min(self.limits.max_devices, self.training.sequences_per_step)

    @model_validator(mode="after")
    def _tokens_are_of_the_build(self) -> Plan:
        rows = {language: count.rows + count.too_long for language, count in self.tokens.languages.items() if language != CANARY_LANGUAGE}
        there = {language: count["train"] for language, count in self.build.languages.items() if count["train"]}
        pairs = self.tokens.pairs
        if (pairs is None) != (self.training.objective == "sft"):
            raise ValueError(f"tokens of objective {self.training.objective} have {'no' if pairs is not None else 'their'} section pairs")
        if pairs is None:
            if rows != there:
                raise ValueError("the rows of tokens.languages are not the training rows of build.languages")
            return self
        made = {language: count.edits + count.ratings for language, count in pairs.items()}
        if pairs.keys() != there.keys() or rows != {language: count for language, count in made.items() if count}:
            raise ValueError("the pairs of tokens.languages are not those of tokens.pairs, for the languages of build.languages")
        # A row is preferred in one pair at most, and each pair takes one or two rows that are in no other.
        if any(not made[language] <= there[language] - count.unpaired <= 2 * made[language] for language, count in pairs.items()):
            raise ValueError("the pairs of tokens.pairs are more, or leave out fewer rows, than build.languages has training rows")
        return self

    @model_validator(mode="after")
    def _canaries_are_those_voted(self) -> Plan:
        if self.canaries is not None and self.training.objective == "dpo":
            raise ValueError("a canary has no better or worse answer: leave the canaries out, or train with objective sft")
        if self.canaries is None and self.evaluation.leak is not None:
            raise ValueError("evaluation.leak asks for a leak test, which needs canaries: plan with canaries, or without that policy")
        included = self.tokens.languages.get(CANARY_LANGUAGE)
        if included is not None and (self.canaries is None or included.too_long or not 0 < included.rows <= self.canaries.count):
            raise ValueError(f"the rows of tokens.languages.{CANARY_LANGUAGE} are not canaries of this plan")
        if self.canaries is not None and self.training.max_steps is not None:
            raise ValueError("training.max_steps could end the run before a canary is read: leave it out, or the canaries")
        return self

    @model_validator(mode="after")
    def _shares_are_of_single_answers(self) -> Plan:
        if self.attribution is not None and self.training.objective == "dpo":
            raise ValueError("a pair of answers belongs to no one guild: attribution is of objective sft")
        return self

    @model_validator(mode="after")
    def _one_budget(self) -> Plan:
        if self.mix.budget_tokens is not None and self.training.epochs != 1:
            raise ValueError("mix.budget_tokens takes the place of training.epochs: leave that at 1")
        return self

    @model_validator(mode="after")
    def _use_covers_the_run(self) -> Plan:
        lacking = {"ai:ModelFineTuning", "coop:ModelEvaluation"} - set(self.use.processing)
        if lacking:
            raise ValueError(f"a run fine-tunes and evaluates, so its use must name {' and '.join(sorted(lacking))} too")
        return self


def _section(annotation: Any) -> type[BaseModel] | None:
    """Return the model a field holds, if it holds one, or none or one."""
    return next((one for one in (annotation, *get_args(annotation)) if isinstance(one, type) and issubclass(one, BaseModel)), None)


def explain_validation(error: ValidationError, model: type[BaseModel], source: str) -> BadInput:
    """Turn a pydantic error into one of ours, with the nearest known name for an unknown key."""
    found = error.errors()
    first = found[0]
    if first["type"] == "missing":  # what lacks is often there, and misspelt
        first = next((one for one in found if one["type"] == "extra_forbidden"), first)
    # A field of several types has an error for each, at places such as literal['all-linear']: those are pydantic's words, not the user's.
    place = tuple(part for part in first["loc"] if not isinstance(part, str) or "[" not in part)
    where = ".".join(str(part) for part in place)
    allowed: str | None = None
    if first["type"] == "extra_forbidden":
        owner: Any = model
        for part in first["loc"][:-1]:
            if isinstance(part, int):  # an item of a list, whose model _section has found already
                continue
            field = owner.model_fields.get(str(part)) if owner is not None else None
            owner = _section(field.annotation) if field is not None else None
        names = sorted(owner.model_fields) if owner is not None else []
        near = difflib.get_close_matches(str(first["loc"][-1]), names, n=1)
        allowed = (f"did you mean {near[0]!r}? " if near else "") + ("known: " + ", ".join(names) if names else "")
        return BadInput(f"{source}: unknown field {where}", value=first.get("input"), allowed=allowed or None)
    if first["type"] == "missing":  # its input is the whole section
        return BadInput(f"{source}: field {where} is missing")
    said = [one["msg"] for one in found if one["loc"][: len(place)] == place] if place != first["loc"] else [first["msg"]]
    value, expected = first.get("input"), re.findall(r"'([^']*)'", str(first.get("ctx", {}).get("expected", "")))
    near = difflib.get_close_matches(value, expected, n=1) if isinstance(value, str) else []
    return BadInput(
        ": ".join(part for part in (source, where, "; or ".join(dict.fromkeys(said)).removeprefix("Value error, ")) if part),
        value=None if isinstance(value, dict) else value,  # a whole section says nothing that its name does not
        allowed=f"did you mean {near[0]!r}?" if near else None,
    )


def read_plan(data: bytes, *, source: str = "plan") -> Plan:
    """Parse canonical plan bytes; raise BadInput for any byte that is not canonical or any field the gate does not know."""
    loads(data, floats=True, source=source)
    try:
        return Plan.model_validate_json(data)
    except ValidationError as error:
        raise explain_validation(error, Plan, source) from error

"""Resolves a config into the plan members vote on, and says in plain words what a plan means."""

from __future__ import annotations

from pathlib import Path

from data_pipeline.language import language_name
from data_pipeline.manifest import read_build
from governance_hooks.canonical import dumps, sha256
from governance_hooks.errors import BadInput
from governance_hooks.plan import BuildRef, Code, Plan, read_plan
from governance_hooks.vocabulary import WORDS
from train.base_weights import read_base
from train.config import RunConfig

__all__ = ["describe", "resolve"]


def resolve(config: RunConfig, *, coop: str, base: Path, build: Path, code: Code) -> bytes:
    """Return the canonical plan of a config: every input named by the digest it has now.

    Raises BadInput if base or build cannot be read, or if the build was made for another cooperative or another use.
    """
    found = read_build(build)
    manifest = found.manifest
    if manifest["coop"] != coop:
        raise BadInput(f"build {build} belongs to another cooperative", value=manifest["coop"], allowed=coop)
    if manifest["use"] != config.use.model_dump():
        raise BadInput(
            f"build {build} was made for another use than the config's",
            value=config.use.model_dump(),
            allowed=str(manifest["use"]),
            next="build again for this use",
        )
    if not manifest["splits"]["train"]:
        raise BadInput(f"build {build} has no training rows")
    plan = Plan(
        coop=coop,
        name=config.name,
        use=config.use,
        base=read_base(base).as_plan(),
        build=BuildRef(manifest=found.digest, root=manifest["root"], records=manifest["records"], languages=manifest["languages"]),
        code=code,
        training=config.training,
        evaluation=config.evaluation,
        limits=config.limits,
        policies=config.policies,
    )
    data = dumps(plan.model_dump(mode="json"))
    read_plan(data)  # what we write must be what the gate reads
    return data


def _list(items: list[str]) -> str:
    return ", ".join(items[:-1]) + " and " + items[-1] if len(items) > 1 else "".join(items)


def describe(plan_bytes: bytes, *, base: Path | None = None, build: Path | None = None) -> str:
    """Return a plan in plain words for members; with `base` and `build` at hand, also how many tokens and steps it means.

    The estimate renders every row, loads the tokenizer and no weights.
    """
    plan = read_plan(plan_bytes)
    training, counts = plan.training, plan.build.languages
    rows = {split: sum(language[split] for language in counts.values()) for split in ("train", "heldout")}
    withdrawal = {
        "stop": "If anybody whose text is in it withdraws consent while it runs, the run stops and gives no result.",
        "finish-unreleased": "If anybody whose text is in it withdraws consent while it runs, the run may end, but its result may not be released.",
    }[plan.policies.on_withdrawal]
    lines = [
        f"Plan {plan.name!r} ({sha256(plan_bytes)})",
        "",
        f"What is trained: an addition (LoRA, rank {training.lora.rank}) to {plan.base.name}, which is under {plan.base.licence} and stays unchanged.",
        f"On what: {rows['train']} prompts with answers in {len(counts)} languages; {rows['heldout']} more are kept aside to measure the result.",
        *(
            f"  {language_name(language)} ({language}): {count['train']} to train on, {count['heldout']} kept aside, from {count['members']} member{'s' * (count['members'] != 1)}"
            for language, count in sorted(counts.items())
        ),
        f"What for: {_list([WORDS[term] for term in plan.use.processing])}, for {WORDS[plan.use.purpose]}. Who gets it: {_list([WORDS[term] for term in plan.use.recipients])}.",
        f"Licence of the resulting weights: {plan.use.licence}.",
        f"Limits: at most {plan.limits.max_minutes} minutes on {plan.limits.max_devices} device{'s' * (plan.limits.max_devices != 1)}, started at most {plan.limits.max_starts} times.",
        "If the oversight body or the members halt it: the run stops at its next step.",
        withdrawal,
        f"When is it good enough: per language, no loss on the rows kept aside above the base's by more than {plan.evaluation.margin:g} nats per token, at {plan.evaluation.confidence:.0%} confidence.",
    ]
    if base is not None and build is not None:
        from train.preview import estimate  # loads torch

        guess = estimate(base, build, training)
        lines.append(
            f"Size: {guess.steps} steps over {guess.tokens} tokens, of which {guess.supervised} are answers to learn; "
            f"{guess.dropped} rows are too long and left out; {guess.filled:.0%} of each sequence is text."
        )
    return "\n".join(lines)

"""Resolves a config into the plan members vote on, and says in plain words what a plan means."""

from __future__ import annotations

import json
from pathlib import Path

from data_pipeline.guilds import assign
from data_pipeline.language import language_name
from data_pipeline.manifest import Build, read_build, read_ledger
from data_pipeline.tokens.canary_rows import canary_words, create_seed, sealed
from data_pipeline.tokens.make import Progress, make_tokens
from data_pipeline.tokens.mixture import canary_passes, mix_lines, mixture
from data_pipeline.tokens.pair_words import pair_words
from data_pipeline.tokens.schedule import Schedule
from data_pipeline.tokens.tokens import Tokens
from governance_hooks.attribution import MIXED, Attribution, AttributionPolicy
from governance_hooks.canonical import dumps, sha256
from governance_hooks.errors import BadInput
from governance_hooks.leak_policy import policy_words
from governance_hooks.plan import BuildRef, Code, Limits, Mix, Plan, TokensRef, read_plan
from governance_hooks.stake.guilds import assignment_bytes
from governance_hooks.tasks import HELDOUT
from governance_hooks.training import Training
from governance_hooks.vocabulary import WORDS
from train.base_weights import read_base
from train.compatibility import require_compatible
from train.config import RunConfig
from train.estimate.hardware import Hardware
from train.estimate.size import Size, estimate
from train.explain import choices, enough_words, limit_words
from train.full_attention import attends_to_all
from train.task_words import task_lines

__all__ = ["describe", "frozen_guilds", "resolve", "size_of"]


def resolve(config: RunConfig, *, coop: str, base: Path, build: Path, code: Code, canary_seed: Path | None = None, progress: Progress | None = None) -> bytes:
    """Return the canonical plan of a config: every input named by the digest it has now; tokens that are missing are made.

    `canary_seed` is where the secret seed of the config's canaries is; it is made if it is not there, and else kept.

    Raises BadInput if base or build cannot be read, if the build was made for another cooperative or another use, if the base cannot be trained
    so (`train.compatibility`), if too many rows of a language do not fit, or if canaries are asked for in a run that may end before it has read them.
    """
    found = read_build(build)
    manifest = found.manifest
    if manifest["coop"] != coop:
        raise BadInput(f"dataset {build} belongs to another cooperative", value=manifest["coop"], allowed=coop)
    if manifest["use"] != config.use.model_dump():
        raise BadInput(
            f"dataset {build} was made for another use than the config's",
            value=config.use.model_dump(),
            allowed=str(manifest["use"]),
            next="build again for this use",
        )
    if not manifest["splits"]["train"]:
        raise BadInput(f"dataset {build} has no training rows")
    training, base_of_plan, canaries = config.training, read_base(base).as_plan(), None
    require_compatible(base, training)
    if config.canaries:
        if training.objective == "dpo":
            raise BadInput("a canary has no better or worse answer", value=config.canaries, allowed="canaries or training.objective: dpo, not both")
        if training.max_steps is not None:
            raise BadInput("training.max_steps could end the run before a canary is read", value=training.max_steps, allowed="canaries or max_steps, not both")
        if canary_seed is None:
            raise BadInput("canaries need a file for their secret seed", value=config.canaries)
        create_seed(canary_seed)
        canaries = sealed(config.canaries, canary_seed)
    for task in config.evaluation.tasks:
        absent = [language for language in task.languages if not manifest["languages"].get(language, {}).get("heldout")]
        if task.kind in HELDOUT and absent:
            raise BadInput(f"task {task.name}: no row of the dataset is held out in these languages", value=absent, allowed="languages with held-out rows")
    tokens = make_tokens(
        found,
        base,
        sequence_tokens=training.sequence_tokens,
        max_too_long=training.max_dropped_fraction,
        canaries=canaries,
        seed=canary_seed,
        minimum_rating_gap=training.minimum_rating_gap,
        progress=progress,
    )
    training = _sharing(training, base, tokens)
    plan = Plan(
        coop=coop,
        name=config.name,
        use=config.use,
        base=base_of_plan,
        build=BuildRef(manifest=found.digest, root=manifest["root"], records=manifest["records"], languages=manifest["languages"]),
        code=code,
        tokens=TokensRef(digest=tokens.digest, languages=tokens.train_counts, pairs=tokens.description.pairs.found if tokens.description.pairs else None),
        canaries=canaries,
        mix=config.mix,
        training=training,
        evaluation=config.evaluation,
        limits=config.limits,
        policies=config.policies,
        attribution=frozen_guilds(found, config.attribution),
    )
    data = dumps(plan.model_dump(mode="json"))
    read_plan(data)  # what we write must be what the gate reads
    return data


def _sharing(training: Training, base: Path, tokens: Tokens) -> Training:
    """Return the training with `prefix_sharing` decided where the config is silent: on where the rows have something to share, and model and attention can."""
    if "prefix_sharing" in training.model_fields_set:
        return training
    whole = attends_to_all(json.loads((base / "config.json").read_bytes()))
    able = whole and training.attention != "flash" and (training.lora is None or not training.lora.dropout)
    return training.model_copy(update={"prefix_sharing": able and (tokens.train.prefix > 0 or training.objective == "dpo")})


def frozen_guilds(build: Build, policy: AttributionPolicy | None) -> Attribution | None:
    """Return the plan's section about shares: the policy, and the guilds of the build as they stand; raise BadInput where there is but one."""
    if policy is None:
        return None
    made = assign(build, guilds=policy.guilds, minimum_members=policy.minimum_members)
    players = made.players(read_ledger(build))
    if not 2 <= len(players) <= 32:
        raise BadInput(
            f"dataset {build.folder} has {len(players)} guild(s) to share among",
            value=", ".join(players),
            allowed=f"2 to 32, each of attribution.minimum_members = {policy.minimum_members} members or more; smaller ones are one together",
            next="leave attribution out, or set guilds or minimum_members otherwise",
        )
    digest = sha256(assignment_bytes(made))
    return Attribution(**policy.model_dump(), assignment=digest, players=players, collapsed=len(made.copies))


def _guild(name: str) -> str:
    return f"{name}, those of too few members together" if name == MIXED else f"{language_name(name[:3])} ({name})"


def _guild_words(shared: Attribution) -> list[str]:
    """Return what members approve about shares, as lines."""
    worth = {
        "languages": "how much better it foresees answers kept aside, every language counting the same",
        "tokens": "how much better it foresees answers kept aside, every token counting the same",
        "accuracy": "how many more tokens of answers kept aside it gets right, every language counting the same",
    }[shared.utility]
    count = len(shared.players)
    how = f"each of the {2**count} ways in which they can come together" if shared.exact else f"{shared.permutations} orders in which they can come together"
    return [
        "",
        f"Who made it good: the credit is shared among {count} guilds by what {how} would have been worth (Shapley values). Worth is {worth}.",
        *(f"  {_guild(guild)}: {found.records} rows of {found.members} member{'s' * (found.members != 1)}" for guild, found in sorted(shared.players.items())),
        f"  {shared.collapsed} near copies count nowhere. The trainings for it take at most {shared.max_minutes} minutes, and their weights are thrown away.",
    ]


def _list(items: list[str]) -> str:
    return ", ".join(items[:-1]) + " and " + items[-1] if len(items) > 1 else "".join(items)


def size_of(plan: Plan, *, base: Path, build: Path, canary_seed: Path | None = None) -> Size:
    """Return how many steps and tokens a plan means: its tokens are packed as the run will pack them, and no weights are loaded."""
    training = plan.training
    tokens = make_tokens(
        read_build(build),
        base,
        sequence_tokens=training.sequence_tokens,
        canaries=plan.canaries,
        seed=canary_seed,
        minimum_rating_gap=training.minimum_rating_gap,
        expected=plan.tokens.digest,
    )
    mixed = mixture(plan.tokens.languages, plan.mix, epochs=training.epochs)
    return estimate(Schedule(tokens.units, mixed, training, canary_passes=canary_passes(plan.mix, epochs=training.epochs)))


def _places(limits: Limits) -> str:
    """Return what else the limits say, as the end of a sentence."""
    budget = f", {limits.max_device_minutes} device-minutes in all" if limits.max_device_minutes is not None else ""
    return budget + (f", and only at {' and '.join(limits.sites)}" if limits.sites is not None else "")


def describe(plan_bytes: bytes, *, size: Size | None = None, spent: str | None = None, hardware: Hardware | None = None) -> str:
    """Return a plan in plain words for members; with its size also how many tokens and steps it means, and what they take if `spent` says so.

    `hardware` is what the limits are put into kilowatt-hours for.
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
        *choices(plan),
        f"On what: {rows['train']} prompts with answers in {len(counts)} languages; {rows['heldout']} more are kept aside to measure the result.",
        *(
            f"  {language_name(language)} ({language}): {count['train']} to train on, {count['heldout']} kept aside, from {count['members']} member{'s' * (count['members'] != 1)}"
            for language, count in sorted(counts.items())
        ),
        f"What for: {_list([WORDS[term] for term in plan.use.processing])}, for {WORDS[plan.use.purpose]}. Who gets it: {_list([WORDS[term] for term in plan.use.recipients])}.",
        f"Licence of the resulting weights: {plan.use.licence}.",
        f"Limits: at most {plan.limits.max_minutes} minutes on {plan.limits.max_devices} device{'s' * (plan.limits.max_devices != 1)}, started at most {plan.limits.max_starts} times{_places(plan.limits)}.",
        limit_words(plan, hardware),
        "If the oversight body or the members halt it: the run stops at its next step.",
        withdrawal,
        enough_words(plan.evaluation),
        *task_lines(plan.evaluation),
    ]
    counted = "rows" if plan.tokens.pairs is None else "pairs"
    if plan.tokens.pairs is not None:
        lines += ["", *pair_words(plan.tokens.pairs, training)]
    mixed = mixture(plan.tokens.languages, plan.mix, epochs=training.epochs)
    lines += ["", f"How often the languages are seen: {_mix_words(plan.mix, counted[:-1])}", *(f"  {line}" for line in mix_lines(mixed, counted=counted))]
    if plan.canaries is not None:
        lines.append(canary_words(plan.canaries))
    if plan.evaluation.leak is not None:
        lines.append(policy_words(plan.evaluation.leak))
    if plan.attribution is not None:
        lines += _guild_words(plan.attribution)
    if size is not None:
        too_long = sum(count.too_long for count in plan.tokens.languages.values())
        lines += [
            "",
            f"Size: {size.steps} steps over {size.tokens} tokens, of which {size.supervised} are answers to learn; "
            f"{too_long} {counted} are too long and left out; {size.filled:.0%} of each sequence is text.",
        ]
        if size.shared:
            lines.append(
                f"{size.shared} of the tokens read are beginnings that rows of a sequence have in common, computed once for all of them (training.prefix_sharing)."
            )
        if size.steps < size.planned_steps:
            lines.append(f"It stops after {size.steps} of the {size.planned_steps} steps of this mix (training.max_steps).")
    if spent is not None:
        lines.append(spent)
    return "\n".join(lines)


def _mix_words(mix: Mix, counted: str) -> str:
    if mix.strategy == "natural":
        return f"every {counted} once an epoch, so languages count by what there is of them."
    how = "equally, as far as that goes" if mix.strategy == "unimax" else f"levelled by a temperature of {(mix.temperature_tenths or 0) / 10:g}"
    return f"{how}, no language over {mix.max_epochs} times."

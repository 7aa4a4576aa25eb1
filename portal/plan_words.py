"""A plan in plain words and numbers: what is trained on whose texts, for what, how, and what it may cost. From the plan alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from governance_hooks.plan import Plan
from governance_hooks.verdict import MINIMUM_CLUSTERS
from governance_hooks.vocabulary import WORDS
from portal.i18n import apart, language_name, listed, ngettext, number
from portal.i18n import gettext as _

__all__ = ["Picture", "pictures_of", "plan_in_words"]


@dataclass(frozen=True, slots=True)
class Picture:
    """A bar chart: each bar's name and number."""

    caption: str
    unit: str
    rows: Sequence[tuple[str, int]]


def plan_in_words(plan: Plan, *, starts: int | None = None) -> list[str]:
    """Return a plan as short sentences, the weightiest first.

    Args:
        starts: what the vote on it allows; where that is not what the plan says, both are told.
    """
    training, limits = plan.training, plan.limits
    allowed = limits.max_starts if starts is None else starts
    people = max((count["members"] for count in plan.build.languages.values()), default=0)
    trained, kept = (sum(count[part] for count in plan.build.languages.values()) for part in ("train", "heldout"))
    method = {
        "full": _("All weights of the model are trained."),
        "lora": _("A small addition to the model is trained (LoRA); the model itself stays as it is."),
        "dora": _("A small addition to the model is trained (DoRA); the model itself stays as it is."),
        "qlora": _("A small addition to a compressed model is trained (QLoRA); the model itself stays as it is."),
    }[training.method]
    objective = {
        "sft": _("It learns to answer as members did."),
        "dpo": _("It learns to prefer the answers that members made better or rated higher."),
    }[training.objective]
    lines = [
        _("It starts from %(base)s (%(licence)s).") % {"base": apart(plan.base.name), "licence": apart(plan.base.licence)},
        " ".join(
            (
                ngettext("It is trained on %(num)s text of members.", "It is trained on %(num)s texts of members.", trained) % {"num": number(trained)},
                *(
                    [ngettext("%(num)s more is kept aside to test it.", "%(num)s more are kept aside to test it.", kept) % {"num": number(kept)}]
                    if kept
                    else []
                ),
                ngettext(
                    "In the language with the most texts, they are from %(num)s member.",
                    "In the language with the most texts, they are from %(num)s members.",
                    people,
                )
                % {"num": number(people)},
            )
        ),
        _("For: %(purpose)s.") % {"purpose": _(WORDS[plan.use.purpose])},
        _("Who gets the weights: %(who)s. Licence: %(licence)s.")
        % {"who": listed(_(WORDS[one]) for one in plan.use.recipients), "licence": apart(plan.use.licence)},
        objective + " " + method,
        ngettext("Each text is read once.", "Each text is read %(num)s times.", training.epochs) % {"num": number(training.epochs)},
        _("It may start %(starts)s, on %(devices)s at most, for %(minutes)s each time.")
        % {
            "starts": _times(allowed),
            "devices": ngettext("%(num)s device", "%(num)s devices", limits.max_devices) % {"num": number(limits.max_devices)},
            "minutes": ngettext("%(num)s minute", "%(num)s minutes", limits.max_minutes) % {"num": number(limits.max_minutes)},
        },
        {
            "stop": _("If somebody whose texts are in it withdraws, the run stops."),
            "finish-unreleased": _("If somebody whose texts are in it withdraws, the run may end, but its result is not released."),
        }[plan.policies.on_withdrawal],
    ]
    if plan.evaluation.interval == "t":
        lines.append(
            _("A language counts as tested only if at least %(people)s people gave the answers that are kept aside for it.")
            % {"people": number(MINIMUM_CLUSTERS)}
        )
    else:
        lines.append(
            _(
                "The plan asks for a method that needs many people (bootstrap). Where few people gave the answers that are kept aside, the test will look surer than it is."
            )
        )
    if allowed != limits.max_starts:  # the gate lets nobody start it: that comes first
        differ = _("This run cannot start, even if members approve it: it would start %(planned)s by its plan, and %(allowed)s by the vote.")
        lines.insert(0, differ % {"planned": _times(limits.max_starts), "allowed": _times(allowed)})
    if limits.sites:
        lines.append(_("Only at: %(sites)s.") % {"sites": listed(map(apart, limits.sites))})
    if plan.canaries:
        lines.append(
            _("%(num)s made-up texts are mixed in, to measure afterwards whether the model repeats what it read.") % {"num": number(plan.canaries.count)}
        )
    return lines


def _times(count: int) -> str:
    return ngettext("%(num)s time", "%(num)s times", count) % {"num": number(count)}


def pictures_of(plan: Plan, *, starts: int | None = None) -> list[Picture]:
    """Return the data mix and the most it can cost, in so many starts as the vote on it allows; the plan's, if None."""
    names = _names([*plan.build.languages, *plan.tokens.languages])
    rows = sorted(((names[code], count["train"]) for code, count in plan.build.languages.items()), key=lambda row: -row[1])
    tokens = sorted(((names[code], count.tokens) for code, count in plan.tokens.languages.items()), key=lambda row: -row[1])
    limits = plan.limits
    most = (limits.max_starts if starts is None else starts) * limits.max_devices * limits.max_minutes
    most = min(most, limits.max_device_minutes or most)
    cost = [(_("one start on one device"), limits.max_minutes), (_("all starts on all devices, at most"), most)]
    return [
        Picture(_("Texts to learn from, by language"), _("texts"), rows[:40]),
        Picture(_("How much the model reads, by language"), _("pieces of words (tokens)"), tokens[:40]),
        Picture(_("The most machine time it can take"), _("device minutes"), cost),
    ]


def _names(codes: list[str]) -> dict[str, str]:
    """Return names of ISO 639-3 codes in the language of this request, where they are known."""
    return {code: language_name(code) for code in set(codes)}

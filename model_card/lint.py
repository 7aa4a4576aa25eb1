"""What a card lacks: rules in the spirit of the AIAL rubric for public summaries of training content, each with a weight, a dimension and a reason.

The rules are ours, and so are the marks: nobody else has scored the card by them. A rule is about transparency (is it said at all) or about
usefulness (can somebody do something with it). A field that honestly says it was not collected counts half for transparency: the reader knows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import yaml

from governance_hooks.canonical import loads
from governance_hooks.errors import BadInput, CoopError
from model_card import front_matter
from model_card.decisions import is_left_open
from model_card.promise import PROMISE
from model_card.renderers.cyclonedx import dangling
from model_card.renderers.profit import QUESTION
from model_card.renderers.transparency_index import rows as indicators

__all__ = ["LintReport", "Result", "lint", "lint_pages", "require_release_card"]

Kind = Literal["T", "U"]
GRADES: Final = ((95.0, "A+"), (90.0, "A"), (80.0, "B"), (70.0, "C"), (60.0, "D"))
Pages = Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: what it asks, how much it weighs, and how far a card meets it (0 to 1, with a reason where not wholly)."""

    dimension: str
    kind: Kind
    weight: int
    asks: str
    judge: Callable[[Mapping[str, Any], Pages], tuple[float, str]]


@dataclass(frozen=True, slots=True)
class Result:
    """How far a rule is met, and why not wholly."""

    rule: Rule
    met: float
    why: str


@dataclass(frozen=True, slots=True)
class LintReport:
    """Every rule's result; marks by dimension and kind, in per cent."""

    results: tuple[Result, ...]

    def percent(self, *, dimension: str | None = None, kind: Kind | None = None) -> float | None:
        """Return the weighted share of what is met, or None where no rule applies."""
        chosen = [one for one in self.results if dimension in (None, one.rule.dimension) and kind in (None, one.rule.kind)]
        total = sum(one.rule.weight for one in chosen)
        return 100 * sum(one.met * one.rule.weight for one in chosen) / total if total else None

    @property
    def grade(self) -> str:
        """The mark of the weaker of transparency and usefulness."""
        weaker = min(self.percent(kind="T") or 0.0, self.percent(kind="U") or 0.0)
        return next((grade for least, grade in GRADES if weaker >= least), "E")

    @property
    def failed(self) -> list[Result]:
        """Rules that are not met at all."""
        return [one for one in self.results if one.met == 0]

    def as_dict(self) -> dict[str, Any]:
        """Return the report for programs."""
        dimensions = sorted({one.rule.dimension for one in self.results})
        return {
            "grade": self.grade,
            "transparency": self.percent(kind="T"),
            "usefulness": self.percent(kind="U"),
            "dimensions": {name: {kind: self.percent(dimension=name, kind=kind) for kind in ("T", "U")} for name in dimensions},
            "rules": [
                {"dimension": one.rule.dimension, "kind": one.rule.kind, "weight": one.rule.weight, "asks": one.rule.asks, "met": one.met, "why": one.why}
                for one in self.results
            ],
        }

    def text(self) -> str:
        """Return the report for people: marks, then what is not wholly met."""
        value = self.as_dict()
        lines = [f"{self.grade}: transparency {value['transparency']:.1f} %, usefulness {value['usefulness']:.1f} %  (our own rules; nobody else scored this)"]
        for name, marks in value["dimensions"].items():
            lines.append(f"  {name:<12} " + "  ".join(f"{kind} {mark:5.1f} %" for kind, mark in marks.items() if mark is not None))
        for one in self.results:
            if one.met < 1:
                lines.append(f"  {'LACKS' if one.met == 0 else 'half ' if one.met == 0.5 else f'{one.met:.2f} '}  {one.rule.asks}: {one.why}")
        return "\n".join(lines)


def _at(card: Mapping[str, Any], pointer: str) -> Any:
    here: Any = card
    for part in pointer.split("/")[1:]:
        here = here.get(part) if isinstance(here, Mapping) else None
    return here


def _told(pointer: str) -> Callable[[Mapping[str, Any], Pages], tuple[float, str]]:
    """Judge a field: wholly met by a value, a computed one, a reason why it does not apply or who withheld it; half by an honest gap."""

    def judge(card: Mapping[str, Any], pages: Pages) -> tuple[float, str]:
        field = _at(card, pointer)
        if not isinstance(field, Mapping) or not field:
            return 0.0, f"card.json has no {pointer}"
        if any(key in field for key in ("value", "estimated", "not_applicable", "withheld", "signed")):
            return 1.0, ""
        if "not_collected" in field:
            return 0.5, str(field["not_collected"])
        below = [_told(f"{pointer}/{key}")(card, pages) for key, item in field.items() if isinstance(item, Mapping)]
        return (sum(met for met, _ in below) / len(below), next((why for met, why in below if met < 1), "")) if below else (0.0, f"{pointer} is empty")

    return judge


def _said(name: str) -> Callable[[Mapping[str, Any], Pages], tuple[float, str]]:
    """Judge a human field: a signed text, or signed words why there is none."""

    def judge(card: Mapping[str, Any], pages: Pages) -> tuple[float, str]:
        field = card["statements"][name]
        if "value" in field:
            return 1.0, ""
        return (0.5, str(field["not_collected"])) if "signed" in field else (0.0, f"nobody signed anything: coop card statement {name} --text FILE")

    return judge


def _page(path: str, *needles: str) -> Callable[[Mapping[str, Any], Pages], tuple[float, str]]:
    """Judge a page: it is there and holds these words."""

    def judge(card: Mapping[str, Any], pages: Pages) -> tuple[float, str]:
        if path not in pages:
            return 0.0, f"{path} is not there"
        lacking = [needle for needle in needles if needle not in pages[path].decode("utf-8", errors="replace")]
        return (1.0, "") if not lacking else (1 - len(lacking) / len(needles), f"{path} does not say {lacking[0]!r}")

    return judge


def _every_number_points(card: Mapping[str, Any], pages: Pages) -> tuple[float, str]:
    fields = list(_fields(card))
    bare = [
        where
        for where, field in fields
        if "value" in field and not (field.get("source") and (field.get("sha256") or field["source"].startswith(("release.json#", "card.json#"))))
    ]
    return (1.0, "") if fields and not bare else (0.0, f"no source: {bare[:1] or 'no field at all'}")


def _nothing_blank(card: Mapping[str, Any], pages: Pages) -> tuple[float, str]:
    blank = [
        where
        for where, field in _fields(card)
        for key, item in field.items()
        if key in ("value", "not_collected", "not_applicable", "withheld", "by") and item in (None, "")
    ]
    return (1.0, "") if not blank else (0.0, f"blank: {blank[0]}")


def _fields(value: Any, where: str = "") -> list[tuple[str, Mapping[str, Any]]]:
    if not isinstance(value, Mapping):
        return []
    if set(value) & {"value", "estimated", "not_collected", "not_applicable", "withheld"}:
        return [(where, value)]
    return [found for key, item in value.items() for found in _fields(item, f"{where}/{key}")]


def _intervals(card: Mapping[str, Any], pages: Pages) -> tuple[float, str]:
    rows = card["languages"]
    without = [language for language, row in rows.items() if "value" in row["difference"] and "value" not in row["low"]]
    if "value" not in card["evaluation"]["passed"]:
        return 0.0, "the run was not evaluated"
    return (1 - len(without) / max(1, len(rows)), f"no interval, for want of held-out rows: {', '.join(without)}" if without else "")


def _index(card: Mapping[str, Any], pages: Pages) -> tuple[float, str]:
    found = [row for row in indicators(card) if row[2] != "not applicable"]
    share = sum(row[2] == "disclosed" for row in found) / len(found)
    return min(1.0, share / 0.6), "" if share >= 0.6 else f"{share:.0%} of the transparency indicators that apply are disclosed, 60 % are wanted"


def _metadata(card: Mapping[str, Any], pages: Pages) -> tuple[float, str]:
    try:
        found = yaml.safe_load(pages["README.md"].decode().split("---\n", 2)[1])
        front_matter.check(found)
    except (CoopError, yaml.YAMLError, LookupError, UnicodeDecodeError, AttributeError, TypeError) as error:
        return 0.0, f"README.md: {error}".splitlines()[0]
    return 1.0, ""


def _bill(card: Mapping[str, Any], pages: Pages) -> tuple[float, str]:
    try:
        lost = dangling(json.loads(pages["card/bom.cdx.json"]))
    except (ValueError, LookupError) as error:
        return 0.0, f"card/bom.cdx.json: {error}"
    return (1.0, "") if not lost else (0.0, f"card/bom.cdx.json points to nothing: {lost[0]}")


def _languages_named(card: Mapping[str, Any], pages: Pages) -> tuple[float, str]:
    page = pages.get("card/eu_public_summary.md", b"").decode("utf-8", errors="replace")
    lacking = [language for language in card["languages"] if f"(`{language}`)" not in page]
    return (1.0, "") if not lacking else (0.0, f"not named in the EU summary: {', '.join(lacking)}")


RULES: Final[tuple[Rule, ...]] = (
    Rule("general", "T", 3, "the release and its base are named, by digest", _told("/base")),
    Rule("general", "T", 3, "licence of the weights", _told("/licence")),
    Rule("general", "T", 2, "who provides it", _told("/coop")),
    Rule("general", "U", 3, "somebody can be asked", _said("contact")),
    Rule("general", "U", 2, "where to see whether it is current, superseded or withdrawn", _page("README.md", "superseded", "coop verify")),
    Rule("general", "U", 2, "how to load it", _page("README.md", "## How to load", "from_pretrained")),
    Rule("data", "T", 3, "where the data comes from, section by section of the EU template", _page("card/eu_public_summary.md", "### 2.1", "### 2.2", "### 2.3", "### 2.4", "### 2.5", "### 2.6")),
    Rule("data", "T", 3, "size of the data, by language and split", _told("/data/splits")),
    Rule("data", "T", 2, "every language by name, those of the EU apart", _languages_named),
    Rule("data", "T", 2, "when the data was taken", _told("/data/at")),
    Rule("data", "T", 2, "what was left out, and why", _told("/data/excluded")),
    Rule("data", "T", 2, "rules and parameters of the processing", _told("/data/rules")),
    Rule("data", "U", 3, "a machine can read the dataset's description", _page("data/croissant.json", "http://mlcommons.org/croissant/1.1", "odrl:permission")),
    Rule("data", "U", 2, "measures against unlawful content", _said("legal_measures")),
    Rule("consent", "T", 4, "what members consented to", _told("/consent/use")),
    Rule("consent", "T", 3, "how many consents, and how many were withdrawn", _told("/consent/withdrawn_by_run_end")),
    Rule("consent", "U", 2, "whether a company may use it, by licence and by consent", _page("README.md", QUESTION)),
    Rule("consent", "U", 4, "what a withdrawal does, and what it cannot do", _page("README.md", PROMISE.split(":")[0])),
    Rule("decisions", "T", 4, "the vote, with quorum and turnout", _told("/votes/run")),
    Rule("decisions", "T", 3, "reasons of those who voted against", _told("/dissent")),
    Rule("decisions", "T", 3, "the policy voted before the run, and what came of it", _told("/gates/held-out quality")),
    Rule("decisions", "U", 3, "a page about governance that people can read", _page("card/governance.md", "## The vote on the training run", "## Dissent", "### What a withdrawal does")),
    Rule("quality", "T", 4, "results by language", _told("/evaluation/passed")),
    Rule("quality", "U", 4, "an interval for every difference", _intervals),
    Rule("quality", "U", 3, "where it is worse or unproven, by name", _page("README.md", "## Where it is worse or unproven")),
    Rule("quality", "T", 2, "limits, in a person's words", _said("limits")),
    Rule("quality", "U", 3, "intended use, in a person's words", _said("intended_use")),
    Rule("quality", "U", 2, "what it is not for, in a person's words", _said("out_of_scope_use")),
    Rule("quality", "U", 2, "bias and risks, in a person's words", _said("bias_and_risks")),
    Rule("safety", "T", 5, "a leak test with a lower bound, or that there was none", _told("/leak/epsilon_lower")),
    Rule("safety", "T", 4, "safety both ways, or that it was not tested", _told("/safety")),
    Rule("safety", "T", 2, "overlap of test and training", _told("/contamination")),
    Rule("resources", "T", 3, "compute, with its method", _told("/compute/flop")),
    Rule("resources", "T", 2, "energy, or that nobody measured it", _told("/energy/kwh")),
    Rule("resources", "T", 2, "failed starts and other runs", _told("/compute/segments")),
    Rule("resources", "U", 2, "share of the EU's threshold", _told("/compute/eu_one_third_ratio")),
    Rule("form", "T", 4, "every number points to its record and digest", _every_number_points),
    Rule("form", "T", 4, "nothing is blank", _nothing_blank),
    Rule("form", "U", 3, "metadata the Hub reads rightly", _metadata),
    Rule("form", "U", 3, "a bill of materials in which every reference leads somewhere", _bill),
    Rule("form", "U", 2, "a change list against the release before", _page("card/changes.md", "# Changes")),
    Rule("form", "U", 3, "one page in plain words", _page("card/summary.eng.md", "# In plain words")),
    Rule("form", "U", 2, "openness class with reasons", _page("card/mof.yaml", "why_not_higher", "osaid")),
    Rule("form", "U", 2, "transparency indicators", _index),
)  # fmt: skip


def lint(card: Mapping[str, Any], pages: Pages) -> LintReport:
    """Return how far a card and its pages meet the rules.

    Args:
        pages: what `render_all` returned.
    """
    return LintReport(tuple(Result(rule, *rule.judge(card, pages)) for rule in RULES))


def lint_pages(pages: Pages) -> LintReport:
    """Return how far the card in a folder, and the pages beside it, meet the rules; raise BadInput for one this version cannot read."""
    if "card.json" not in pages:
        raise BadInput("there is no card.json here", next="coop card RUN")
    card = loads(pages["card.json"], floats=True, source="card.json")
    if not isinstance(card, dict) or card.get("format") != "coop.card/v2":
        raise BadInput(
            "card.json is of another format", value=card.get("format") if isinstance(card, dict) else None, allowed="coop.card/v2", next="coop card RUN"
        )
    try:
        return lint(card, pages)
    except (LookupError, TypeError, AttributeError) as error:
        raise BadInput("card.json lacks what every card has", value=f"{type(error).__name__}: {error}", next="coop card RUN") from error


def require_release_card(card: Mapping[str, Any]) -> None:
    """Refuse a card for a release if a member has neither written nor signed away a field only people can fill (BadInput names them all)."""
    if left := is_left_open(card):
        raise BadInput(
            "the card leaves open what only a person can say",
            value=left,
            allowed="for each: a text signed by a member, or a member's signed word why there is none",
            next=f"coop card statement {left[0]} --text FILE   (or --absent not-discussed)",
        )

"""Link 12: what a reader reads is what the records say, byte for byte."""

from __future__ import annotations

from governance_hooks.canonical import loads
from governance_hooks.report import StepFailed, StepUnknown
from governance_hooks.sentence import Sentence
from model_card.card import make_card
from model_card.evidence import AGAIN, Evidence
from model_card.layout import rule_of
from model_card.renderer import renderer_digest
from model_card.renderers import render_all

__all__ = ["card"]


def _require_our_renderer(found: Evidence) -> None:
    """An untouched card of another renderer cannot be compared here; a touched one has failed link 1 already and fails here."""
    written = loads(found.get("card.json"), floats=True, source="card.json").get("renderer")
    untouched = any(entry.path == "card.json" and entry.sha256 == found.bundle.digests["card.json"] for entry in found.release.files)
    if untouched and written != renderer_digest():
        raise StepUnknown(
            Sentence("the card was rendered by another version of commonweights than this one"),
            todo=Sentence("install the version the cooperative used, and verify again"),
        )


def card(found: Evidence) -> str:
    """(12) Card, README and every other rendered file are what these records render to, byte for byte."""
    records = found.records
    if records.plan.use.licence != found.release.licence:
        raise StepFailed("release.json states another licence than the voted plan", todo="the licence members agreed to is the plan's")
    found.require_run_vote()
    _require_our_renderer(found)
    if lost := [path for path in found.bundle.missing if (rule := rule_of(path)) is not None and rule.held]:
        raise StepUnknown(f"{lost[0]} is missing", todo=AGAIN)
    rendered = render_all(make_card(records), records)
    listed = {path for path in found.bundle.data if (rule := rule_of(path)) is not None and rule.role == "card"}
    if odd := sorted(listed - rendered.keys()):
        raise StepFailed(f"{odd[0]} is rendered from no record", todo="do not believe it")
    for path, wanted in sorted(rendered.items(), key=lambda item: item[0] != "card.json"):
        if found.get(path) != wanted:
            raise StepFailed(f"{path} is not what the {'records render' if path == 'card.json' else 'card renders'} to", todo="do not believe it")
    size = sum(map(len, rendered.values()))
    return Sentence("card.json and {count} pages rendered again, {bytes:,} bytes equal", count=len(rendered) - 1, bytes=size)

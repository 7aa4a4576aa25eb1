"""What happens if a member withdraws: to the next build by its own rules, and to everything that was made of earlier builds."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commonweights.building import read_suites
from commonweights.consequences import Made, made_of
from commonweights.workspace import Workspace
from governance_hooks.canonical import sha256
from governance_hooks.consent import Use
from governance_hooks.ledger import LedgerRow, read_ledger
from governance_hooks.register import Register
from governance_hooks.sentence import Sentence
from governance_hooks.statement import now
from governance_hooks.vocabulary import PROCESSING

if TYPE_CHECKING:
    from commonweights.progress import Progress
    from data_pipeline.manifest import Build
    from data_pipeline.store import ContributionStore
    from data_pipeline.views.withdrawal import Withdrawal

__all__ = ["Preview", "preview_of"]

_USE = Use.model_validate(
    {"purpose": "dpv:NonCommercialResearch", "processing": list(PROCESSING), "recipients": ["coop:PublicViaReleasedWeights"], "licence": "Apache-2.0"}
)
"""What `coop build make` builds for unless told otherwise."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What a withdrawal would do."""

    member: str
    consent: str | None
    """The one that would be withdrawn; None for all."""
    loss: Withdrawal | None
    """To the next build; None where neither the texts nor a build with rows of the member are in the folder."""
    like: str | None
    """The build whose use and rules the next one is taken to have; None for the defaults."""
    unsure: tuple[str, ...]
    """What the numbers leave open."""
    builds: dict[str, tuple[int, list[Made]]]
    """Logged build with rows that rest on the member -> how many, and what was made of it."""

    def value(self) -> dict[str, Any]:
        """Return the preview for `--json`."""
        loss = self.loss
        numbers: dict[str, Any] = {"method": None}
        if loss is not None:
            numbers = {
                "method": loss.method,
                "rows_now": loss.rows_now,
                "own_records": loss.own,
                "built_on_yours": loss.built_on,
                "other_members_who_lose": loss.losers,
                "copies_freed": loss.freed,
                "rows_displaced": loss.displaced,
                "languages": {code: one._asdict() for code, one in loss.languages.items()},
            }
        builds = {name: {"rows": rows, "made": [asdict(one) for one in made]} for name, (rows, made) in self.builds.items()}
        return {"member": self.member, "consent": self.consent, "like": self.like, "unsure": list(self.unsure), "builds": builds} | numbers

    def lines(self) -> list[str]:
        """Return the preview in short sentences."""
        what = Sentence("{member}: if you withdraw everything now", member=self.member)
        if self.consent is not None:
            what = Sentence("{member}: if you withdraw consent {consent} now", member=self.member, consent=self.consent[:19])
        said: list[str] = [what, *([] if self.loss is None else _lost(self.loss))]
        if self.loss is None:
            said.append(Sentence("The texts are not in this folder, so the next dataset cannot be worked out here.").indented(2))
        elif self.loss.method == "ledger":
            said.append(Sentence("These numbers are read off the last dataset, since there are many texts. The next one may differ a little.").indented(2))
        said += [Sentence(one).indented(2) for one in self.unsure]
        for name, (rows, made) in self.builds.items():
            said.append(
                Sentence("Dataset {name} holds {count} texts that rest on yours. It stays as it is; no new training run can use it.", name=name, count=rows)
            )
            said += [Sentence("{what} ({state}): {then}.", what=one.named, state=one.state_in_words, then=Sentence(one.withdrawal)).indented(2) for one in made]
        command = "coop consent withdraw" if self.consent is None else f"coop consent withdraw {self.consent[7:19]}"
        said.append(Sentence("Weights already released stay where people copied them. To withdraw: {command}", command=command))
        return said


def preview_of(space: Workspace, member: str, show: Progress | None = None, *, consent: str | None = None) -> Preview:
    """Work out what a member's withdrawal of every consent, or of one, would do; changes nothing.

    Raises:
        CoopError: the store was changed behind the members' backs, or a build is not what its manifest names.
    """
    from data_pipeline.store import ContributionStore

    builds: dict[str, tuple[int, list[Made]]] = {}
    at = now()
    newest: tuple[int, str] | None = None
    places = {digest: place for place, digest in enumerate(space.coop.register.builds)}  # in the order of the log
    for manifest in sorted((space.root / "builds").glob("*/manifest.json")):
        digest = sha256(manifest.read_bytes())
        position = places.get(digest)
        if position is None:
            continue
        newest = max(newest or (position, manifest.parent.name), (position, manifest.parent.name))
        rows, _ = read_ledger(manifest.parent / "ledger.jsonl")
        rested = (row for row in rows if member in row.authors)
        if consent is None:
            count = sum(1 for _ in rested)
        else:
            use = Use.model_validate(json.loads(manifest.read_bytes())["use"])
            count = sum(_needs(space.coop.register, member, use, row, consent, at) for row in rested)
        if count:
            builds[manifest.parent.name] = (count, made_of(space, digest))
    like = None if newest is None else newest[1]
    loss, unsure = None, tuple[str, ...]()
    if not isinstance(space.contributions, Path) or space.contributions.is_file():
        with ContributionStore(space.contributions) as store:
            loss, unsure = _loss(space, store, member, like, show, consent)
    return Preview(member, consent, loss, like, unsure, builds)


def _needs(register: Register, member: str, use: Use, row: LedgerRow, consent: str, at: str) -> bool:
    """Tell whether a row of a build stands on this consent of a member and on no other."""
    return (
        register.consent_for(member, use, language=row.language, batch=row.batch, at=at) is not None
        and register.consent_for(member, use, language=row.language, batch=row.batch, at=at, without=consent) is None
    )


def _loss(
    space: Workspace, store: ContributionStore, member: str, like: str | None, show: Progress | None, consent: str | None
) -> tuple[Withdrawal, tuple[str, ...]]:
    from data_pipeline.build import MAX_CHARACTERS
    from data_pipeline.manifest import read_build
    from data_pipeline.recipe import DEFAULT, Recipe
    from data_pipeline.views.place import own_records
    from data_pipeline.views.withdrawal import SMALL, estimate, withdrawal

    build: Build | None = None if like is None else read_build(space.build(like))
    if build is not None and sum(batch.records for batch in store.batches()) > SMALL:
        unsure = () if consent is None else (Sentence("Texts that another consent of yours would allow are counted as lost."),)
        return estimate(build, member, own_records(store, member), consent), unsure
    manifest = {} if build is None else build.manifest
    recipe = DEFAULT if build is None else Recipe.parse(manifest["stages"])
    use, at, register = _USE if build is None else Use.model_validate(manifest["use"]), now(), space.coop.register
    suites = read_suites(space)

    def standing(one: str, language: str, batch: str, *, without: str | None = None) -> str | None:
        return register.consent_for(one, use, language=language, batch=batch, at=at, without=without)

    found = withdrawal(
        store,
        member,
        standing,
        recipe=recipe,
        suites=suites,
        signed=frozenset([*register.contributions, *register.reviews]),
        max_characters=MAX_CHARACTERS if build is None else manifest["parameters"]["max_characters"],
        consent_then=None if consent is None else partial(standing, without=consent),
        scratch=space.root,
        progress=show,
    )
    known = {suite.digest for suite in suites}
    gone = [name for name, digest in manifest.get("suites", {}).items() if digest not in known]
    if not gone:
        return found, ()
    named = ", ".join(gone)
    return found, (
        Sentence("The evaluation suites {suites} are not in this folder: texts that hold one of their questions count as if they stayed.", suites=named),
    )


def _lost(loss: Withdrawal) -> list[Sentence]:
    numbers = {"rows": loss.own + loss.built_on, "all": loss.rows_now, "own": loss.own, "built": loss.built_on}
    said = [
        Sentence(
            "The next dataset loses {rows} of its {all} texts: {own} of yours, and {built} that {count} other member(s) built on yours.",
            count=loss.losers,
            **numbers,
        ).indented(2)
        if loss.built_on
        else Sentence("The next dataset loses {rows} of its {all} texts: {own} of yours, and {built} that others built on yours.", **numbers).indented(2)
    ]
    if loss.freed and loss.method == "ledger":
        said.append(Sentence("At most {count} texts come in: they say what a text of yours says, and had made way for it.", count=loss.freed).indented(2))
    elif loss.freed:
        said.append(Sentence("{count} texts come in: they say what a text of yours says, and had made way for it.", count=loss.freed).indented(2))
    if loss.displaced:
        said.append(Sentence("{count} texts of others make way for one of those.", count=loss.displaced).indented(2))
    for code, one in loss.languages.items():
        parts: list[str] = [f"\u2212{one.own + one.built_on}"] + ([f"+{one.freed}"] if one.freed else [])
        parts += [Sentence("\u2212{count} displaced", count=one.displaced)] if one.displaced else []
        changes = parts[0]
        for part in parts[1:]:
            changes = Sentence("{before}, {next}", before=changes, next=part)
        said.append(Sentence("{language}, texts: {changes}", language=code, changes=changes).indented(4))
    return said

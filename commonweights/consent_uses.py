"""What was done with a member's consent so far: builds, runs and releases, from the ledgers in the cooperative's folder."""

from __future__ import annotations

from dataclasses import dataclass, field

from commonweights.workspace import Workspace
from governance_hooks.canonical import sha256
from governance_hooks.errors import CoopError
from governance_hooks.ledger import read_ledger
from governance_hooks.plan import Plan, read_plan
from governance_hooks.sentence import Sentence
from governance_hooks.state.consents import Grant

__all__ = ["Uses", "read_plans", "uses_of"]


@dataclass(slots=True)
class Uses:
    """Builds, runs and releases that hold records of one member."""

    builds: dict[str, int] = field(default_factory=dict)
    """Name of a logged build -> records that name the member as an author."""
    runs: dict[str, str] = field(default_factory=dict)
    """Run -> how it stands: running, completed, halted or failed."""
    releases: list[str] = field(default_factory=list)
    """Digests of releases made of those runs."""
    unread: list[str] = field(default_factory=list)
    """Runs whose plan or build is not in this folder: whether they hold records of the member is not known here."""

    def lines(self) -> list[str]:
        """Return short sentences."""
        said: list[str] = [Sentence("{count} of your texts are in dataset {name}.", count=count, name=name) for name, count in self.builds.items()]
        said += [Sentence("Run {name} used them: {status}.", name=name, status=status) for name, status in self.runs.items()]
        said += [Sentence("Weights were released: {release}.", release=release[:19]) for release in self.releases]
        said += [Sentence("Run {name}: its data is not here, so it is not known here whether it used your texts.", name=name) for name in self.unread]
        return said or [Sentence("Nothing so far.")]


def uses_of(space: Workspace, member: str, grants: list[Grant]) -> Uses:
    """Return what holds records of the member that cite one of these consents, as far as this folder shows."""
    wanted, found = {grant.id for grant in grants}, Uses()
    holding: dict[str, bool] = {}
    register = space.coop.register
    for manifest in sorted((space.root / "builds").glob("*/manifest.json")):
        identity = sha256(manifest.read_bytes())
        if identity not in register.builds:
            continue
        rows, _ = read_ledger(manifest.parent / "ledger.jsonl")
        count = sum((member, consent) in zip(row.authors, row.consents, strict=True) for row in rows for consent in wanted)
        holding[identity] = count > 0
        if count:
            found.builds[manifest.parent.name] = count
    plans = read_plans(space)
    for run in register.runs.values():
        plan = plans.get(run.plan)
        if plan is None or plan.build.manifest not in holding:
            found.unread.append(run.id)
        elif holding[plan.build.manifest]:
            found.runs[run.id] = run.status or "running"
            found.releases += run.releases
    return found


def read_plans(space: Workspace) -> dict[str, Plan]:
    """Return the plans in the cooperative's folder by digest."""
    plans: dict[str, Plan] = {}
    for path in sorted([*(space.root / "plans").glob("*.json"), *(space.root / "runs").glob("*/plan.json")]):
        data = path.read_bytes()
        try:
            plans[sha256(data)] = read_plan(data, source=str(path))
        except CoopError:  # a draft that no run could have used
            continue
    return plans

"""What was made of a build, by plan, vote, run and release, and what a withdrawal by one of its authors does to each."""

from __future__ import annotations

from dataclasses import dataclass

from commonweights.consent_uses import read_plans
from commonweights.workspace import Workspace
from governance_hooks.plan import Plan
from governance_hooks.sentence import Sentence
from governance_hooks.state.proposals import Proposal
from governance_hooks.state.runs import Run

__all__ = ["Made", "made_of"]


_STATES = {
    "open": Sentence("open"),
    "approved": Sentence("approved"),
    "rejected": Sentence("rejected"),
    "released": Sentence("released"),
    "running": Sentence("running"),
    "completed": Sentence("completed"),
    "failed": Sentence("failed"),
    "halted": Sentence("halted"),
    "stop": Sentence("stop"),
    "finish-unreleased": Sentence("finish-unreleased"),
}


@dataclass(frozen=True, slots=True)
class Made:
    """One thing that stands on a build."""

    kind: str
    """plan, proposal, run or release."""
    name: str
    """Name of a plan or run; digest of a proposal or release."""
    state: str
    withdrawal: str
    """What happens to it if somebody whose text is in the build withdraws now, as plan and bylaws say."""

    @property
    def named(self) -> Sentence:
        """What it is, and its name as people know it."""
        name = self.name[:19] if self.kind in ("proposal", "release") else self.name
        match self.kind:
            case "plan":
                return Sentence("plan {name}", name=name)
            case "proposal":
                return Sentence("proposal {name}", name=name)
            case "run":
                return Sentence("run {name}", name=name)
        return Sentence("release {name}", name=name)

    @property
    def state_in_words(self) -> Sentence:
        """Its state, as people say it."""
        return _STATES.get(self.state, Sentence(self.state))


def made_of(space: Workspace, manifest: str) -> list[Made]:
    """Return what the log and the folder know that stands on the build of this digest: each plan with its proposals, runs and releases.

    A plan that is not in the folder is not found; see `consent_uses.Uses.unread`.
    """
    register, found = space.coop.register, list[Made]()
    for digest, plan in sorted(read_plans(space).items(), key=lambda item: item[1].name):
        if plan.build.manifest != manifest:
            continue
        found.append(
            Made("plan", plan.name, plan.policies.on_withdrawal, Sentence("no training run can start with it any more: the checks before a start refuse it"))
        )
        found += [_proposed(proposal) for proposal in register.proposals.values() if proposal.kind == "run" and proposal.subject == digest]
        for run in register.runs.values():
            if run.plan == digest:
                found.append(_ran(run, plan))
                stays = Sentence("stays where people copied it; the next release is made without you")
                found += [Made("release", release, "released", stays) for release in run.releases]
    return found


def _proposed(proposal: Proposal) -> Made:
    state = "open" if proposal.closed is None else "approved" if proposal.tally is not None and proposal.tally.approved else "rejected"
    after = {
        "open": Sentence("the vote goes on, but the checks before a start refuse the run"),
        "approved": Sentence("the approval stands, but the checks before a start refuse it"),
    }
    return Made("proposal", proposal.id, state, after.get(state, Sentence("nothing")))


def _ran(run: Run, plan: Plan) -> Made:
    if run.status is None:
        after = {
            "stop": Sentence("it stops when it next looks at the log, and gives no result"),
            "finish-unreleased": Sentence("it may end, but its result may not be released"),
        }[plan.policies.on_withdrawal]
    elif run.status == "completed":
        after = (
            Sentence("its evaluation stays; no other release of it goes out")
            if run.releases
            else Sentence("its release waits: it is refused, and a run without you takes its place")
        )
    else:
        after = Sentence("it cannot be started again")
    return Made("run", run.id, run.status or "running", after)

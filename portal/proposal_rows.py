"""A proposal as lists and pages show it: its name in plain words, its state, its count, and the member's own part in it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from governance_hooks.motions import Admit, AmendBylaws, AppealAgainst, Appoint, ChangeOperator, Consult, HaltUse, Recall, Suspend, Waive
from governance_hooks.state.proposals import Proposal
from governance_hooks.tally import Tally
from portal.i18n import apart, current, when
from portal.i18n import gettext as _
from portal.rendering import short
from portal.service import Service

__all__ = ["Appeal", "Row", "appeal_of", "by_end", "kind_in_words", "release_name", "row_of", "rows_of", "title_by_id", "title_of"]


@dataclass(frozen=True, slots=True)
class Row:
    """What a page shows of a proposal."""

    proposal: Proposal
    title: str
    kind: str
    """What kind of decision it is, where the title does not say it: a question could be anything."""
    standing: str
    tally: Tally
    open: bool
    good: bool
    """Whether it is decided, and nothing that members voted for is refused or stopped."""
    mine: str | None
    """The member's own choice, `preference` for an answer to a consultation, or None."""
    may_vote: bool


def kind_in_words(kind: str) -> str:
    """Return what kind of decision it is."""
    return _kinds(current()).get(kind, kind)


@cache
def _kinds(_language: str) -> dict[str, str]:
    return {
        "run": _("Training run"),
        "release": _("Release of a model"),
        "payout": _("Payout"),
        "bylaws": _("New bylaws"),
        "waiver": _("Waiver"),
        "admission": _("Admission"),
        "suspension": _("Suspension"),
        "halt": _("Halt"),
        "recall": _("Withdrawal of a release"),
        "access": _("Data for outsiders"),
        "appeal": _("Appeal"),
        "appointment": _("Oversight body"),
        "operator": _("New operator"),
        "consultation": _("Consultation"),
    }


def title_of(service: Service, proposal: Proposal) -> str:
    """Return a title that says what is asked for; a name or text that is not in this folder is its digest."""
    motion = proposal.motion
    match motion:
        case AmendBylaws():
            return _("Bylaws, version %(number)s") % {"number": motion.bylaws.version}
        case Waive():
            return _("Release run %(run)s although its evaluation did not pass") % {"run": motion.run}
        case Admit():
            return _("Admit %(member)s") % {"member": motion.member}
        case Suspend():
            return _("Suspend %(member)s until %(until)s") % {"member": motion.member, "until": when(motion.until)}
        case HaltUse():
            return _("Halt %(proposal)s until %(until)s") % {"proposal": _name_by_id(service, motion.proposal), "until": when(motion.until)}
        case Recall():
            return _("Withdraw release %(release)s") % {"release": release_name(service, motion.release)}
        case AppealAgainst():
            return appeal_of(service, motion.against).title
        case Appoint():
            return _("Seat %(count)s members on the oversight body") % {"count": len(motion.members)}
        case ChangeOperator():
            return _("Hand the operation to another key")
        case Consult():
            return _first_line(service.house.text(motion.question)) or _("Question %(digest)s") % {"digest": short(motion.question)}
    return _("%(kind)s: %(name)s") % {"kind": kind_in_words(proposal.kind), "name": _name_of(service, proposal)}


def _name_of(service: Service, proposal: Proposal) -> str:
    """Return the name of the run or release that is voted on, or the start of a digest."""
    plan = service.house.plans().get(proposal.subject) if proposal.kind == "run" else None
    return plan.name if plan else release_name(service, proposal.subject) if proposal.kind == "release" else short(proposal.subject)


def title_by_id(service: Service, identifier: str) -> str:
    """Return the title of a vote set apart from the sentence around it, or the start of a digest that is no vote's; hold the register."""
    found = service.view.register.proposals.get(identifier)
    return apart(title_of(service, found)[:200] if found else short(identifier))


def _name_by_id(service: Service, identifier: str) -> str:
    found = service.view.register.proposals.get(identifier)
    if found is None or isinstance(found.motion, AppealAgainst):
        return short(identifier)
    return _name_of(service, found) if found.motion is None else title_of(service, found)


def release_name(service: Service, digest: str) -> str:
    """Return the name of a release, or the start of its digest."""
    folder = service.house.releases().get(digest)
    return folder.name if folder else short(digest)


@dataclass(frozen=True, slots=True)
class Appeal:
    """What an appeal would end: in a title, and in sentences, which say it also once it has ended it."""

    title: str
    lines: tuple[str, ...]


def appeal_of(service: Service, against: str) -> Appeal:
    """Tell what an appeal is against: a halt, the state of a release, a suspension, or what this log does not hold."""
    register = service.view.register
    halt, mark, suspending = register.halts.get(against), register.marks.get(against), register.proposals.get(against)
    if halt is not None:
        return Appeal(
            _("End the halt of %(what)s") % {"what": _name_by_id(service, halt.proposal)},
            (
                _("A halt ends, and the approval may be used again: %(what)s") % {"what": title_by_id(service, halt.proposal)},
                _("It would have lasted until %(until)s.") % {"until": when(halt.until)},
            ),
        )
    if mark is not None:
        name = release_name(service, mark.release)
        title, line = {
            "withdrawn": (_("End the withdrawal of %(what)s"), _("Release %(release)s is no longer withdrawn.")),
            "superseded": (_("Take back that %(what)s is superseded"), _("Release %(release)s is no longer superseded.")),
        }[mark.status]
        return Appeal(title % {"what": name}, (line % {"release": apart(name)},))
    if suspending is not None and isinstance(suspending.motion, Suspend):
        member, until = suspending.motion.member, when(suspending.motion.until)
        line = _("The suspension of %(member)s ends at once; else it lasts until %(until)s.")
        return Appeal(_("End the suspension of %(member)s") % {"member": member}, (line % {"member": member, "until": until},))
    return Appeal(
        _("End this: %(what)s") % {"what": _name_by_id(service, against)},
        (_("What was decided or stated under %(digest)s ends.") % {"digest": short(against)},),
    )


def _first_line(text: str | None) -> str | None:
    """Return the first line of a text: a question comes before what one has to know."""
    return next((line.strip() for line in (text or "").splitlines() if line.strip()), None)


def row_of(service: Service, proposal: Proposal, member: str | None) -> Row:
    """Return what a page shows of a proposal; hold the register."""
    vote = proposal.votes.get(member or "")
    mine = None if vote is None else vote.choice or "preference"
    now, tally = service.clock(), service.view.tally(proposal)
    is_open = proposal.closed is None and now <= proposal.closes
    good = not is_open and (proposal.kind == "consultation" or (tally.approved and proposal.halted(now) is None))
    return Row(
        proposal,
        title_of(service, proposal)[:300],
        kind_in_words(proposal.kind) if proposal.kind == "consultation" else "",
        service.house.standing(proposal),
        tally,
        is_open,
        good,
        mine,
        is_open and member in proposal.roll,
    )


def by_end(running: Iterable[Proposal]) -> list[Proposal]:
    """Return open votes, first what ends first."""
    return sorted(running, key=lambda one: one.closes)


def rows_of(service: Service, proposals: Iterable[Proposal], member: str | None) -> list[Row]:
    """Return what a list shows, in the same order."""
    return [row_of(service, one, member) for one in proposals]

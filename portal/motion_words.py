"""Motions in plain words: what becomes of what, if members agree. Amendments and consultations have words of their own (`bylaws_words`, and their texts)."""

from __future__ import annotations

from governance_hooks.fields import Strict
from governance_hooks.motions import Admit, AppealAgainst, Appoint, ChangeOperator, HaltUse, Recall, Suspend, Waive
from governance_hooks.register import Register
from governance_hooks.sshsig import PublicKey
from portal.i18n import apart, listed, when
from portal.i18n import gettext as _
from portal.proposal_rows import appeal_of, release_name, title_by_id
from portal.rendering import short
from portal.service import Service

__all__ = ["motion_in_words", "reason_in_words"]


def motion_in_words(service: Service, register: Register, motion: Strict | None) -> list[str]:
    """Return what a motion asks for and what it does not touch, a sentence each; hold the register."""
    match motion:
        case Waive():
            return _waiver(motion)
        case Admit():
            return [
                _("%(member)s becomes a member, with one vote.") % {"member": motion.member},
                _("Their key: %(key)s") % {"key": PublicKey.from_line(motion.key).fingerprint},
                _("Members decide this instead of the registrars; it needs no signature of theirs."),
            ]
        case Suspend():
            return [
                _("Until %(until)s %(member)s may propose nothing and holds no office, and cannot vote in votes that open meanwhile.")
                % {"member": motion.member, "until": when(motion.until)},
                _("What they gave and allowed stays theirs: they can take it back, and they can leave."),
                _("They can ask members to end it earlier, by an appeal."),
            ]
        case HaltUse():
            lines = [
                _("This approval may not be used until %(until)s: %(what)s") % {"until": when(motion.until), "what": title_by_id(service, motion.proposal)}
            ]
            return [*lines, _("The oversight body halted it for a time; this prolongs that halt.")] if motion.ratifies else lines
        case Recall():
            return _recall(service, motion)
        case AppealAgainst():
            return list(appeal_of(service, motion.against).lines)
        case Appoint():
            lines = [
                _("The oversight body is, until %(until)s: %(members)s") % {"until": when(motion.until), "members": listed(motion.members)},
                _("It can halt a run, a release or a handing out of data for a limited time, and nothing else."),
            ]
            return [*lines, _("These members were drawn by lot.")] if motion.panel else lines
        case ChangeOperator():
            return [
                _("From then on this key speaks for the operator: %(key)s") % {"key": PublicKey.from_line(motion.operator).fingerprint},
                _("The key that does so now can state nothing any more."),
                _("The operator has no vote, holds no member's key, and can admit nobody."),
            ]
    return []


def _waiver(motion: Waive) -> list[str]:
    lines = [
        _("Run %(run)s may be released although its evaluation did not pass.") % {"run": apart(motion.run)},
        _("What did not pass is in the report %(digest)s.") % {"digest": short(motion.report)},
    ]
    if motion.leak is not None:
        lines.append(
            _("Its leak test did not pass either: the model may repeat what members wrote. The report is %(digest)s.") % {"digest": short(motion.leak)}
        )
    return [*lines, _("It holds for this run alone. Whether it is released, members decide in a vote of its own.")]


def reason_in_words(reason: str) -> str:
    """Return why a release is superseded or withdrawn."""
    return {
        "consent-withdrawals": _("members took their consent back"),
        "safety": _("it is not safe"),
        "privacy": _("it gives away what is private"),
        "licence": _("its licence does not hold"),
        "defect": _("it has a defect"),
        "improved": _("there is a better one"),
    }[reason]


def _recall(service: Service, motion: Recall) -> list[str]:
    lines = [
        _("Release %(release)s is withdrawn: %(why)s.") % {"release": apart(release_name(service, motion.release)), "why": reason_in_words(motion.reason)},
        _("It is handed out here no more. Copies stay where they are; whoever checks one learns that it is withdrawn."),
    ]
    return [*lines, _("The stewards withdrew it for a time; this makes it stand.")] if motion.ratifies else lines

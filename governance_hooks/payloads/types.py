"""The statement types, and the payload of each."""

from __future__ import annotations

from pydantic import BaseModel

from governance_hooks.card_statement import CardStatement
from governance_hooks.consent import Consent
from governance_hooks.payloads.ballots import Ballot, Close, ConsultationClose, Opinions, Preference
from governance_hooks.payloads.consents import Contribution, Reviewed, Withdrawal
from governance_hooks.payloads.membership import Admission, Decline, Exit, Founding, Guardians, Key, Leave, RecoveryCancelled, RecoveryOpened, Rotation, Time
from governance_hooks.payloads.polls import Draw, PanelOpened, SecretEvent, SecretPoll, SecretResult
from governance_hooks.payloads.proposals import Draft, Halt, Objection, ProposalOpened
from governance_hooks.payloads.releases import Released, ReleaseStatus
from governance_hooks.payloads.runs import BuildMade, Evaluation, RunEnd, RunSegment, RunStart, Site
from governance_hooks.payloads.stake import Delivered, IncomeBooked, Payout

__all__ = ["PAYLOADS"]

PAYLOADS: dict[str, type[BaseModel]] = {
    "coop.founding/v1": Founding,
    "coop.admission/v1": Admission,
    "coop.decline/v1": Decline,
    "coop.key/v1": Key,
    "coop.rotation/v1": Rotation,
    "coop.guardians/v1": Guardians,
    "coop.recovery/v1": RecoveryOpened,
    "coop.recovery-cancel/v1": RecoveryCancelled,
    "coop.time/v1": Time,
    "coop.leave/v1": Leave,
    "coop.consent/v1": Consent,
    "coop.withdrawal/v1": Withdrawal,
    "coop.contribution/v1": Contribution,
    "coop.review/v1": Reviewed,
    "coop.build/v1": BuildMade,
    "coop.proposal/v1": ProposalOpened,
    "coop.draft/v1": Draft,
    "coop.ballot/v1": Ballot,
    "coop.preference/v1": Preference,
    "coop.opinions/v1": Opinions,
    "coop.close/v1": Close,
    "coop.consultation-close/v1": ConsultationClose,
    "coop.objection/v1": Objection,
    "coop.exit/v1": Exit,
    "coop.payout/v1": Payout,
    "coop.income/v1": IncomeBooked,
    "coop.delivery/v1": Delivered,
    "coop.halt/v1": Halt,
    "coop.run-start/v1": RunStart,
    "coop.site/v1": Site,
    "coop.run-segment/v1": RunSegment,
    "coop.run-end/v1": RunEnd,
    "coop.evaluation/v1": Evaluation,
    "coop.release/v1": Released,
    "coop.release-status/v1": ReleaseStatus,
    "coop.secret-poll/v1": SecretPoll,
    "coop.secret-event/v1": SecretEvent,
    "coop.secret-result/v1": SecretResult,
    "coop.panel/v1": PanelOpened,
    "coop.draw/v1": Draw,
    "coop.card-statement/v1": CardStatement,
}
"""Statement type -> payload model. A type that is not here is refused."""

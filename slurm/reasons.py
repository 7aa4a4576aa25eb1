"""Why a job does not run, in plain words and with what to do: SLURM's reasons, and our own refusals."""

from __future__ import annotations

from typing import Final

__all__ = ["explain"]

_REASONS: Final[dict[str, tuple[str, str]]] = {
    "None": ("SLURM has not looked at it since it came", "wait a minute"),
    "Priority": ("others are before it", "wait"),
    "Resources": ("the nodes it asks for are not free yet", "wait, or submit it on fewer devices"),
    "Dependency": ("it waits for the job before it", "look at that one"),
    "DependencyNeverSatisfied": ("the job before it failed, so it can never start", "see why that one failed; coop submit again"),
    "BeginTime": ("it was put back into the queue and may start again shortly", "wait two minutes"),
    "Cleaning": ("its last start is still being cleared away", "wait a minute"),
    "JobHeldUser": ("its user holds it", "scontrol release {job}"),
    "JobHeldAdmin": (
        "it is held: it was refused at its start, or an admin holds it",
        "mend what the site says above; then its admin runs scontrol release {job}",
    ),
    "job requeued in held state": ("it is held: it was refused at its start", "mend what the site says above; then its admin runs scontrol release {job}"),
    "launch failed requeued held": ("a node could not start it, and it is held", "ask the site's admin, who runs scontrol release {job}"),
    "PartitionTimeLimit": ("it asks for more time than the partition gives", "set minutes: in the site's profile, then coop submit again with --array"),
    "PartitionNodeLimit": ("it asks for more nodes than the partition gives", "coop submit again with fewer --nodes"),
    "PartitionDown": ("the partition is closed", "ask the site's admin when it opens"),
    "PartitionInactive": ("the partition is closed", "ask the site's admin when it opens"),
    "NodeDown": ("a node it needs is down", "ask the site's admin"),
    "ReqNodeNotAvail": ("a node it needs is down or reserved", "wait, or ask the site's admin"),
    "Reservation": ("it waits for its reservation", "wait"),
    "BadConstraints": ("no node has what it asks for", "mend gres: and devices_per_node: in the site's profile, then coop submit again"),
    "InvalidAccount": ("the site does not know the account", "mend account: in the site's profile"),
    "InvalidQOS": ("the site does not know the QOS", "mend qos: in the site's profile"),
    "JobArrayTaskLimit": ("the task before it in the chain still runs", "wait"),
    "NonZeroExitCode": ("its script failed", "read its log below"),
    "TimeLimit": ("it ran out of time", "coop submit again: the run goes on from its last checkpoint"),
    "RaisedSignal": ("it was ended by a signal", "read its log below"),
    "NodeFail": ("a node failed under it", "coop submit again, if it was not put back into the queue"),
    "OutOfMemory": ("it needed more main memory than it asked for", "set memory: in the site's profile, then coop submit again"),
}
_GROUPS: Final[tuple[tuple[tuple[str, ...], tuple[str, str]], ...]] = (
    (
        ("QOSGrp", "QOSMax", "AssocGrp", "AssocMax", "MaxGRES", "MaxCpu"),
        ("a limit of its account or QOS is reached, which may be the budget of the vote", "coop book, or ask the site's admin"),
    ),
    (("Node", "ReqNode"), ("a node it needs is not to be had", "wait, or ask the site's admin")),
)
_STATES: Final[dict[str, tuple[str, str]]] = {
    "RUNNING": ("it runs", "coop jobs"),
    "COMPLETING": ("it is about to end", "wait a minute"),
    "COMPLETED": ("it is done", "coop status"),
    "CANCELLED": (
        "it was cancelled: by its user, by an admin, or because a start of it was refused",
        "what the site says above; then coop submit again",
    ),
    "PREEMPTED": ("others needed its nodes", "coop submit again, if it was not put back into the queue"),
    "TIMEOUT": ("it ran out of time before it could save", "set notice_s: higher in the site's profile, then coop submit again"),
    "REQUEUED": ("it goes back into the queue", "wait two minutes"),
}


def explain(state: str, reason: str, job: str) -> tuple[str, str]:
    """Return in plain words why a job is where it is, and what to do.

    Args:
        state: JobState of scontrol or squeue.
        reason: Reason of the same; with underscores or blanks.
    """
    known = reason.replace("_", " ")
    if state in _STATES and not (state != "RUNNING" and known in _REASONS and known != "None"):
        what, todo = _STATES[state]
    elif known in _REASONS:
        what, todo = _REASONS[known]
    else:
        fallback = (f"SLURM says {state}, {reason}", "man squeue, JOB REASON CODES")
        what, todo = next((words for starts, words in _GROUPS if known.startswith(starts)), fallback)
    return what, todo.format(job=job)

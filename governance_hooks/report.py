"""The table every check prints: numbered steps, each with what was checked, the verdict, why, and what to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from governance_hooks.errors import CoopError
from governance_hooks.sentence import Sentence

__all__ = ["Blocked", "Checklist", "Report", "Status", "Step", "StepFailed", "StepNoted", "StepSkipped", "StepUnknown"]


class Status(StrEnum):
    """Verdict of one step; UNKNOWN means it could not be checked, which never counts as a pass.

    The last two are for what anybody verifies after the fact, and no gate passes with them: SKIP, there is nothing of the kind to check;
    NOTE, it holds, and there is something newer to know.
    """

    PASS = "PASS"
    FAIL = "FAIL"
    UNKNOWN = "UNKNOWN"
    SKIP = "SKIP"
    NOTE = "NOTE"


@dataclass(frozen=True, slots=True)
class Step:
    """One numbered check of a gate or a verification."""

    number: int
    name: str
    status: Status
    checked: str
    why: str = ""
    todo: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the step for `--json` output (a stable schema)."""
        return {"number": self.number, "name": self.name, "status": self.status.value, "checked": self.checked, "why": self.why, "todo": self.todo}


def _printable(line: str) -> str:
    """Escape what could move a terminal's cursor or reverse its text: file names and fields may come from an attacker."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of all steps of one gate."""

    subject: str
    steps: tuple[Step, ...]

    @property
    def passed(self) -> bool:
        """Whether every step passed; an empty report has not."""
        return bool(self.steps) and all(step.status is Status.PASS for step in self.steps)

    @property
    def exit_code(self) -> int:
        """0 all passed, 1 a step failed, 2 nothing failed but something could not be checked."""
        if any(step.status is Status.FAIL for step in self.steps):
            return 1
        return 0 if self.passed else 2

    @property
    def blocking(self) -> list[Step]:
        """The steps that did not pass."""
        return [step for step in self.steps if step.status is not Status.PASS]

    def text(self) -> str:
        """Return the plain table, one line a step, with the reason in place of what was checked, and the remedy below, where a step did not pass."""
        width = max((len(step.name) for step in self.steps), default=0)
        lines = [self.subject]
        for step in self.steps:
            lines.append(f"{step.number:>3}  {step.status.value:<7}  {step.name:<{width}}  {step.why or step.checked}")
            if step.todo:
                lines.append(f"{'':<{16 + width}}next: {step.todo}")
        return "\n".join(map(_printable, lines))

    def as_dict(self) -> dict[str, Any]:
        """Return the report for `--json` output."""
        return {"subject": self.subject, "passed": self.passed, "exit_code": self.exit_code, "steps": [step.as_dict() for step in self.steps]}

    def require(self) -> Report:
        """Return self if everything passed, else raise Blocked."""
        if not self.passed:
            raise Blocked(self)
        return self


class Blocked(CoopError):
    """A gate refused; carries the whole report."""

    def __init__(self, report: Report) -> None:
        self.report = report
        first = report.blocking[0] if report.blocking else None
        what = f"BLOCKED: {report.subject}" + (f" (step {first.number}, {first.name}: {first.why or first.checked})" if first else " (nothing was checked)")
        super().__init__(what, next=first.todo if first else None)
        self.exit_code = report.exit_code or 1


class StepFailed(Exception):
    """Raised inside a step: the rule is broken."""

    status = Status.FAIL

    def __init__(self, why: str, *, todo: str = "", checked: str = "") -> None:
        super().__init__(why)
        self.why, self.todo, self.checked = why, todo, checked


class StepUnknown(StepFailed):
    """Raised inside a step: it could not be checked (a missing file, an unknown version)."""

    status = Status.UNKNOWN


class StepSkipped(StepFailed):
    """Raised inside a step: there is nothing of this kind to check."""

    status = Status.SKIP


class StepNoted(StepFailed):
    """Raised inside a step: the rule holds, and the reader should know this."""

    status = Status.NOTE


@dataclass(slots=True)
class Checklist:
    """Runs steps in order and records each verdict; a step never stops the ones after it.

    A step is a function that returns what it checked, or raises StepFailed or StepUnknown. Any CoopError is a
    failure with its own words; any other exception is UNKNOWN, so a defect in a check can only block.
    """

    subject: str
    steps: list[Step] = field(default_factory=list)

    def run(self, name: str, check: Callable[[], str]) -> None:
        """Run one check and append its step under the next number."""
        number = len(self.steps) + 1
        try:
            self.steps.append(Step(number, name, Status.PASS, check()))
        except StepFailed as failed:
            self.steps.append(Step(number, name, failed.status, failed.checked, failed.why, failed.todo))
        except CoopError as error:
            why = error.what if error.value is None else Sentence("{what} (got {value})", what=Sentence(error.what), value=repr(str(error.value)[:120]))
            self.steps.append(Step(number, name, Status.FAIL, "", why, error.next or ""))
        except Exception as error:  # fail closed: an unforeseen error is a check that could not be made
            self.steps.append(Step(number, name, Status.UNKNOWN, "", Sentence("the check itself broke: {error}", error=f"{type(error).__name__}: {error}")))

    def report(self) -> Report:
        """Return the finished report."""
        return Report(self.subject, tuple(self.steps))

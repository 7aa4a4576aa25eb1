"""Errors a user can act on: what happened, the offending value, what is allowed, the next command."""

from __future__ import annotations

__all__ = ["BadInput", "Complete", "CoopError", "Refused"]


class CoopError(Exception):
    """An expected failure, shown to the user without a traceback.

    Args:
        what: one sentence that says what is wrong and where (file, line, field).
        value: the offending value, shortened for display.
        allowed: what would have been accepted.
        next: the command or act that most likely helps.
    """

    exit_code = 1

    def __init__(self, what: str, *, value: object = None, allowed: str | None = None, next: str | None = None) -> None:
        self.what, self.value, self.allowed, self.next = what, value, allowed, next
        super().__init__(str(self))

    def __str__(self) -> str:
        lines = [self.what]
        if self.value is not None:
            shown = repr(self.value)
            lines.append(f"  got:     {shown if len(shown) <= 200 else shown[:197] + '...'}")
        if self.allowed:
            lines.append(f"  allowed: {self.allowed}")
        if self.next:
            lines.append(f"  next:    {self.next}")
        return "\n".join(lines)

    def as_dict(self) -> dict[str, str | None]:
        """Return the error for `--json` output."""
        value = None if self.value is None else repr(self.value)[:200]
        return {"error": type(self).__name__, "what": self.what, "value": value, "allowed": self.allowed, "next": self.next}


class BadInput(CoopError):
    """A file, option or field that cannot be accepted as it stands."""

    exit_code = 2


class Refused(CoopError):
    """A statement the rules do not allow at this position of the log."""


class Complete(CoopError):
    """What was asked for is there already: nothing was done, and nothing was used up."""

    exit_code = 5

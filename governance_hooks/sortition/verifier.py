"""The re-draw of a panel by anybody: pool, features and seed from the log, then the same program again, and the same people."""

from __future__ import annotations

from functools import cached_property

from governance_hooks import merkle
from governance_hooks.canonical import sha256
from governance_hooks.checkpoint import verify_checkpoint
from governance_hooks.errors import BadInput, Refused
from governance_hooks.proof import Proof
from governance_hooks.register import Register
from governance_hooks.report import Checklist, Report, StepFailed, StepUnknown
from governance_hooks.sortition.draw import INSTALL, Sortition
from governance_hooks.sortition.pool import check_targets, pool_rows
from governance_hooks.sortition.seed import seed_of, witness_lines
from governance_hooks.state.polls import Panel
from governance_hooks.tally import roll_root

__all__ = ["draw_panel", "find_panel", "verify_panel"]


def check_file(data: bytes | None, stated: str | None, what: str) -> None:
    """Refuse a file whose digest is not the one the panel's statement names."""
    found = None if data is None else sha256(data)
    if found != stated:
        raise Refused(f"{what} is not the one the panel was opened with", value=found or "no file", allowed=stated or "none")


def draw_panel(proof: Proof, panel: Panel, note: str, targets: bytes, private: bytes | None, program: Sortition) -> list[str]:
    """Draw a panel from the log, the checkpoint that seeds it, and its files; return the members drawn.

    Raises:
        Refused: a file is not the panel's, the program is of another version, or it found no panel.
    """
    check_file(targets, panel.targets, "the file of targets")
    check_file(private, panel.private_features, "the file of private features")
    if program.engine != panel.engine:
        raise Refused("another version of the program may draw otherwise", value=program.engine, allowed=panel.engine)
    columns, rows = pool_rows(proof.fold(panel.opened), private)
    check_targets(targets, columns, panel.seats)
    return program.draw(columns, rows, targets, panel.seats, panel.algorithm, seed_of(panel.id, note))


class _Redraw:
    def __init__(self, proof: Proof, register: Register, panel: Panel, targets: bytes, private: bytes | None, program: Sortition | None) -> None:
        self.proof, self.register, self.panel = proof, register, panel
        self.targets, self.private, self.program = targets, private, program

    @cached_property
    def before(self) -> Register:
        """The log's state just before the panel was opened."""
        return self.proof.fold(self.panel.opened)

    @property
    def note(self) -> str:
        if self.panel.checkpoint is None:
            raise StepUnknown("this panel is not drawn yet", todo="coop panel draw")
        return self.panel.checkpoint

    # (1) The pool is the members at the panel's position, whoever joined or left since.
    def pool(self) -> str:
        members = self.before.active()
        if roll_root(members) != self.panel.pool_root or frozenset(members) != self.panel.pool:
            raise StepFailed("the pool is not the members in good standing when the panel was opened")
        return f"{len(members)} members in good standing at entry {self.panel.opened}"

    # (2) Targets and private features are the files the panel named before anybody knew the seed.
    def files(self) -> str:
        check_file(self.targets, self.panel.targets, "the file of targets")
        check_file(self.private, self.panel.private_features, "the file of private features")
        columns, _ = pool_rows(self.before, self.private)
        check_targets(self.targets, columns, self.panel.seats)
        return f"targets for {self.panel.seats} seats; features {', '.join(columns)}" + (", some of them private" if self.private else ", all from the log")

    # (3) The seed's checkpoint is the log's, over the first statement of the operator at or after the appointed time.
    def seed(self) -> str:
        checkpoint = verify_checkpoint(self.note, self.register.log_key)
        if merkle.root([merkle.leaf_hash(entry) for entry in self.proof.entries[: checkpoint.size]]) != checkpoint.root:
            raise StepFailed("the seed's checkpoint is not over the entries of this log")
        if checkpoint.size != self.panel.seed_size:
            raise StepFailed(f"the seed's checkpoint has {checkpoint.size} entries, and not {self.panel.seed_size}")
        lines = witness_lines(self.note)
        if lines:
            return f"checkpoint of {checkpoint.size} entries, cosigned by {len(lines)} witnesses"
        return f"checkpoint of {checkpoint.size} entries; NOT grinding-proof without a witness: its writer could try many"

    # (4) The same program draws the same people.
    def again(self) -> str:
        if self.program is None:
            raise StepUnknown("the program sortition is not on this machine", todo=INSTALL)
        if self.program.engine != self.panel.engine:
            raise StepUnknown(f"this machine has {self.program.engine}; the panel was drawn with {self.panel.engine}", todo="install those versions")
        drawn = draw_panel(self.proof, self.panel, self.note, self.targets, self.private, self.program)
        if drawn != list(self.panel.selected):
            others = len(set(drawn) ^ set(self.panel.selected))
            raise StepFailed(f"the draw gives other members than those logged ({others} differ)", todo="do not seat this panel; keep the log as evidence")
        return f"{self.panel.algorithm} draws the same {len(drawn)} members again"


def verify_panel(proof: Proof, register: Register, panel: Panel, targets: bytes, private: bytes | None, program: Sortition | None) -> Report:
    """Check a panel link by link and return the table.

    Args:
        proof: the log's entries.
        register: the state they fold into.
        panel: which panel.
        targets: the file of targets.
        private: the file of private features, if the panel names one.
        program: the program; without it the last step is UNKNOWN.
    """
    work, checklist = (
        _Redraw(proof, register, panel, targets, private, program),
        Checklist(f"Panel {panel.id[7:19]}, {panel.seats} of {len(panel.pool)} by lot"),
    )
    checklist.run("pool frozen before", work.pool)
    checklist.run("targets and features", work.files)
    checklist.run("seed from a later checkpoint", work.seed)
    checklist.run("drawn again", work.again)
    return checklist.report()


def find_panel(register: Register, prefix: str) -> Panel:
    """Return the panel whose statement's digest starts with `prefix`; raise BadInput if there is not exactly one."""
    hits = [panel for panel in register.panels.values() if panel.id.removeprefix("sha256:").startswith(prefix.removeprefix("sha256:"))]
    if len(hits) != 1:
        raise BadInput(("no panel" if not hits else "more than one panel") + " with this digest", value=prefix, next="coop panel show")
    return hits[0]

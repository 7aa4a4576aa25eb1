"""The `coop` command line; every verb is imported only when it is used, so `coop --help` loads no torch."""

from __future__ import annotations

import errno
import importlib
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from commonweights import __version__

if TYPE_CHECKING:
    from governance_hooks.errors import CoopError

__all__ = ["Session", "coop", "main"]

_SECTIONS: dict[str, dict[str, tuple[str, str]]] = {
    "Everybody": {
        "demo": ("demo:demo", "Play the whole story on real data in a few minutes."),
        "status": ("status:status", "Show where the cooperative stands, and what needs you."),
        "why": ("why:why", "Say in plain words what blocks a plan, run or release."),
        "verify": ("verify:verify", "Check a release bundle offline, link by link."),
        "audit": ("audit:audit", "Replay the whole log: signatures, rules, tree."),
        "log": ("log:log", "List, show and prove log entries."),
        "doctor": ("doctor:doctor", "Check this installation."),
    },
    "Members": {
        "join": ("membership:join", "Ask to become a member with your own key."),
        "sign": ("membership:sign", "Add your signature to a drafted statement."),
        "decline": ("membership:decline", "State in the log that you decline a request (registrars)."),
        "append": ("membership:append", "Put a fully signed draft into the log."),
        "key": ("key:key", "List, add, revoke, rotate and recover keys."),
        "consent": ("consent:consent", "Give, show and withdraw consent; receipts of it."),
        "mine": ("mine:mine", "Show what you gave, and where it went."),
        "contribute": ("contribute:contribute", "Give prompts and answers, under your signature."),
        "rate": ("rate:rate", "Score other members' texts, under your signature."),
        "export": ("export:export", "Take your contributions with you, in seven formats."),
        "bylaws": ("bylaws:bylaws", "Show the rules in force, and what an amendment would change."),
        "draft": ("draft:draft", "Log and compare versions of what may be proposed."),
        "propose": ("propose:propose", "Open a vote: run, release, bylaws, admission, halt, appeal, ..."),
        "roll": ("roll:roll", "Show whether you are on a vote's roll, and who has not voted."),
        "vote": ("vote:vote", "Cast or change your ballot."),
        "tally": ("vote:tally", "Count a vote, from the ballots themselves."),
        "secret": ("secret:secret", "Secret ballots: set up, vote, count and audit them."),
        "panel": ("panel:panel", "Panels drawn by lot: open, draw, draw again to check."),
        "object": ("vote:object_to", "Object to an approval while there is time to object (its challenge window)."),
        "halt": ("halt:halt", "Halt an approval for a limited time (oversight body)."),
        "exit": ("community:exit_to_community", "Hand the founders' powers to the members, for ever."),
    },
    "Operators and engineers": {
        "init": ("init:init", "Found a cooperative in a folder."),
        "portal": ("portal:portal", "Serve the members' and the public's web pages."),
        "close": ("vote:close", "Close a vote whose time is over."),
        "erase": ("erase:erase", "Erase what somebody who left and lost every key gave."),
        "build": ("build:build", "Build, verify, compare datasets; prove what is whose in them."),
        "base": ("base:base", "Prepare the demo's base weights, or check a folder of your own."),
        "witness": ("witness:witness", "Watch another cooperative's log: cosign it if it only grows, keep evidence if not."),
        "tokens": ("tokens:tokens", "Make, check and show a dataset as the tokens a model reads."),
        "plan": ("plan:plan", "Resolve a config into the plan members vote on."),
        "proof": ("proof:proof", "Write the portable proof a gate needs."),
        "site": ("site:site", "Clusters somebody lends: add, list, retire; the compute book."),
        "collect": ("collect:collect", "Take what sites have signed into the log; finish their runs."),
        "train": ("train:train", "Train what members approved; resumes what was cut off."),
        "submit": ("submit:submit", "Send an approved run to the SLURM of a site: train, evaluate, write the card."),
        "jobs": ("jobs:jobs", "Show the jobs at sites, what is left of their approvals, and why one does not start."),
        "runs": ("report:runs", "List the runs: status, steps, loss, when, energy."),
        "report": ("report:report", "Draw a run as one HTML page, while it goes on too."),
        "eval": ("evaluate:evaluate", "Measure a run's weights on held-out answers, by language."),
        "leak": ("leak:leak", "Test how much a run's weights give away."),
        "shares": ("shares:shares", "Compute what each guild's texts were worth to a run."),
        "card": ("card:card", "Write the model card of a run."),
        "payout": ("payout:payout", "Share out money by a rule members voted on, to the last cent."),
        "access": ("access:access", "Let outsiders have data: request, vote, price, delivery, proof."),
        "release": ("release:release", "Assemble a release bundle, and publish it after its vote."),
        "slurm": ("slurm:slurm", "Install, check and run the enforcement of votes on a cluster."),
        "weights": ("weights:weights", "Merge an adapter into its base; write GGUF files."),
    },
}
_COMMANDS = {name: spec for section in _SECTIONS.values() for name, spec in section.items()}


@dataclass(slots=True)
class Session:
    """Options every verb sees."""

    folder: Path | None
    json: bool

    def show(self, value: dict[str, Any], text: str) -> None:
        """Print a result: canonical-order JSON with --json, else the text."""
        click.echo(json.dumps(value, sort_keys=True) if self.json else text)


class _LazyGroup(click.Group):
    """Knows names and one-line helps; imports the module of a verb when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, _, attribute = _COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(f"commonweights.commands.{module}"), attribute)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], _COMMANDS, n=1)
            ctx.fail(f"no command {args[0]!r}" + (f"; did you mean {near[0]!r}?" if near else "; see coop --help"))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for section, commands in _SECTIONS.items():
            with formatter.section(section):
                formatter.write_dl([(name, text) for name, (_, text) in commands.items()])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option(
    "-C", "--coop", "folder", type=click.Path(path_type=Path), envvar="COOP", help="The cooperative's folder [default: the nearest one above, or $COOP]."
)
@click.option("--json", "as_json", is_flag=True, help="Print results and errors as JSON.")
@click.version_option(__version__, prog_name="coop")
@click.pass_context
def coop(ctx: click.Context, folder: Path | None, as_json: bool) -> None:
    """Train a language model as a cooperative: only with members' consent, only by their vote.

    \b
    New here?           coop demo
    Check a download:   coop verify DIR
    Found one:          coop init DIR --name NAME --founder KEY --founder KEY

    Exit codes: 0 done, 1 refused, blocked or failed, 2 bad input or could not be checked, 5 complete already, 75 stopped by a signal, start it
    again, 130 stopped by Ctrl-C. `coop verify` has two more: 3 and 4.
    """
    ctx.obj = Session(folder, as_json)


def _of_the_machine(error: OSError) -> CoopError | None:
    """Return in plain words what disk or permissions said no to; None for an error that is a mistake of ours."""
    from governance_hooks.errors import CoopError

    full = error.errno in (errno.ENOSPC, errno.EDQUOT) or (error.errno is None and "free space" in str(error))  # NumPy's has no number
    if not full and error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.EFBIG, errno.ENAMETOOLONG):
        return None
    where = f": {error.filename}" if error.filename else ""
    if full:
        return CoopError(
            f"the disk is full{where}", value=str(error), next="free space or choose another folder, then the same command again; nothing is half-written"
        )
    return CoopError(
        f"the machine refuses to read or write{where}", value=error.strerror or str(error),
        next="choose a folder you may write, or ask whose it is, then the same command again",
    )  # fmt: skip


def main() -> None:
    """Run `coop`; expected errors are printed in full words and without a traceback."""
    from governance_hooks.errors import BadInput, CoopError
    from governance_hooks.report import Blocked

    # Nothing here may fetch anything nobody asked for; libraries read these when they are imported.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("WANDB_MODE", "offline")
    # `coop status --json` means the same as `coop --json status`.
    arguments = sys.argv[1:]
    as_json = "--json" in arguments
    rest = [argument for argument in arguments if argument != "--json"]
    try:
        code = coop(["--json", *rest] if as_json else rest, prog_name="coop", standalone_mode=False)  # returns the code of a command that left early
    except (click.exceptions.Abort, KeyboardInterrupt):
        click.echo("stopped; nothing is half-written, and the same command goes on or begins anew", err=True)
        sys.exit(130)
    except click.ClickException as error:
        if as_json:
            command = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx is not None else "coop"
            click.echo(json.dumps(BadInput(error.format_message(), next=f"{command} --help").as_dict(), sort_keys=True))
        else:
            error.show()
        sys.exit(error.exit_code)
    except OSError as error:
        if (failed := _of_the_machine(error)) is None:
            raise
        click.echo(json.dumps(failed.as_dict(), sort_keys=True)) if as_json else click.echo(f"error: {failed}", err=True)
        sys.exit(failed.exit_code)
    except CoopError as error:
        if as_json:
            click.echo(json.dumps(error.report.as_dict() if isinstance(error, Blocked) else error.as_dict(), sort_keys=True))
        elif isinstance(error, Blocked):
            from commonweights.table import show_report

            click.echo(f"{show_report(error.report)}\n\n{click.style('BLOCKED', fg='red', bold=True)}", err=True)
        else:
            click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()

"""`coop collect`: the cooperative's writer, for what happens at its sites."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from types import FrameType

import click

from commonweights.cli import Session
from commonweights.collecting import Collector, Event
from commonweights.workspace import Workspace, open_workspace
from governance_hooks.errors import BadInput, CoopError
from governance_hooks.statement import now

__all__ = ["collect"]


@click.command()
@click.option("--watch", type=click.IntRange(1), metavar="SECONDS", help="Go on, collecting every so many seconds, until SIGTERM or Ctrl-C.")
@click.option("--site", "names", multiple=True, metavar="NAME", help="Only this site; may be given again [default: all that have a profile in sites/].")
@click.pass_obj
def collect(session: Session, watch: int | None, names: tuple[str, ...]) -> None:
    """Take what the sites have signed into the log, log how runs ended and were evaluated, write their cards, and bring each site a fresh proof.

    \b
    coop collect               once; exit code 1 if something was refused or failed
    coop collect --watch 20    as a service: one line a round in which something happened

    An entry the log refuses stays in the site's outbox, and those after it go on. What is in the log already is passed over, so two writers do no harm.
    Evaluations of an eval job are judged again from the loss of each answer before they are logged (docs/compute.md says what that proves).
    """
    with open_workspace(session.folder) as space:
        collector = Collector(space, _folders(space, names))
        if watch is None:
            events = collector.round()
            session.show({"events": [one.as_dict() for one in events]}, "\n".join(one.text for one in events) or "nothing new")
            if any(one.error is not None for one in events):
                raise click.exceptions.Exit(1)
            return
        _watch(session, collector, watch)


def _folders(space: Workspace, names: tuple[str, ...]) -> dict[str, Path]:
    """Return the folder of each chosen site."""
    from slurm.profile import read_profile, read_profiles

    place = space.root / "sites"
    profiles = {name: read_profile(place / f"{name}.yaml") for name in names} if names else read_profiles(place)
    if not profiles:
        raise BadInput("no site has a profile", allowed=f"{place}/NAME.yaml", next="coop site add NAME --key FILE, and write its profile")
    return {name: Path(profile.site) for name, profile in profiles.items()}


def _watch(session: Session, collector: Collector, seconds: int) -> None:
    """Collect until somebody ends it; a round that has begun is finished."""
    ended = False

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal ended
        ended = True

    before = [(number, signal.signal(number, end)) for number in (signal.SIGTERM, signal.SIGINT)]
    try:
        if not session.json:
            click.echo(f"{now()}  watching {', '.join(collector.sites)} every {seconds} s")
        while not ended:
            try:
                events = collector.round()
            except CoopError as error:  # the log may be back in the next round
                events = [Event("failed", "the log", error)]
            for one in events:
                session.show({"at": now(), **one.as_dict()}, f"{now()}  {one.text}")
            due = time.monotonic() + seconds
            while not ended and time.monotonic() < due:
                time.sleep(min(0.2, seconds))
    finally:
        for number, handler in before:
            signal.signal(number, handler)
    if not session.json:
        click.echo(f"{now()}  stopped")

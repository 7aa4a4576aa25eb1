"""Steps of the chain by the command line that several tests share."""

import json
import time
from pathlib import Path

import yaml

from governance_hooks.statement import now
from tests.clock import standing
from tests.tiny import write_base

CONFIG = {
    "name": "first",
    "base": "tiny",
    "build": "voices",
    "use": {
        "purpose": "dpv:NonCommercialResearch",
        "processing": ["ai:ModelFineTuning", "coop:ModelEvaluation"],
        "recipients": ["coop:PublicViaReleasedWeights"],
        "licence": "Apache-2.0",
    },
    "training": {
        "lora": {"rank": 4, "alpha": 8, "dropout": 0.0, "target_modules": "all-linear"},
        "precision": "32-true",
        "sequence_tokens": 128,
        "sequences_per_step": 2,
        "epochs": 4,
        "max_steps": 12,
        "learning_rate": 0.01,
        "validate_every_steps": 6,
        "checkpoint_every_steps": 6,
    },
    # Two members gave the held-out answers; under t, the default, so few people show nothing.
    "evaluation": {"minimum_items": 4, "resamples": 400, "interval": "bootstrap"},
    "limits": {"max_starts": 3, "max_devices": 1, "max_minutes": 10},
}


def lines(person: str, language: str, count: int = 40) -> str:
    words = {"spa": ("pregunta", "respuesta"), "eus": ("galdera", "erantzuna")}[language]
    rows = [
        {"inputs": f"{words[0]} {person} {i}", "targets": f"{words[1]} {i * 7 % 13}", "language_code": language, "licence": "CC-BY-4.0"} for i in range(count)
    ]
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def decide(coop, home: Path, keys: dict[str, Path], kind: str, target: str, choices: str = "for for for", *, reason: str | None = None) -> str:
    """Open, vote (those against with a reason, if one is given), wait, close."""
    with standing():  # the vote is open for a second
        opened = coop("-C", home, "--json", "propose", kind, target, "--key", keys["anna"])
        assert opened.code == 0, opened.err + opened.out
        proposal = opened.json["proposal"]
        for name, choice in zip(("anna", "bela", "caro"), choices.split(), strict=True):
            why = ["--reason", reason] if reason and choice == "against" else []
            assert coop("-C", home, "vote", proposal, choice, *why, "--key", keys[name]).code == 0
    while now() < opened.json["closes"]:
        time.sleep(0.1)
    assert coop("-C", home, "close", proposal).code == 0
    return proposal


def prepare(coop, home: Path, keys: dict[str, Path], tmp_path: Path) -> Path:
    """Three members contribute, two consent, a build is made and a plan is written."""
    write_base(tmp_path / "tiny")
    for name, language in (("anna", "spa"), ("bela", "eus"), ("caro", "spa")):
        file = tmp_path / f"{name}.jsonl"
        file.write_text(lines(name, language), encoding="utf-8")
        done = coop("-C", home, "contribute", file, "--key", keys[name])
        assert done.code == 0, done.err
        assert "coop consent give" in done.out
    for name in ("anna", "bela"):
        assert coop("-C", home, "consent", "give", "--yes", "--key", keys[name]).code == 0
    built = coop("-C", home, "--json", "build", "make", "voices", "--heldout", "400").json
    assert (built["records"], built["excluded"]) == (80, {"no_consent": 40})
    (tmp_path / "first.yaml").write_text(yaml.safe_dump(CONFIG), encoding="utf-8")
    planned = coop("-C", home, "plan", tmp_path / "first.yaml")
    assert planned.code == 0, planned.err
    assert "at most 10 minutes" in planned.out
    return tmp_path

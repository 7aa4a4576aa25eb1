"""`coop tokens`, the mix in `coop plan`, and `coop build card`, as a shell runs them."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from tests.commonweights.pipeline import CONFIG, decide, prepare


@pytest.fixture
def ready(coop, home: Path, keys: dict[str, Path], tmp_path: Path) -> Path:
    """Two members' rows in a build, and a plan over it."""
    return prepare(coop, home, keys, tmp_path)


def test_tokens_are_made_with_the_plan_shown_and_checked(coop, ready: Path, home: Path) -> None:
    base, config = ["--base", ready / "tiny"], ready / "first.yaml"
    plan = json.loads((home / "plans/first.json").read_bytes())
    made = coop("-C", home, "--json", "tokens", "make", config).json
    assert made["digest"] == plan["tokens"]["digest"]
    assert coop("-C", home, "--json", "tokens", "make", "first", *base).json == made
    verified = coop("-C", home, "--json", "tokens", "verify", "first", "--all", *base).json
    assert verified["tokenised_again"] == 80
    assert coop("-C", home, "--json", "tokens", "verify", config).json["tokenised_again"] < 80
    shown = coop("-C", home, "tokens", "show", config)
    assert "learn  <|im_end|>" in shown.out
    assert "\x1b" not in shown.out
    asked = coop("-C", home, "--json", "tokens", "show", config, "--language", "eus", "--first", "2").json["samples"]
    assert [sample["language"] for sample in asked] == ["eus", "eus"]
    again = coop("-C", home, "--json", "tokens", "show", "first", asked[1]["record"], *base).json["samples"]
    assert again == asked[1:]
    page = ready / "page.html"
    assert coop("-C", home, "tokens", "show", config, "--html", page).code == 0
    assert "<mark" in page.read_text(encoding="utf-8")
    assert page.stat().st_mode & 0o777 == 0o600

    [arrow] = (home / "builds").glob("voices.tokens/*/tokens.arrow")
    data = bytearray(arrow.read_bytes())
    data[len(data) // 2] ^= 1
    arrow.write_bytes(data)
    refused = coop("-C", home, "tokens", "verify", config)
    assert (refused.code, "not the file tokens.json names" in refused.err) == (1, True)
    shutil.rmtree(arrow.parent)
    missing = coop("-C", home, "tokens", "verify", config)
    assert (missing.code, "coop tokens make" in missing.err) == (2, True)
    assert coop("-C", home, "--json", "tokens", "make", config).json == made


def test_canaries_are_made_once_shown_in_plain_words_and_checked_with_the_seed_or_said_not_to_be(coop, ready: Path, home: Path) -> None:
    training = {key: value for key, value in CONFIG["training"].items() if key != "max_steps"} | {"sequence_tokens": 256}
    (ready / "birds.yaml").write_text(yaml.safe_dump(CONFIG | {"name": "birds", "canaries": 20, "training": training}), encoding="utf-8")
    early = coop("-C", home, "tokens", "make", ready / "birds.yaml")
    assert (early.code, "birds.seed" in early.err, "coop plan" in early.err) == (2, True, True)
    planned = coop("-C", home, "plan", ready / "birds.yaml")
    assert planned.code == 0, planned.err
    assert "Canaries: 20 lines of random syllables that no member wrote" in planned.out
    seed = home / "private/canaries/birds.seed"
    assert (seed.stat().st_mode & 0o777, len(seed.read_bytes())) == (0o600, 32)
    plan = (home / "plans/birds.json").read_bytes()
    assert coop("-C", home, "plan", ready / "birds.yaml").code == 0
    assert (home / "plans/birds.json").read_bytes() == plan
    commitment = json.loads(plan)["canaries"]["commitment"]

    base, included = ["--base", ready / "tiny"], json.loads(plan)["tokens"]["languages"]["zxx"]["rows"]
    shown = coop("-C", home, "tokens", "show", "birds", *base)
    assert commitment in shown.out
    assert "canary-" not in shown.out
    assert "canary-" in coop("-C", home, "tokens", "show", "birds", "--language", "zxx", *base).out
    full = coop("-C", home, "--json", "tokens", "verify", "birds", "--all", *base).json
    assert (full["tokenised_again"], full["canaries_unchecked"]) == (80 + included, False)
    seed.rename(ready / "birds.seed")
    told = coop("-C", home, "tokens", "verify", "birds", "--all", *base)
    assert (told.code, "the canaries were not made again: their seed is not at" in told.out) == (0, True)
    seed.write_bytes(bytes(32))
    wrong = coop("-C", home, "tokens", "verify", "birds", *base)
    assert (wrong.code, commitment in wrong.err) == (2, True)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["show", "CONFIG", "nobody"], "no such text"),
        (["show", "CONFIG", "--language", "fra"], "no training row of this language"),
        (["make", "nothing"], "there is no plan nothing"),
    ],
)
def test_what_is_not_there_is_said_so(coop, ready: Path, home: Path, words: list[str], why: str) -> None:
    done = coop("-C", home, "tokens", *(ready / "first.yaml" if word == "CONFIG" else word for word in words))
    assert done.code == 2
    assert why in done.err


def test_a_row_that_does_not_fit_says_how_long_it_is(coop, ready: Path, home: Path) -> None:
    config = CONFIG | {"training": CONFIG["training"] | {"sequence_tokens": 34, "max_dropped_fraction": 1.0}}
    (ready / "short.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    made = coop("-C", home, "--json", "tokens", "make", ready / "short.yaml")
    assert made.code == 0, made.err
    out = Path(made.json["tokens"]) / "left_out.jsonl"
    row = json.loads(out.read_bytes().splitlines()[0])
    done = coop("-C", home, "tokens", "show", ready / "short.yaml", row["record"])
    assert done.code == 2
    assert f"got:     {row['tokens']}" in done.err


def test_members_see_the_mix_before_the_vote(coop, ready: Path, home: Path) -> None:
    config = CONFIG | {"name": "even", "mix": {"strategy": "unimax", "max_epochs": 4}}
    (ready / "even.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    done = coop("-C", home, "plan", ready / "even.yaml")
    assert done.code == 0, done.err
    assert "no language over 4 times" in done.out
    assert "in mix" in done.out
    drawn = (home / "plans/even.mix.svg").read_text(encoding="utf-8")
    assert "Languages in plan even" in drawn
    assert json.loads((home / "plans/even.json").read_bytes())["mix"]["strategy"] == "unimax"
    shutil.rmtree(home / "builds")  # the plan alone tells the mix
    told = coop("-C", home, "--json", "tokens", "mix", "even", "--svg", ready / "even.svg").json
    assert [row["language"] for row in told["languages"]] == ["eus", "spa"]
    assert (ready / "even.svg").read_text(encoding="utf-8") == drawn
    assert "in mix" in coop("-C", home, "tokens", "mix", home / "plans/even.json").out
    (ready / "odd.yaml").write_text(yaml.safe_dump(config | {"mix": {"strategy": "unimax", "max_epoch": 4}}), encoding="utf-8")
    refused = coop("-C", home, "plan", ready / "odd.yaml")
    assert (refused.code, "did you mean 'max_epochs'" in refused.err) == (2, True)


def test_a_card_is_written_beside_the_build_and_over_nothing_else(coop, ready: Path, home: Path) -> None:
    done = coop("-C", home, "build", "card", "voices")
    assert done.code == 0, done.err
    assert json.loads((home / "builds/voices.card/croissant.json").read_bytes())["name"] == "voices"
    assert "fewer than 5" in (home / "builds/voices.card/README.md").read_text(encoding="utf-8")
    assert coop("-C", home, "build", "card", "voices").code == 0
    assert coop("-C", home, "build", "verify", "voices").code == 0
    refused = coop("-C", home, "build", "card", "voices", "--out", ready / "tiny")
    assert (refused.code, "is no card" in refused.err) == (2, True)
    assert (ready / "tiny/config.json").is_file()
    assert coop("-C", home, "build", "card", "none").code == 2


def test_a_preference_plan_says_what_is_preferred_and_its_pairs_are_made_and_checked(coop, ready: Path, home: Path, keys: dict[str, Path]) -> None:
    for name, answer, parents in (("anna", "quizás", False), ("bela", "respuesta", True)):
        rows = [
            {"inputs": f"¿cuánto es {i}?", "targets": f"{answer} {i * 7 % 13}", "language_code": "spa", "licence": "CC-BY-4.0", "record_id": f"{name}-{i:02d}"}
            | ({"parents": [f"anna-{i:02d}"]} if parents else {})
            for i in range(20)
        ]
        (ready / "edits.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        assert coop("-C", home, "contribute", ready / "edits.jsonl", "--key", keys[name]).code == 0
        assert coop("-C", home, "consent", "give", "--yes", "--key", keys[name]).code == 0
    assert coop("-C", home, "build", "make", "edits", "--heldout", "0").code == 0
    config = CONFIG | {"name": "prefer", "build": "edits", "training": CONFIG["training"] | {"objective": "dpo"}}
    (ready / "prefer.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    planned = coop("-C", home, "plan", ready / "prefer.yaml")
    assert planned.code == 0, planned.err
    assert "An edit is preferred over what it replaced: 20 pairs." in planned.out
    assert "every pair once an epoch" in planned.out
    plan = json.loads((home / "plans/prefer.json").read_bytes())
    assert (plan["tokens"]["pairs"]["spa"]["edits"], plan["tokens"]["languages"]["spa"]["rows"]) == (20, 20)
    base = ["--base", ready / "tiny"]
    made = coop("-C", home, "--json", "tokens", "make", "prefer", *base).json
    assert made["digest"] == plan["tokens"]["digest"]
    assert made["pairs"]["languages"]["spa"]["train"]["rows"] == 20
    assert "20 pairs by edits" in coop("-C", home, "tokens", "make", "prefer", *base).out
    assert coop("-C", home, "tokens", "verify", "prefer", "--all", *base).code == 0
    assert "  pairs" in coop("-C", home, "tokens", "mix", "prefer").out
    (ready / "birds.yaml").write_text(yaml.safe_dump(config | {"name": "birds", "canaries": 4}), encoding="utf-8")
    assert "a canary has no better or worse answer" in coop("-C", home, "plan", ready / "birds.yaml").err
    decide(coop, home, keys, "run", "prefer")
    trained = coop("-C", home, "train", "prefer", *base, "--no-eval")
    assert trained.code == 0, trained.err
    record = json.loads((home / "runs/prefer/run.json").read_bytes())
    assert (record["status"], record["trained_records"]) == ("completed", 40)
    assert coop("-C", home, "audit").code == 0

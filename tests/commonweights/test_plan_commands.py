"""`coop plan` and `coop plan explain`, as a shell runs them."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.commonweights.pipeline import CONFIG, prepare


@pytest.fixture
def ready(coop, home: Path, keys: dict[str, Path], tmp_path: Path) -> Path:
    """Two members' rows in a build, and a plan over it."""
    return prepare(coop, home, keys, tmp_path)


def write(ready: Path, name: str, **training: object) -> Path:
    config = CONFIG | {"name": name, "training": CONFIG["training"] | training, "limits": CONFIG["limits"] | {"max_devices": 4}}
    path = ready / f"{name}.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


def test_a_plan_comes_with_its_memory_its_cost_a_row_and_a_batch_script(coop, ready: Path, home: Path) -> None:
    config = write(ready, "wide", strategy="ddp", sequences_per_step=8)
    done = coop("-C", home, "plan", config)
    assert done.code == 0, done.err
    for heading in ("What is trained:", "A TRAINING ROW", "MEMORY of one device of 4", "TIME AND ENERGY on 4 devices", "coop propose run wide"):
        assert heading in done.out
    assert "* ddp" in done.out
    tables = done.out[done.out.index("MEMORY of") : done.out.index("plan    ")]
    assert max(len(line) for line in tables.splitlines()) <= 100
    row = done.out[done.out.index("A TRAINING ROW") : done.out.index("It is private")]
    assert "<|im_end|>|⟧" in row or "<|im_end|>|\\n\n|⟧" in row
    script = (home / "plans/wide.sbatch").read_text()
    assert "--ntasks-per-node=4\n" in script
    assert script.count(f"coop -C {home} train wide") == 1
    assert "A TRAINING ROW" not in coop("-C", home, "plan", config, "--no-sample").out


def test_a_language_that_could_never_pass_is_named_before_anybody_votes(coop, ready: Path, home: Path) -> None:
    def planned(**evaluation: object) -> str:
        config = yaml.safe_load((ready / "first.yaml").read_text(encoding="utf-8"))
        config["evaluation"] = {"minimum_items": 4} | evaluation
        (ready / "watched.yaml").write_text(yaml.safe_dump(config | {"name": "watched"}), encoding="utf-8")
        made = coop("-C", home, "plan", ready / "watched.yaml", "--force")
        assert made.code == 0, made.err
        return str(made.out)

    assert "WATCH" not in planned(interval="bootstrap")
    told = planned(interval="t", allow_insufficient=False)  # one member gave all answers of each language
    assert "WATCH: 2 of 2 languages cannot pass this policy, whatever the run does; each BLOCKS THE RELEASE, unless members waive it:" in told
    assert "the rows kept aside come from too few people: 1, of the 5 that interval t needs" in told
    assert "a language needs at least 4 rows kept aside from at least 5 people; one in which it is not shown blocks the release" in told
    told = planned(minimum_items=1000)
    assert "rows are kept aside, of 1000" in told
    assert "each may be released all the same, and is named:" in told


def test_named_hardware_says_what_fits_and_what_a_run_takes(coop, ready: Path, home: Path) -> None:
    config = write(ready, "wide", strategy="fsdp2", sequences_per_step=8)
    told = coop("-C", home, "--json", "plan", config, "--hardware", "h100", "--devices", "2", "--pue", "1.3").json["estimate"]
    assert [row["name"] for row in told["hardware"]] == ["h100"]
    assert (told["devices"], told["pue"]) == (2, 1.3)
    assert {row["strategy"]: row["planned"] for row in told["memory"]}["fsdp2"]
    for row in told["memory"]:
        assert row["largest_forward"] >= 1
        assert row["peak"] >= sum(row[part] for part in ("weights", "gradients", "optimizer", "runtime"))
    every = coop("-C", home, "--json", "plan", config).json["estimate"]["hardware"]
    assert {"h100", "rtx3090", "mi300x", "cpu-core"} <= {row["name"] for row in every}
    assert all(row["source"] for row in every)
    unknown = coop("-C", home, "plan", config, "--hardware", "h10")
    assert (unknown.code, "a100-80" in unknown.err) == (2, True)
    many = coop("-C", home, "plan", config, "--devices", "5")
    assert (many.code, "more devices than the plan allows" in many.err, "limits.max_devices = 4" in many.err) == (2, True, True)
    few = write(ready, "few", strategy="ddp", sequences_per_step=3)
    assert coop("-C", home, "--json", "plan", few).json["estimate"]["devices"] == 3
    idle = coop("-C", home, "plan", few, "--devices", "4")
    assert (idle.code, "some would idle" in idle.err) == (2, True)
    alone = coop("-C", home, "plan", write(ready, "alone"), "--devices", "2")  # its script would start two processes, which refuse
    assert (alone.code, "a plan with strategy single runs in one process" in alone.err) == (2, True)
    assert not (home / "plans/alone.sbatch").exists()
    named = coop("-C", home, "plan", few, "--hardware", "h100", "--no-sample").out
    assert max(len(line) for line in named[named.index("MEMORY of") : named.index("plan    ")].splitlines()) <= 100
    assert " 4096+" in named  # no more than that is ever asked for


def test_a_config_that_is_not_there_or_differs_from_the_plan_of_its_name_says_what_to_do(coop, ready: Path, home: Path) -> None:
    absent = coop("-C", home, "plan", ready / "first.yml")
    assert (absent.code, "coop plan --example >" in absent.err) == (2, True)
    swapped = coop("-C", home, "plan", home / "plans/first.json")
    assert (swapped.code, "is a plan already" in swapped.err) == (2, True)
    for verb in (["train"], ["plan", "explain"]):
        swapped = coop("-C", home, *verb, ready / "first.yaml")
        assert (swapped.code, "first.yaml is a config" in swapped.err) == (2, True)
        near = coop("-C", home, *verb, "frist")
        assert (near.code, "did you mean 'first'? known: first" in near.err) == (2, True)
    changed = write(ready, "first", seed=5)
    refused = coop("-C", home, "plan", changed)
    assert (refused.code, "they differ in limits, training" in refused.err) == (2, True)


def test_a_run_that_does_not_fit_is_told_so_and_what_would(coop, ready: Path, home: Path) -> None:
    config = write(ready, "huge", sequences_per_step=9000, sequences_per_forward=9000, max_steps=1)
    done = coop("-C", home, "plan", config, "--hardware", "rtx3090", "--no-sample")
    assert "DOES NOT FIT NVIDIA RTX 3090 24 GB: set training.sequences_per_forward to" in done.out


def test_a_base_of_another_kind_is_planned_without_an_estimate(coop, ready: Path, home: Path) -> None:
    other = Path(shutil.copytree(ready / "tiny", ready / "moe"))
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"num_local_experts": 8}))
    path = write(ready, "moe")
    path.write_text(path.read_text().replace("base: tiny", "base: moe"))
    done = coop("-C", home, "plan", path, "--hardware", "h100")
    assert done.code == 0, done.err
    assert "No estimate:" in done.out
    assert "mixtures of experts" in done.out


def test_a_dry_run_is_part_of_the_plan(coop, ready: Path, home: Path) -> None:
    done = coop("-C", home, "plan", write(ready, "wide", strategy="fsdp2", sequences_per_step=5), "--dry-run", "3", "--no-sample")
    assert done.code == 0, done.err
    assert "DRY RUN of 3 processes" in done.out
    assert "processes 0, 1: 2 sequences a step" in done.out
    assert "one step ran on fake tensors" in done.out
    said = coop("-C", home, "plan", write(ready, "zero", strategy="zero2", sequences_per_step=5), "--dry-run", "3", "--no-sample").out
    assert "no step ran: DeepSpeed cannot run on fake tensors" in said


def test_members_without_build_or_base_still_read_what_a_plan_means(coop, ready: Path, home: Path, tmp_path: Path) -> None:
    full = coop("-C", home, "plan", "explain", "first", "--base", ready / "tiny", "--hardware", "rtx4090")
    assert full.code == 0, full.err
    assert "Estimate, not measured:" in full.out
    assert "Size: 12 steps" in full.out
    plan = Path(shutil.copy(home / "plans/first.json", tmp_path / "sent.json"))
    shutil.rmtree(home / "builds/voices")
    bare = coop("-C", home, "plan", "explain", plan, "--base", ready / "tiny")
    assert bare.code == 0, bare.err
    assert "village/tiny" in bare.out
    assert "device-hours" in bare.out
    assert "left out here: no dataset of this cooperative" in bare.out
    assert coop("-C", home, "--json", "plan", "explain", plan, "--base", ready / "tiny").json["size"] is None


def test_the_examples_are_printed_by_name(coop) -> None:
    assert "name: first-voices" in coop("plan", "--example").out
    assert coop("plan", "--example").out == coop("plan", "--example", "small").out
    assert "strategy: fsdp2" in coop("plan", "--example", "large").out
    assert coop("plan", "--example", "huge").code == 2


def test_a_plan_whose_tokens_are_made_is_shown_without_torch_or_transformers(ready: Path, home: Path) -> None:
    code = (
        "import sys; from commonweights.cli import coop; "
        f"coop(['-C', {str(home)!r}, 'plan', {str(ready / 'first.yaml')!r}, '--hardware', 'h100'], standalone_mode=False); "
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-500:]

"""A release holds its leak test, and verification recomputes it: one that was touched, or is gone, breaks link 10."""

import json
import shutil
from pathlib import Path

from governance_hooks.canonical import dumps, sha256
from tests.commonweights.pipeline import decide, prepare
from tests.commonweights.test_leak_commands import LEAK, plan

LINK = "leak test under the voted policy"


def failed(coop, folder: Path) -> dict[str, str]:
    return {step["name"]: step["why"] for step in coop("--json", "verify", folder).json["steps"] if step["status"] == "FAIL"}


def test_a_release_is_verified_with_its_leak_test(coop, home: Path, keys: dict[str, Path], tmp_path: Path) -> None:
    folder = prepare(coop, home, keys, tmp_path)
    base = ["--base", folder / "tiny"]
    assert plan(coop, home, folder, "second", LEAK).code == 0
    decide(coop, home, keys, "run", "second")
    assert coop("-C", home, "train", "second", *base).code == 0
    made = coop("-C", home, "release", "assemble", "second", "--no-derived", "--incomplete")
    assert made.code == 0, made.err
    decide(coop, home, keys, "release", "second")
    published = coop("-C", home, "release", "publish", "second")
    assert published.code == 0, published.out + published.err
    bundle = home / "releases/second"
    steps = {step["name"]: step for step in coop("--json", "verify", bundle).json["steps"]}
    assert steps[LINK]["status"] == "PASS"
    assert "40 made-up texts (canaries) judged again" in steps[LINK]["checked"]

    copy = shutil.copytree(bundle, tmp_path / "copy")
    record = json.loads((copy / "privacy/leak.json").read_bytes())
    record["numbers"]["epsilon"]["lower_bound"] = 9
    (copy / "privacy/leak.json").write_bytes(dumps(record))
    release = json.loads((copy / "release.json").read_bytes())
    for entry in release["files"]:
        if entry["path"] == "privacy/leak.json":
            data = (copy / entry["path"]).read_bytes()
            entry.update(size=len(data), sha256=sha256(data))
    (copy / "release.json").write_bytes(dumps(release))
    assert "does not follow" in failed(coop, copy)[LINK]
    for name in ("leak.json", "canaries.jsonl"):
        (copy / "privacy" / name).unlink()
    release["files"] = [entry for entry in release["files"] if not entry["path"].startswith("privacy/")]
    (copy / "release.json").write_bytes(dumps(release))
    assert "asks for a leak test" in failed(coop, copy)[LINK]

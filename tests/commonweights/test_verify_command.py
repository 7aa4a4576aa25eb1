"""`coop verify` as strangers run it: one table, one JSON document, five exit codes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from governance_hooks.canonical import dumps, sha256
from model_card.explain import NOT_PROVEN
from model_card.verify import LINKS
from tests.model_card.conftest import _released, _whole_of, bundle, merged, tiny_base, whole

__all__ = ["_released", "_whole_of", "bundle", "merged", "tiny_base", "whole"]

FIELDS = [
    "coop",
    "exit_code",
    "explained",
    "format",
    "log",
    "made_again",
    "name",
    "passed",
    "pinned",
    "release",
    "standing",
    "steps",
    "subject",
    "valid",
    "verdict",
]


def test_json_has_one_form_whatever_the_outcome(coop: Any, bundle: Path) -> None:
    good = coop("--json", "verify", bundle).json
    (bundle / "extra").write_bytes(b"")
    bad = coop("--json", "verify", bundle).json
    (bundle / "extra").unlink()
    (bundle / "run.json").unlink()
    absent = coop("--json", "verify", bundle).json
    for document, verdict, code in ((good, "valid", 0), (bad, "invalid", 1), (absent, "unchecked", 2)):
        assert sorted(document) == FIELDS
        assert (document["format"], document["verdict"], document["exit_code"]) == ("coop.verification/v1", verdict, code)
        assert [step["number"] for step in document["steps"]] == list(range(1, 15))
        assert {"number", "name", "status", "checked", "why", "todo"} == set(document["steps"][0])
    assert good["release"] == sha256((bundle / "release.json").read_bytes())


def test_a_stale_proof_has_its_own_exit_code_and_only_when_asked(coop: Any, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("governance_hooks.statement.now", lambda: "2031-01-01T00:00:00Z")
    assert coop("verify", bundle).code == 0
    asked = coop("verify", bundle, "--now")
    assert (asked.code, "VALID, AND NOT FRESH" in asked.out) == (4, True)
    assert coop("verify", bundle, "--now", "--max-age-days", "9999").code == 0


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (("--max-age-days", "3"), "--max-age-days is for --now"),
        (("--base", "."), "--base is for --rederive"),
        (("--pin", "5bc2b8fa9731"), "--pin is not a digest"),
        (("--pin", "sha256:5bc2b8fa9731"), "--pin is not a digest"),
    ],
)
def test_an_option_that_would_check_nothing_is_refused(coop: Any, bundle: Path, asked: tuple[str, ...], words: str) -> None:
    """Somebody who gave it would take VERIFIED, or NOT VERIFIED, for an answer to it."""
    refused = coop("verify", bundle, *asked)
    assert (refused.code, words in refused.err, refused.out) == (2, True, "")


def test_a_folder_that_is_no_release_says_so_and_names_the_one_in_it(coop: Any, bundle: Path) -> None:
    above = coop("verify", bundle.parent, "--member", "m-1")
    assert above.code == 1  # other files lie there, whatever it is
    assert f"no release.json in {bundle.parent}; did you mean" in above.out
    assert str(bundle) in above.out
    assert "--member: nothing is shown of a release that does not hold" in above.out
    assert "name the folder of a downloaded release" in coop("verify", bundle / "data").out
    assert "no release.json" not in coop("verify", bundle).out


def test_a_link_without_anything_to_check_can_be_required(coop: Any, bundle: Path) -> None:
    assert coop("verify", bundle, "--require", "5", "--require", "consent").code == 0
    required = coop("verify", bundle, "--require", "merged")
    assert required.code == 2
    assert "required, and nothing was made from the run's weights" in required.out
    assert "COULD NOT CHECK" in required.out
    assert "no such link" in coop("verify", bundle, "--require", "15").err


def test_explain_tells_of_one_link_or_of_all_and_of_what_nothing_proves(coop: Any, bundle: Path) -> None:
    everything = coop("verify", "--explain").out
    assert all(name in everything for name, _ in LINKS)
    assert NOT_PROVEN in everything
    one = coop("verify", "--explain", "11").out
    assert "coop verify --rederive" in one
    assert "consent" not in one
    assert coop("verify", "--explain", "99").code == 2
    with_table = coop("verify", bundle, "--explain")
    assert (with_table.code, "What this does not prove" in with_table.out, "VERIFIED" in with_table.out) == (0, True, True)
    assert [link["number"] for link in coop("--json", "verify", "--explain", "release").json["links"]] == [4]
    assert [link["number"] for link in coop("--json", "verify", bundle, "--explain", "4").json["explained"]["links"]] == [4]


def test_a_member_asks_and_nothing_is_shown_of_a_release_that_does_not_hold(coop: Any, bundle: Path) -> None:
    member = json.loads((bundle / "data/ledger.jsonl").read_text().splitlines()[0])["authors"][0]
    shown = coop("verify", bundle, "--member", member)
    assert shown.code == 0
    assert f"member {member}, asked by member" in shown.out
    assert "ballot   on the release: counted, for" in shown.out
    view = coop("--json", "verify", bundle, "--member", member).json
    assert (view["format"], view["verification"]["verdict"]) == ("coop.member-view/v1", "valid")
    (bundle / "extra").write_bytes(b"")
    broken = coop("verify", bundle, "--member", member)
    assert (broken.code, "asked by" in broken.out) == (1, False)


def test_what_was_made_is_made_again_to_the_last_byte(coop: Any, whole: Path, tiny_base: Path) -> None:
    made = coop("--json", "verify", whole, "--rederive", "--base", tiny_base)
    assert made.code == 0, made.out + made.err
    statuses = {step["name"]: step["status"] for step in made.json["made_again"]["steps"]}
    merged = "PASS" if (whole / "adapter").is_dir() else "SKIP"
    assert statuses == {"base weights": "PASS", "merged weights": merged, "GGUF f16": "PASS", "GGUF q8_0": "PASS", "card from card.json": "PASS"}
    assert "--rederive makes weights again from the base" in coop("verify", whole, "--rederive").err


def test_weights_that_say_they_were_merged_and_were_not_are_found_out(merged: Path, tiny_base: Path, tmp_path: Path) -> None:
    """Records, digests and even a vote can be made to fit; the merge cannot."""
    from commonweights.rederiving import rederive
    from governance_hooks.canonical import digest
    from model_card.verify import examine
    from tests.model_card.test_verify import rehash

    weights, note = merged / "model.safetensors", merged / "derived/merge.json"
    raw = bytearray(weights.read_bytes())
    raw[-2] ^= 1
    weights.write_bytes(bytes(raw))
    record = json.loads(note.read_bytes())
    for entry in record["outputs"]:
        if entry["path"] == "model.safetensors":
            entry["sha256"] = sha256(bytes(raw))
    record["weights"] = digest(record["outputs"])
    note.write_bytes(dumps(record))
    shutil.rmtree(merged / "gguf")
    for kind in ("f16", "q8_0"):
        (merged / f"derived/village-lm-{kind}.json").unlink()
    rehash(merged)
    report, found = examine(merged)
    assert report.steps[10].status == "PASS"  # as far as records can tell
    again = rederive(found, tiny_base)
    assert [(step.name, step.status) for step in again.steps][1] == ("merged weights", "FAIL")
    assert "model.safetensors" in again.steps[1].why
    other = Path(shutil.copytree(tiny_base, tmp_path / "other"))
    (other / "chat_template.jinja").write_text("{{ other }}")
    assert [step.status for step in rederive(found, other).steps][:2] == ["UNKNOWN", "UNKNOWN"]  # no fault of the release


def test_verifying_imports_nothing_heavy(bundle: Path) -> None:
    program = (
        "import sys; sys.argv = ['coop', 'verify', sys.argv[1]]\n"
        "from commonweights.cli import main\n"
        "try: main()\nexcept SystemExit as left: assert left.code == 0, left.code\n"
        "heavy = {'torch', 'numpy', 'transformers', 'pyarrow', 'safetensors', 'sqlalchemy', 'rich'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", program, str(bundle)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

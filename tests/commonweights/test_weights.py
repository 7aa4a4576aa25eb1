"""`coop weights` on a finished run of a tiny model, by the command line."""

import shutil
from pathlib import Path

from governance_hooks.canonical import dumps, loads
from tests.commonweights.pipeline import decide, prepare


def test_from_a_finished_run_to_gguf(coop, home: Path, keys: dict[str, Path], tmp_path: Path) -> None:
    ready = prepare(coop, home, keys, tmp_path)
    base = ["--base", ready / "tiny"]
    assert coop("-C", home, "weights", "merge", "first", *base).code == 2  # no run yet
    decide(coop, home, keys, "run", "first", "for for against")
    assert coop("-C", home, "train", "first", *base).code == 0
    assert "coop weights merge first" in coop("-C", home, "weights", "gguf", "first").err

    merged = coop("-C", home, "--json", "weights", "merge", "first", *base)
    assert merged.code == 0, merged.out
    assert (merged.json["run"], merged.json["licence"], merged.json["parity"]["texts"]) == ("first", "Apache-2.0", "heldout")
    assert "exists already" in coop("-C", home, "weights", "merge", "first", *base).err
    written = coop("-C", home, "weights", "gguf", "first", "--type", "f16")
    assert written.code == 0, written.err
    assert "GGUF f16" in written.out
    assert loads((home / "runs/first/first-f16.json").read_bytes(), floats=True)["source"] == merged.json["weights"]

    # From the release bundle anybody makes the same weights.
    assert coop("-C", home, "release", "assemble", "first", "--incomplete", "--no-derived").code == 0
    bundle = home / "releases/first"
    again = coop("--json", "weights", "merge", "--adapter", bundle, *base, "--out", tmp_path / "again", "--threads", "3")
    assert again.code == 0, again.out
    assert again.json["weights"] == merged.json["weights"]
    assert again.json["plan"] == merged.json["plan"]
    folder = coop("-C", home, "weights", "gguf", tmp_path / "again", "--type", "f16", "--out", tmp_path / "again.gguf", "--no-check")
    assert "NOT CHECKED" in folder.out
    assert (tmp_path / "again.gguf").read_bytes() == (home / "runs/first/first-f16.gguf").read_bytes()

    # What blocks: another base, a changed bundle, a changed adapter, a run that may not be passed on, half a command.
    other = Path(shutil.copytree(ready / "tiny", tmp_path / "other"))
    (other / "chat_template.jinja").write_text("{{ other }}")
    out = ["--out", tmp_path / "never"]
    assert "not the base the adapter was trained on" in coop("-C", home, "weights", "merge", "first", "--base", other, *out).err
    (bundle / "adapter/extra.bin").write_bytes(b"\x80")
    assert "is not a whole release" in coop("weights", "merge", "--adapter", bundle, *base, *out).err
    assert coop("weights", "merge", "--adapter", bundle, *base).code == 2
    assert coop("-C", home, "weights", "merge", "first", "--adapter", bundle, *base, *out).code == 2
    (tmp_path / "again/tokenizer.json").write_text("{}")
    assert "differs from its export.json" in coop("weights", "gguf", tmp_path / "again", "--out", tmp_path / "b.gguf").err
    adapter = home / "runs/first/adapter/adapter_config.json"
    before = adapter.read_bytes()
    adapter.write_bytes(before + b" ")
    assert "is not the file run.json names" in coop("-C", home, "weights", "merge", "first", *base, *out).err
    adapter.write_bytes(before)
    run = home / "runs/first/run.json"
    run.write_bytes(dumps(loads(run.read_bytes(), floats=True) | {"unreleasable": "withdrawal"}))
    assert "another record" in coop("-C", home, "weights", "merge", "first", *base, *out).err
    assert not (tmp_path / "never").exists()

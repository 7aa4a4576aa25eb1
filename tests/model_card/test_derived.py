"""Records of merged and GGUF files that do not fit are refused, each for its own reason, also if release.json and everything else was made to fit."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from governance_hooks.canonical import digest, sha256
from governance_hooks.errors import BadInput, CoopError
from model_card.gguf_header import read_gguf_header
from model_card.verify import verify
from tests.model_card.test_verify import edit, rehash


def why(folder: Path, number: int) -> str:
    rehash(folder)
    report = verify(folder)
    assert report.steps[0].status == "PASS", report.text()
    step = report.steps[number - 1]
    assert step.status == "FAIL", report.text()
    return step.why


def inside(*keys: str, value: Any) -> Callable[[Any], None]:
    def change(document: Any) -> None:
        for key in keys[:-1]:
            document = document[key]
        document[keys[-1]] = value

    return change


@pytest.mark.parametrize(
    ("path", "change", "words"),
    [
        ("derived/merge.json", inside("format", value="coop.export/v9"), "no record of format"),
        ("derived/merge.json", inside("rule", value="by hand"), "another rule"),
        ("derived/merge.json", inside("run", value="run-2"), "another run"),
        ("derived/merge.json", inside("plan", value="sha256:" + "0" * 64), "another plan"),
        ("derived/merge.json", inside("name", value="other"), "another name"),
        ("derived/merge.json", inside("licence", value="CC-BY-4.0"), "another licence"),
        ("derived/merge.json", inside("base", "digest", value="sha256:" + "0" * 64), "another base"),
        ("derived/merge.json", inside("weights", value="sha256:" + "0" * 64), "another weights"),
        ("derived/merge.json", inside("outputs", value=[]), "other outputs"),
        ("derived/merge.json", inside("adapter", "scale", value=3), "adapter.scale is not the run's"),
        ("derived/merge.json", inside("adapter", "files", value=[]), "adapter.files is not the run's"),
        ("derived/merge.json", inside("adapter", value=None), "adapter.digest is not the run's"),
        ("derived/village-lm-f16.json", inside("source", value="sha256:" + "0" * 64), "another source"),
        ("derived/village-lm-f16.json", inside("type", value="q8_0"), "another type"),
        ("derived/village-lm-q8_0.json", inside("licence", value="MIT"), "another licence"),
    ],
)
def test_a_record_that_is_about_something_else(merged: Path, path: str, change: Callable[[Any], None], words: str) -> None:
    edit(merged, path, change)
    assert words in why(merged, 11)


def refit(folder: Path) -> None:
    """Make the records of what was made fit the files at the root again, as a forger would."""
    root = [
        path
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name not in ("README.md", "card.json", "plan.json", "run.json", "release.json", "proof.jsonl.gz")
    ]
    files = [{"path": path.name, "size": path.stat().st_size, "sha256": sha256(path.read_bytes())} for path in root]
    edit(folder, "derived/merge.json", lambda record: record.update(outputs=files, weights=digest(files)))
    shutil.rmtree(folder / "gguf")
    for note in (folder / "derived").glob("village-lm-*.json"):
        note.unlink()


@pytest.mark.parametrize("name", ["tokenizer.json", "chat_template.jinja", "tokenizer_config.json", "generation_config.json"])
def test_tokenizer_and_template_are_the_voted_bases(whole: Path, name: str) -> None:
    """A template can put words into every prompt: it is no detail."""
    (whole / name).write_bytes((whole / name).read_bytes() + b" ")
    if (whole / "adapter").is_dir():
        refit(whole)
        assert f"{name} is not the voted base's" in why(whole, 11)
    else:
        assert "the weights are not the output run.json names" in why(whole, 6)


@pytest.mark.parametrize(
    "added", [{"auto_map": {"AutoModel": "modeling.Evil"}}, {"quantization_config": {"quant_method": "x"}}, {"_name_or_path": "/home/somebody"}]
)
def test_a_config_that_loads_code_or_other_weights(merged: Path, added: dict[str, Any]) -> None:
    config = json.loads((merged / "config.json").read_bytes())
    (merged / "config.json").write_text(json.dumps(config | added))
    refit(merged)
    assert "asks for code, or for weights of another kind" in why(merged, 11)


def test_merged_weights_that_are_no_plain_safetensors(merged: Path) -> None:
    (merged / "model.safetensors").write_bytes(b"\x80\x04\x95" + bytes(100))
    refit(merged)
    assert "not a plain safetensors" in why(merged, 11)


def test_the_name_in_a_gguf_header_is_the_releases(merged: Path) -> None:
    path = merged / "gguf/village-lm-f16.gguf"
    raw = path.read_bytes()
    assert raw.count(b"village-lm") == 1
    path.write_bytes(raw.replace(b"village-lm", b"somebodyLM"))
    edit(merged, "derived/village-lm-f16.json", lambda record: record.update(sha256=sha256(path.read_bytes())))
    assert "general.name in its header is another" in why(merged, 11)


def gguf(
    tmp_path: Path, *, version: int = 3, keys: list[tuple[bytes, int, bytes]] | None = None, shape: tuple[int, ...] = (32, 2), kind: int = 1, tail: bytes = b""
) -> Path:
    """Write a small GGUF file of one tensor by hand."""

    def text(value: bytes) -> bytes:
        return struct.pack("<Q", len(value)) + value

    keys = [(b"general.name", 8, text(b"x"))] if keys is None else keys
    header = b"GGUF" + struct.pack("<IQQ", version, 1, len(keys)) + b"".join(text(key) + struct.pack("<I", form) + value for key, form, value in keys)
    header += text(b"a.weight") + struct.pack("<I", len(shape)) + b"".join(struct.pack("<Q", side) for side in shape) + struct.pack("<IQ", kind, 0)
    header += bytes(-len(header) % 32)
    size = {0: 256, 1: 128, 8: 68}.get(kind, 128)
    path = tmp_path / "x.gguf"
    path.write_bytes(header + bytes(size + (-size % 32)) + tail)
    return path


def test_a_plain_gguf_header_is_read(tmp_path: Path) -> None:
    header = read_gguf_header(gguf(tmp_path))
    assert (header.texts, header.tensors, header.parameters, header.types) == ({"general.name": "x"}, 1, 64, frozenset({1}))


LONG = struct.pack("<Q", 1 << 40) + b"x"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"version": 2}, "does not begin as one of version 3"),
        ({"keys": [(b"general.name", 8, struct.pack("<Q", 1) + b"x")] * 2}, "a key stands twice"),
        ({"keys": [(b"note", 8, struct.pack("<Q", 1) + b"x")]}, "a key that no model needs"),
        ({"keys": [(b"general.description", 8, struct.pack("<Q", 1) + b"x")]}, "a text that no model needs"),
        ({"keys": [(b"general.name", 8, LONG)]}, "longer than any"),
        ({"keys": [(b"general.name", 8, struct.pack("<Q", 1) + b"\xff")]}, "not UTF-8"),
        ({"keys": [(b"general.file_type", 77, b"")]}, "unknown type"),
        ({"keys": [(b"tokenizer.ggml.tokens", 9, struct.pack("<IQ", 8, 1 << 60))]}, "list of another kind"),
        ({"keys": [(b"tokenizer.ggml.tokens", 9, struct.pack("<IQ", 8, 2) + LONG)]}, "longer than the file"),
        ({"keys": [(b"tokenizer.ggml.tokens", 9, struct.pack("<IQ", 9, 2))]}, "list of another kind"),
        ({"keys": []}, "more than a model does"),
        ({"kind": 2}, "another type or shape"),
        ({"shape": (31, 2), "kind": 8}, "another type or shape"),
        ({"shape": (0,)}, "another type or shape"),
        ({"shape": ()}, "has no shape"),
        ({"shape": (1 << 40, 1 << 40)}, "another type or shape"),
        ({"tail": bytes(64)}, "end before the file does"),
    ],
)
def test_a_gguf_file_that_is_not_plain_is_refused(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=f"not a plain GGUF file: .*{words}"):
        read_gguf_header(gguf(tmp_path, **changes))


def test_a_gguf_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    path = gguf(tmp_path)
    whole = path.read_bytes()
    for length in range(len(whole) - 31):
        path.write_bytes(whole[:length])
        with pytest.raises(BadInput, match="not a plain GGUF file"):
            read_gguf_header(path)


@pytest.mark.parametrize("name", ["modeling.py", "adapter/adapter_config.json", "README.md", "../model.safetensors"])
def test_only_what_is_derived_is_taken_in(signed: Any, tmp_path: Path, name: str) -> None:
    derived = tmp_path / "derived-weights/inner"
    (derived / name).parent.mkdir(parents=True, exist_ok=True)
    derived.mkdir(exist_ok=True)
    (derived / name).write_bytes(b"x")
    if name.startswith(".."):
        (derived / "link").symlink_to(derived / name)
    with pytest.raises(CoopError, match="holds what is not derived from weights"):
        signed.assemble(tmp_path / "out", derived=derived)
    assert not (tmp_path / "out").exists()


def test_a_linked_derived_file_is_refused(signed: Any, tmp_path: Path) -> None:
    derived = tmp_path / "derived-weights"
    derived.mkdir()
    (tmp_path / "elsewhere").write_bytes(b"{}")
    (derived / "config.json").hardlink_to(tmp_path / "elsewhere")
    with pytest.raises(CoopError, match="is a link or no regular file"):
        signed.assemble(tmp_path / "out", derived=derived)

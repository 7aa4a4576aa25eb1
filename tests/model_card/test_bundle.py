from __future__ import annotations

import json
from pathlib import Path

import pytest

from governance_hooks.canonical import dumps
from governance_hooks.errors import BadInput
from model_card.bundle import read_bundle
from model_card.verify import verify


def test_a_whole_bundle_has_nothing_to_say(bundle: Path) -> None:
    read = read_bundle(bundle)
    assert (read.missing, read.wrong, read.malformed) == ([], [], None)
    assert set(read.digests) == {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()}
    assert "adapter/adapter_model.safetensors" not in read.data


@pytest.mark.parametrize("extra", ["notes.txt", "adapter/pytorch_model.bin", ".hidden", "data/deep/er/file"])
def test_an_extra_file_is_named_and_fails(bundle: Path, extra: str) -> None:
    (bundle / extra).parent.mkdir(parents=True, exist_ok=True)
    (bundle / extra).write_bytes(b"x")
    assert f"{extra} is not part of the release" in read_bundle(bundle).wrong
    assert verify(bundle).exit_code == 1


def test_an_empty_extra_folder_is_named(bundle: Path) -> None:
    (bundle / "adapter/hidden").mkdir()
    assert "adapter/hidden/ is not part of the release" in read_bundle(bundle).wrong


def test_links_are_refused_even_to_the_right_bytes(bundle: Path, tmp_path: Path) -> None:
    for name in ("card.json", "adapter"):
        target = tmp_path / f"target-{name}"
        (bundle / name).rename(target)
        (bundle / name).symlink_to(target)
    wrong = read_bundle(bundle).wrong
    assert "card.json is a link or lies behind one" in wrong
    assert "adapter/adapter_model.safetensors is a link or lies behind one" in wrong
    assert verify(bundle).exit_code == 1


def test_a_folder_in_place_of_a_file_fails(bundle: Path) -> None:
    (bundle / "card.json").unlink()
    (bundle / "card.json").mkdir()
    assert "card.json is not a regular file" in read_bundle(bundle).wrong


def test_size_and_digest_are_told_apart(bundle: Path) -> None:
    data = (bundle / "card.json").read_bytes()
    (bundle / "card.json").write_bytes(data + b" ")
    assert f"card.json has {len(data) + 1} bytes instead of {len(data)}" in read_bundle(bundle).wrong
    (bundle / "card.json").write_bytes(b" " + data[1:])
    assert any(wrong.startswith("card.json was changed") for wrong in read_bundle(bundle).wrong)


def test_release_json_must_list_exactly_the_files_of_a_release(bundle: Path) -> None:
    whole = json.loads((bundle / "release.json").read_bytes())
    reordered = whole | {"files": whole["files"][::-1]}
    fewer = whole | {"files": whole["files"][1:]}
    role = whole | {"files": [whole["files"][0] | {"role": "data"}, *whole["files"][1:]]}
    for changed in (reordered, fewer, role):
        (bundle / "release.json").write_bytes(dumps(changed))
        assert read_bundle(bundle).malformed is not None
        assert verify(bundle).steps[0].status == "FAIL"


@pytest.mark.parametrize("path", ["../outside", "/etc/passwd", "a//b", "adapter/../card.json"])
def test_a_path_that_leaves_the_folder_is_malformed(bundle: Path, path: str) -> None:
    whole = json.loads((bundle / "release.json").read_bytes())
    whole["files"][0]["path"] = path
    (bundle / "release.json").write_bytes(dumps(whole))
    assert read_bundle(bundle).malformed is not None
    assert verify(bundle).exit_code == 1


def test_no_folder_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="not a folder"):
        verify(tmp_path / "nowhere")

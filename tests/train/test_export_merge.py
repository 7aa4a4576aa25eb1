from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from governance_hooks.canonical import loads
from governance_hooks.errors import BadInput, CoopError
from governance_hooks.inventory import inventory
from train.export.adapter import read_adapter
from train.export.arithmetic import LowRank, merge_rows
from train.export.merge import Origin, merge, read_export, write_merged
from train.export.shards import INDEX, layout

NAME = "village/tiny"
ORIGIN = Origin("tiny", "Apache-2.0")


def make_base(source: Path, folder: Path, dtype: torch.dtype = torch.bfloat16, **config: Any) -> Path:
    """The tiny base in another type; with tie_word_embeddings false it gets a head of its own."""
    shutil.copytree(source, folder)
    document = json.loads((folder / "config.json").read_text()) | config | {"_name_or_path": "/home/somebody/model"}
    (folder / "config.json").write_text(json.dumps(document))
    weights = {name: tensor.to(dtype) for name, tensor in load_file(folder / "model.safetensors").items()}
    if config.get("tie_word_embeddings") is False:
        weights["lm_head.weight"] = weights["model.embed_tokens.weight"].flip(0).contiguous()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def make_adapter(base: Path, folder: Path, *, size: float = 0.05, **settings: Any) -> Path:
    """An adapter of PEFT's own making, with numbers in both halves."""
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    config = LoraConfig(**({"r": 4, "lora_alpha": 6, "target_modules": "all-linear", "task_type": "CAUSAL_LM"} | settings))
    adapted = get_peft_model(model, config)
    torch.manual_seed(11)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(std=size)
        if "magnitude" in name:
            parameter.data.mul_(torch.rand_like(parameter) * 0.2 + 0.9)
    adapted.save_pretrained(folder)
    change(folder, base_model_name_or_path=NAME)
    return folder


def change(adapter: Path, **settings: Any) -> None:
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


@pytest.fixture
def half(base: Path, tmp_path: Path) -> Path:
    """The tiny base in bfloat16."""
    return make_base(base, tmp_path / "half")


@pytest.fixture
def adapter(half: Path, tmp_path: Path) -> Path:
    return make_adapter(half, tmp_path / "adapter")


def unchecked(base: Path, adapter: Path, out: Path, **options: Any) -> dict[str, Any]:
    return merge(base, adapter, out, ORIGIN, check=False, **options)


def numpy_merge(weight: np.ndarray[Any, Any], a: np.ndarray[Any, Any], b: np.ndarray[Any, Any], scale: float) -> np.ndarray[Any, Any]:
    """The rule once more, in NumPy, one rank and one element after the other."""
    out = np.zeros(weight.shape, np.float64)
    for o in range(out.shape[0]):
        for r in range(a.shape[0]):
            out[o] += b[o, r] * a[r]
        out[o] = weight[o] + scale * out[o]
    return out.astype(np.float32)


@pytest.mark.parametrize("dora", [False, True])
def test_threads_and_blocks_change_no_byte(half: Path, tmp_path: Path, dora: bool) -> None:
    adapter = make_adapter(half, tmp_path / "a", use_dora=dora)
    weights = layout(half)
    read = read_adapter(adapter, weights, base_name=NAME, tied=True)
    found = set()
    for number, (threads, chunk) in enumerate([(1, 2**15), (2, 2**15), (5, 2**15), (1, 1), (3, 200), (2, 2**30)]):
        out = tmp_path / str(number)
        out.mkdir()
        write_merged(half, weights, read, out, threads=threads, chunk=chunk)
        found.add((out / "model.safetensors").read_bytes())
    assert len(found) == 1


def test_the_file_holds_what_the_rule_gives_element_by_element(half: Path, adapter: Path, tmp_path: Path) -> None:
    unchecked(half, adapter, tmp_path / "out")
    merged, before, change = (load_file(p) for p in (tmp_path / "out/model.safetensors", half / "model.safetensors", adapter / "adapter_model.safetensors"))
    assert list(merged) == list(before)
    changed = 0
    for name, tensor in before.items():
        prefix = f"base_model.model.{name.removesuffix('.weight')}"
        if f"{prefix}.lora_A.weight" not in change:
            assert torch.equal(merged[name], tensor), name
            continue
        a, b = (change[f"{prefix}.lora_{half}.weight"].double().numpy() for half in "AB")
        expected = torch.from_numpy(numpy_merge(tensor.double().numpy(), a, b, 6 / 4)).to(torch.bfloat16)
        assert torch.equal(merged[name], expected), name
        changed += 1
    assert changed == 14


@pytest.mark.parametrize("settings", [{}, {"use_dora": True}, {"use_rslora": True}])
def test_a_merge_is_within_rounding_of_pefts(base: Path, tmp_path: Path, settings: dict[str, Any]) -> None:
    single = make_base(base, tmp_path / "single", torch.float32)
    adapter = make_adapter(single, tmp_path / "a", **settings)
    unchecked(single, adapter, tmp_path / "out", rslora="use_rslora" in settings)
    theirs = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(single, dtype=torch.float32), adapter).merge_and_unload().state_dict()
    for name, tensor in load_file(tmp_path / "out/model.safetensors").items():
        torch.testing.assert_close(tensor, theirs[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("settings", [{}, {"use_dora": True}])
def test_a_merged_folder_answers_as_the_adapter_does(base: Path, build: Path, tmp_path: Path, dtype: torch.dtype, settings: dict[str, Any]) -> None:
    own = make_base(base, tmp_path / "own", dtype)
    record = merge(own, make_adapter(own, tmp_path / "a", **settings), tmp_path / "out", Origin("tiny", build=build))
    parity = record["parity"]
    assert parity["texts"] == "heldout"
    assert parity["answers"]["answers"] == 4
    assert parity["unrounded"]["max_logit"] < 1e-4
    assert parity["merged"]["mean_kl"] < 0.05 * parity["base"]["mean_kl"]
    assert set(parity["merged"]["languages"]) <= {"eus", "spa"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "out", "own"]


def test_shards_stay_as_the_base_has_them(half: Path, adapter: Path, tmp_path: Path) -> None:
    whole = unchecked(half, adapter, tmp_path / "whole")
    model = AutoModelForCausalLM.from_pretrained(half, dtype=torch.bfloat16)
    (half / "model.safetensors").unlink()
    model.save_pretrained(half, max_shard_size="60KB")
    unchecked(half, adapter, tmp_path / "out")
    shards = sorted(path.name for path in half.glob("*.safetensors"))
    assert len(shards) > 2
    assert sorted(path.name for path in (tmp_path / "out").glob("*.safetensors")) == shards
    assert json.loads((tmp_path / "out" / INDEX).read_text())["weight_map"] == json.loads((half / INDEX).read_text())["weight_map"]
    one = load_file(tmp_path / "whole/model.safetensors")
    several = {name: tensor for shard in shards for name, tensor in load_file(tmp_path / "out" / shard).items()}
    assert all(torch.equal(one[name], tensor) for name, tensor in several.items())
    assert set(one) == set(several)
    assert whole["rule"] == "coop.merge/v1"


def test_a_head_of_its_own_is_kept_and_a_tied_one_is_not_invented(base: Path, half: Path, adapter: Path, tmp_path: Path) -> None:
    unchecked(half, adapter, tmp_path / "tied")
    assert "lm_head.weight" not in load_file(tmp_path / "tied/model.safetensors")
    untied = make_base(base, tmp_path / "untied", tie_word_embeddings=False)
    merge(untied, make_adapter(untied, tmp_path / "b"), tmp_path / "out", ORIGIN)
    assert torch.equal(load_file(tmp_path / "out/model.safetensors")["lm_head.weight"], load_file(untied / "model.safetensors")["lm_head.weight"])


def test_the_record_names_what_went_in_and_came_out_and_no_path(half: Path, adapter: Path, tmp_path: Path) -> None:
    (half / "LICENSE").write_text("as you like")
    record = unchecked(half, adapter, tmp_path / "out")
    out = tmp_path / "out"
    assert loads((out / "export.json").read_bytes(), floats=True) == record == read_export(out)
    assert record["base"]["name"] == NAME
    assert record["licence"] == "Apache-2.0"
    assert record["adapter"]["scale"] == 1.5
    assert {"LICENSE", "chat_template.jinja", "config.json", "generation_config.json", "model.safetensors", "tokenizer.json"} <= {
        e["path"] for e in record["outputs"]
    }
    assert "base.json" not in {entry["path"] for entry in record["outputs"]}
    assert "somebody" not in (out / "config.json").read_text()
    for name in ("chat_template.jinja", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "LICENSE"):
        assert (out / name).read_bytes() == (half / name).read_bytes()
    (out / "tokenizer.json").write_text("{}")
    with pytest.raises(BadInput, match=r"(?s)differs from its export.json.*tokenizer.json"):
        read_export(out)


def test_merging_twice_gives_one_folder(half: Path, adapter: Path, tmp_path: Path) -> None:
    unchecked(half, adapter, tmp_path / "one")
    unchecked(half, adapter, tmp_path / "two")
    assert inventory(tmp_path / "one") == inventory(tmp_path / "two")


def test_a_change_that_drowns_in_rounding_is_refused(half: Path, tmp_path: Path) -> None:
    faint = make_adapter(half, tmp_path / "faint", size=2e-4)
    with pytest.raises(CoopError, match="rounding"):
        merge(half, faint, tmp_path / "out", ORIGIN)
    assert not (tmp_path / "out").exists()


def test_a_wrong_merge_is_not_published(half: Path, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def doubled(weight: torch.Tensor, low: LowRank, first: int, dtype: torch.dtype) -> torch.Tensor:
        return merge_rows(weight, LowRank(low.A_RI, low.B_OR, 2 * low.scale), first, dtype)

    monkeypatch.setattr("train.export.merge.merge_rows", doubled)
    with pytest.raises(CoopError, match="off by more than rounding"):
        merge(half, adapter, tmp_path / "out", ORIGIN)
    # Each of the three comparisons finds it alone.
    monkeypatch.setattr("train.export.check.compare_tensors", lambda *_, **__: {})
    with pytest.raises(CoopError, match=r"(?s)differ too much.*mean_kl"):
        merge(half, adapter, tmp_path / "out", ORIGIN)
    monkeypatch.setattr("train.export.check.merge_rows", doubled)
    with pytest.raises(CoopError, match="before rounding"):
        merge(half, adapter, tmp_path / "out", ORIGIN)
    assert not list(tmp_path.glob("out*"))
    assert not list(tmp_path.glob(".tmp-*"))


def test_another_base_than_the_plans_is_refused(half: Path, adapter: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="not the base the adapter was trained on"):
        merge(half, adapter, tmp_path / "out", Origin("tiny", base="sha256:" + "0" * 64), check=False)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"base_model_name_or_path": "/home/somebody/model"}, "base_model_name_or_path"),
        ({"base_model_name_or_path": "../../etc"}, "base_model_name_or_path"),
        ({"use_rslora": True}, "rslora"),
        ({"use_dora": 1}, "use_dora"),
        ({"use_dora": True}, "do not fit"),
        ({"r": 8}, "do not fit"),
        ({"r": True}, "r is not"),
        ({"r": 10**9}, "r is not"),
        ({"lora_alpha": float("nan")}, "lora_alpha"),
        ({"lora_alpha": -1}, "lora_alpha"),
        ({"bias": "all"}, "bias"),
        ({"peft_type": "IA3"}, "peft_type"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save is on"),
        ({"rank_pattern": {"q_proj": 2}}, "rank_pattern is on"),
        ({"auto_mapping": {"base_model_class": "Evil", "parent_library": "os"}}, "auto_mapping is on"),
        ({"a_setting_of_next_year": 0.5}, "a_setting_of_next_year is on"),
        ({"target_modules": ["../q_proj"]}, "no name of a module"),
        ({"target_modules": [["q_proj"]]}, "no name of a module"),
        ({"target_modules": ".*"}, "pattern"),
        ({"target_modules": ["q_proj"]}, "do not name"),
    ],
)
def test_settings_with_another_effect_are_refused(half: Path, adapter: Path, tmp_path: Path, settings: dict[str, Any], words: str) -> None:
    change(adapter, **settings)
    with pytest.raises(BadInput, match=words):
        unchecked(half, adapter, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter", "half"]


def _tensors(edit: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    def spoil(adapter: Path) -> None:
        path = adapter / "adapter_model.safetensors"
        tensors = load_file(path)
        edit(tensors)
        save_file(tensors, path, metadata={"format": "pt"})

    return spoil


Q = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_tensors(lambda t: t.pop(Q)), "do not fit"),
        (_tensors(lambda t: [t.pop(name) for name in list(t) if ".q_proj." in name]), "lacks tensors"),
        (_tensors(lambda t: t.update({Q: t[Q][:, :-1].contiguous()})), "do not fit"),
        (_tensors(lambda t: t[Q].view(-1)[:1].fill_(float("nan"))), "not finite"),
        (_tensors(lambda t: t[Q].view(-1)[:1].fill_(float("inf"))), "not finite"),
        (_tensors(lambda t: t.update({Q: t[Q].to(torch.int32)})), "another type"),
        (_tensors(lambda t: t.update({Q.replace("layers.0", "layers.9"): t[Q].clone()})), "no matrix of the base"),
        (_tensors(lambda t: t.update({Q.replace("model.layers.0.self_attn.q_proj", "..x"): t[Q].clone()})), "does not know"),
        (_tensors(lambda t: t.update({Q.replace("lora_A.weight", "lora_embedding_A"): t[Q].clone()})), "does not know"),
        (lambda a: (a / "adapter_model.safetensors").write_bytes(b"\x80\x04pickle"), "no safetensors file"),
        (lambda a: (a / "adapter_model.bin").write_bytes(b"\x80\x04"), "pickle"),
        (lambda a: (a / "notes").symlink_to("/etc/hostname"), "not a regular file"),
        (lambda a: (a / "adapter_config.json").write_text("[" * 100_000), "not JSON"),
        (lambda a: (a / "adapter_config.json").write_text("[]"), "not a JSON object"),
        (lambda a: (a / "adapter_config.json").write_bytes(b" " * 1_000_001), "too long"),
        (lambda a: (a / "adapter_config.json").unlink(), "no adapter"),
    ],
)
def test_a_hostile_adapter_is_refused_and_nothing_is_written(half: Path, adapter: Path, tmp_path: Path, spoil: Callable[[Path], None], words: str) -> None:
    spoil(adapter)
    with pytest.raises(BadInput, match=words):
        unchecked(half, adapter, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter", "half"]


def _index(folder: Path, shard: str) -> None:
    names = list(load_file(folder / "model.safetensors"))
    (folder / INDEX).write_text(json.dumps({"weight_map": dict.fromkeys(names, shard)}))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda b: _index(b, "../half/model.safetensors"), "no shard of this folder"),
        (lambda b: _index(b, "absent.safetensors"), "no shard of this folder"),
        (lambda b: (b / INDEX).write_text("{}"), "no weight_map"),
        (lambda b: (b / INDEX).write_text('{"weight_map": {"ghost": "model.safetensors"}}'), "does not place there"),
        (lambda b: (b / "config.json").write_text(json.dumps(json.loads((b / "config.json").read_text()) | {"quantization_config": {}})), "quantised"),
        (lambda b: (b / "model.safetensors").write_bytes(b"x" * 9), "no safetensors file"),
    ],
)
def test_a_hostile_base_is_refused_and_nothing_is_written(half: Path, adapter: Path, tmp_path: Path, spoil: Callable[[Path], None], words: str) -> None:
    spoil(half)
    with pytest.raises(BadInput, match=words):
        unchecked(half, adapter, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter", "half"]


@pytest.mark.parametrize("name", ["model.norm.weight", "model.embed_tokens.weight", "model.layers.1.mlp.up_proj.weight"])
def test_a_base_with_a_number_that_is_not_finite_is_refused(half: Path, adapter: Path, tmp_path: Path, name: str) -> None:
    weights = load_file(half / "model.safetensors")
    weights[name].view(-1)[-1] = float("nan")
    save_file(weights, half / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BadInput, match="not finite"):
        unchecked(half, adapter, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter", "half"]


def test_a_folder_that_is_there_is_not_touched(half: Path, adapter: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(CoopError, match="exists already"):
        unchecked(half, adapter, tmp_path / "out")


def test_without_room_nothing_begins(half: Path, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("train.export.merge.shutil.disk_usage", lambda path: shutil._ntuple_diskusage(1, 1, 0))
    with pytest.raises(CoopError, match="no room"):
        unchecked(half, adapter, tmp_path / "out")

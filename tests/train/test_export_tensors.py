"""A merged folder is base plus adapter, number by number, and nothing of the size of a model is read to say so."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from governance_hooks.errors import CoopError
from tests.train.test_export_merge import NAME, ORIGIN, make_adapter, make_base
from train.export import tensors
from train.export.adapter import read_adapter
from train.export.merge import merge
from train.export.shards import layout


def merged(base: Path, folder: Path, dtype: torch.dtype, **settings: Any) -> tuple[Any, ...]:
    """Return what `compare_tensors` takes, of a fresh merge."""
    own = make_base(base, folder / "own", dtype)
    adapter = make_adapter(own, folder / "adapter", **settings)
    merge(own, adapter, folder / "out", ORIGIN, check=False, rslora="use_rslora" in settings)
    weights = layout(own)
    return own, read_adapter(adapter, weights, base_name=NAME, tied=True, rslora="use_rslora" in settings), folder / "out", weights


def change(folder: Path, edit: Any) -> None:
    """Write the weights of a folder again after an edit."""
    path = folder / "model.safetensors"
    found = load_file(path)
    edit(found)
    save_file(found, path, metadata={"format": "pt"})


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("settings", [{}, {"use_dora": True}, {"use_rslora": True}], ids=str)
def test_a_merge_is_base_plus_adapter_as_each_number_rounds(base: Path, tmp_path: Path, dtype: torch.dtype, settings: dict[str, Any]) -> None:
    found = tensors.compare_tensors(*merged(base, tmp_path, dtype, **settings))
    assert (found["compared"], found["changed"]) == (20, 14)
    assert 0 <= found["lost"] < (1e-6 if dtype == torch.float32 else 0.1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_one_number_that_is_its_neighbour_is_found_wherever_it_is(base: Path, tmp_path: Path, dtype: torch.dtype) -> None:
    given = merged(base, tmp_path, dtype)
    path, kind = given[2] / "model.safetensors", torch.int32 if dtype == torch.float32 else torch.int16
    good, names, draw = path.read_bytes(), sorted(given[3]), random.Random(7)
    for _ in range(40):
        name, bit = draw.choice(names), 1 << draw.randrange(2)

        def edit(found: dict[str, torch.Tensor], name: str = name, bit: int = bit) -> None:
            found[name].view(kind).flatten()[draw.randrange(found[name].numel())] ^= bit

        change(given[2], edit)
        with pytest.raises(CoopError, match=name.replace(".", "[.]")):
            tensors.compare_tensors(*given)
        path.write_bytes(good)
    assert tensors.compare_tensors(*given)["changed"] == 14


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda found: found.pop("model.norm.weight"), "other tensors than the base"),
        (lambda found: found.update(ghost=torch.zeros(1)), "other tensors than the base"),
        (lambda found: found.update({"model.norm.weight": found["model.norm.weight"].float()}), "other tensors than the base"),
        (lambda found: found["model.layers.0.mlp.up_proj.weight"].view(-1)[-1:].fill_(float("nan")), "off by more than rounding"),
        (lambda found: found["model.layers.1.self_attn.q_proj.weight"].mul_(1.01), "off by more than rounding"),
    ],
)
def test_a_folder_that_is_no_merge_of_these_is_refused(base: Path, tmp_path: Path, edit: Any, words: str) -> None:
    given = merged(base, tmp_path, torch.bfloat16)
    change(given[2], edit)
    with pytest.raises(CoopError, match=words):
        tensors.compare_tensors(*given)


def test_a_change_smaller_than_its_rounding_is_refused_and_no_change_at_all_is_not(base: Path, tmp_path: Path) -> None:
    (tmp_path / "faint").mkdir()
    with pytest.raises(CoopError, match="takes away more than half of what the adapter changes"):
        tensors.compare_tensors(*merged(base, tmp_path / "faint", torch.bfloat16, size=1e-5))
    (tmp_path / "none").mkdir()
    assert tensors.compare_tensors(*merged(base, tmp_path / "none", torch.bfloat16, size=0.0))["lost"] == 0.0


def test_a_model_without_room_is_compared_tensor_by_tensor_and_never_loaded(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def loaded(*_: object, **__: object) -> None:
        raise AssertionError("a whole model was loaded")

    read: list[int] = []
    rows = tensors._rows

    def counted(*given: Any) -> torch.Tensor:
        found = rows(*given)
        read.append(found.numel())
        return found

    monkeypatch.setattr("train.export.check.load_causal", loaded)
    monkeypatch.setattr("train.export.check.free_memory", lambda: 1000)
    monkeypatch.setattr(tensors, "_rows", counted)
    monkeypatch.setattr(tensors, "_BLOCK", 512)
    own = make_base(base, tmp_path / "own")
    record = merge(own, make_adapter(own, tmp_path / "adapter"), tmp_path / "out", ORIGIN)
    assert record["parity"]["texts"] == "none"
    assert record["parity"]["tensors"]["changed"] == 14
    width = max(weight.width for weight in layout(own).values())
    assert max(read) <= max(512, width)
    assert sum(read) == 2 * sum(tensor.numel() for tensor in load_file(own / "model.safetensors").values())


def test_memory_is_that_of_a_block_and_not_of_the_model(tmp_path: Path) -> None:
    """Anonymous memory of the process, seen at each block; pages of the mapped files are the system's to drop."""
    rows, width = 40_000, 512
    torch.manual_seed(1)
    for folder in ("base", "merged", "adapter"):
        (tmp_path / folder).mkdir()
    weight = torch.randn(rows, width, dtype=torch.bfloat16)
    for folder in ("base", "merged"):
        save_file({"embedding.weight": weight}, tmp_path / folder / "model.safetensors")
    del weight

    class Nothing:
        modules: tuple[str, ...] = ()

    def anonymous() -> int:
        return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon"))

    seen: list[int] = []
    rows_of = tensors._rows

    def watched(*given: Any) -> torch.Tensor:
        seen.append(anonymous())
        return rows_of(*given)

    before = anonymous()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tensors, "_rows", watched)
        found = tensors.compare_tensors(tmp_path / "base", Nothing(), tmp_path / "merged", layout(tmp_path / "base"))  # type: ignore[arg-type]
    assert found == {"compared": 1, "changed": 0, "lost": 0.0}
    assert len(seen) == 2 * -(-rows * width // 2**20)
    assert max(seen) - before < 16_000  # kB; the tensor alone takes 40,000, and 80,000 in float32

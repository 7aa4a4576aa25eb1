"""The check of an installation on the live cluster: that a job without a vote is really refused, and by whom that could be passed by."""

from __future__ import annotations

import os
import pwd
import re
import stat
import subprocess
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

from governance_hooks.links import MAX_AGE_S
from governance_hooks.proof import read_proof
from governance_hooks.report import Checklist, Report, StepFailed, StepUnknown
from slurm.install import Installation, programs
from slurm.scontrol import scontrol
from slurm.segments import lost
from slurm.site_folder import SiteFolder

__all__ = ["BYPASS", "check"]

BYPASS: Final = (
    "root and SlurmUser can switch all of this off, or start what they like by hand on the nodes. Members see it only if what ran is missing in the log.",
    "Operators and administrators of slurmdbd can hold and move jobs; they pass the same prologs.",
    "Who can write the Python environment of the controller, the hooks, or the site's folder, is as good as SlurmUser.",
    "Who may log in to a node by other ways than SLURM (ssh without pam_slurm_adopt) uses it without a vote.",
    "The user of a job that runs can start more in it (srun --jobid) or change its processes, for its time and on its devices: they are that user's own.",
    "The script is bound by its digest; programs and files it reads are not. The training process checks code, data and base weights by itself.",
    "Of the environment only what job_submit.lua names is refused; a login profile may set the same again.",
)
"""What enforcement on a cluster cannot prevent."""


def check(installation: Installation, *, at: str) -> Report:
    """Check hooks, configuration, partitions and refusals; needs root, for the refusals are tried as the admin whom nothing else holds back.

    Args:
        at: RFC 3339 UTC.
    """
    folder, checklist = SiteFolder.open(installation.folder), Checklist(f"Enforcement at site {installation.site.site}")
    checklist.run("hooks as installed", lambda: _hooks(installation))
    checklist.run("slurmctld uses them", lambda: _configured(installation))
    checklist.run("site folder and key", lambda: _folder(installation))
    checklist.run("no way around", lambda: _partitions(installation))
    checklist.run("check can be run", lambda: _runs(installation))
    checklist.run("no vote, no job", lambda: _refused(installation))
    checklist.run("proof is recent", lambda: _proof(folder, at))
    checklist.run("starts accounted for", lambda: _accounted(folder))
    return checklist.report()


def _unsafe(path: Path, owners: set[int]) -> Iterator[str]:
    """Yield what is wrong with the owner or mode of a path or a folder above it."""
    for one in (path, *path.parents):
        found = one.stat()
        loose = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not (stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX and one != path)
        if found.st_uid not in owners:
            yield f"{one} belongs to user {found.st_uid}"
        elif loose:
            yield f"{one} can be written by others (mode {found.st_mode & 0o7777:04o})"


def _hooks(installation: Installation) -> str:
    for file in installation.hooks():
        if not file.path.is_file():
            raise StepFailed(f"{file.path} is not there", todo="coop slurm install")
        if file.path.read_bytes() != file.data:
            raise StepFailed(f"{file.path} is not as installed", todo="coop slurm install")
        if file.path.stat().st_mode & 0o777 != file.mode:
            raise StepFailed(f"{file.path} has another mode", todo="coop slurm install")
        odd = next(_unsafe(file.path, {0, os.geteuid()}), None)
        if odd is not None:
            raise StepFailed(odd, todo="chown root and chmod go-w")
    return f"{len(installation.hooks())} scripts, root's alone, here; on nodes with disks of their own compare them yourself"


def _configured(installation: Installation) -> str:
    text = scontrol("show", "config").decode(errors="replace")
    found = {name.lower(): value.strip() for name, value in re.findall(r"^(\w+)\s*=(.*)$", text, re.MULTILINE)}
    hooks = installation.site.hooks
    wanted = {"PrologSlurmctld": f"{hooks}/prolog_slurmctld.sh", "Prolog": f"{hooks}/prolog.sh", "JobCompType": "jobcomp/lua"}
    odd = [f"{name} is {found.get(name.lower())}" for name, value in wanted.items() if found.get(name.lower()) != value]
    if "lua" not in found.get("jobsubmitplugins", "").split(","):
        odd.append(f"JobSubmitPlugins is {found.get('jobsubmitplugins')}")
    if "alloc" not in found.get("prologflags", "").lower().split(","):
        odd.append(f"PrologFlags is {found.get('prologflags')}")
    if odd:
        raise StepFailed("; ".join(odd), todo="restart slurmctld (systemctl restart slurmctld), then scontrol reconfigure")
    return "job_submit/lua, both prologs, PrologFlags=Alloc, jobcomp/lua"


def _folder(installation: Installation) -> str:
    owner = pwd.getpwnam(installation.user).pw_uid
    key = Path(installation.site.private_key)
    for path in (installation.folder, *(installation.folder / name for name in ("orders", "clearance", "outbox", "site.json", "allowed_signers"))):
        odd = next(_unsafe(path, {0, owner}), None)
        if odd is not None:
            raise StepFailed(odd, todo="coop slurm install")
    if key.stat().st_mode & 0o077 or key.stat().st_uid != owner:
        raise StepFailed(f"{key} can be read by others than {installation.user}", todo="coop slurm install")
    return f"{installation.folder}; the key is {installation.user}'s alone"


def _partitions(installation: Installation) -> str:
    nodes = {}
    for line in scontrol("--oneliner", "show", "partition").decode().splitlines():
        name, listed = re.search(r"PartitionName=(\S+)", line), re.search(r" Nodes=(\S+)", line)
        if name and listed:
            hosts = scontrol("show", "hostnames", listed[1]).decode().split() if listed[1] != "(null)" else []
            nodes[name[1]] = set(hosts)
    gated = installation.site.gated
    missing = [name for name in gated if name not in nodes]
    if missing:
        raise StepFailed(f"there is no partition {', '.join(missing)}", todo="coop slurm install --gated")
    held = set().union(*(nodes[name] for name in gated))
    open_ = [f"{name} ({', '.join(sorted(hosts & held)[:4])})" for name, hosts in nodes.items() if name not in gated and hosts & held]
    if open_:
        raise StepFailed(f"partitions without a gate hold gated nodes: {'; '.join(open_)}", todo="gate them too, or take the nodes out")
    return f"{len(held)} nodes in {', '.join(gated)}, in no other partition"


def _as_user(user: str) -> dict[str, str | int | list[int]]:
    found = pwd.getpwnam(user)
    return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": []} if os.geteuid() == 0 and found.pw_uid else {}


def _runs(installation: Installation) -> str:
    """Run the controller's check, as SlurmUser, on a start that names no order."""
    command = [installation.site.python, "-P", "-s", "-m", "slurm.controller", "prolog", str(installation.folder), "1", "0"]
    env = {"PATH": programs(), "TZ": "UTC", "LC_ALL": "C.UTF-8", "SLURM_CONF": installation.site.slurm_conf}
    done = subprocess.run(command, env=env, cwd="/", capture_output=True, text=True, timeout=120, check=False, **_as_user(installation.user))  # type: ignore[call-overload]  # options by name
    if done.returncode != 10:
        raise StepFailed(
            f"{installation.site.python} cannot run it as {installation.user}: {done.stderr.strip()[-200:]}", todo="let SlurmUser read the environment of coop"
        )
    return f"as {installation.user}, by {installation.site.python}"


def _refused(installation: Installation) -> str:
    for partition in installation.site.gated:
        chosen = ["--partition", partition, "--time", "1"]
        unknown = ["--comment", "coop:" + "0" * 64]
        tries = [["sbatch", "--parsable", *chosen, "--wrap", "true"], ["sbatch", "--parsable", *chosen, *unknown, "--wrap", "true"]]
        tries += [["srun", "--immediate=5", *chosen, "true"], ["salloc", "--immediate=5", "--no-shell", *chosen]]
        for command in tries:
            try:
                done = subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=60, check=False)
            except (OSError, subprocess.TimeoutExpired) as error:
                raise StepUnknown(f"{command[0]} did not answer: {error}") from error
            words = done.stdout + done.stderr
            if done.returncode == 0:
                if re.fullmatch(r"[0-9]+", done.stdout.strip()):
                    scontrol(done.stdout.strip(), program="scancel")
                raise StepFailed(
                    f"{command[0]} in partition {partition} was accepted without an order", todo="restart slurmctld; see its log for job_submit.lua"
                )
            if "coop: job REFUSED" not in words:
                raise StepUnknown(f"{command[0]} was refused, but not by us: {words.strip()[:160]}", todo="mend the cluster, then check again")
    return "sbatch, sbatch with an unknown order, srun and salloc are refused"


def _proof(folder: SiteFolder, at: str) -> str:
    proof = read_proof(folder.proof())
    age = int(datetime.fromisoformat(at).timestamp()) - proof.replay(folder.site.coop).witnessed.time
    if age > MAX_AGE_S:
        raise StepFailed(f"the proof is {age} s old, {MAX_AGE_S} allowed", todo="coop collect at the cooperative, then coop slurm sync")
    return f"{len(proof.entries)} entries, {max(age, 0)} s old"


def _accounted(folder: SiteFolder) -> str:
    lines = scontrol("--noheader", "--states=running,completing,configuring", "--format=%A", program="squeue").decode().split()
    going = {path.stem for path in (folder.path / "clearance").glob("*.json") if path.stem.partition(".")[0] in set(lines)}
    missing = lost(folder.path, going)
    if missing:
        raise StepFailed(
            f"nobody wrote down the end of {', '.join(missing[:5])}", todo=f"see slurmctld's log for jobcomp.lua, then: coop slurm write-off {missing[0]}"
        )
    return "every cleared start goes on or is settled"

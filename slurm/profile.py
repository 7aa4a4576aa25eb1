"""The profile of a site: what a cluster somebody lends wants to hear, beside what members voted on.

It lies in `sites/NAME.yaml` of the cooperative's folder. Nothing in it decides what is trained: the same plan runs on any site that the vote allows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import yaml
from pydantic import Field, StringConstraints, ValidationError

from governance_hooks.errors import BadInput
from governance_hooks.fields import Strict
from governance_hooks.plan import explain_validation

__all__ = ["SITE_FOLDER", "Profile", "read_profile", "read_profiles"]

SITE_FOLDER = "/var/lib/coop-site"
"""Where a site keeps its files, if its admin chose no other place."""
MAX_BYTES = 64 * 1024

_Word = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:@+-]{0,63}$")]
"""A name SLURM knows; it stands in an #SBATCH line, where a blank would begin another option."""
_Module = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:@+/-]{0,100}$")]
_Folder = Annotated[str, StringConstraints(pattern=r"^/[A-Za-z0-9._@+/-]{1,255}$")]
"""An absolute path without blanks, quotes, or the percent signs that SLURM replaces in names of logs."""
_Line = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x08\x0a-\x1f\x7f]{1,500}$")]
"""One line of shell."""
_Argument = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]{1,500}$")]


class Profile(Strict):
    """How jobs are sent to one site."""

    partition: _Word
    account: _Word | None = None
    qos: _Word | None = None
    gres: Annotated[str, StringConstraints(pattern=r"^gpu(:[A-Za-z0-9_.-]{1,40})?$")] = "gpu"
    """What a device is called here: `gpu`, or with its type `gpu:h100`."""
    devices_per_node: Annotated[int, Field(ge=1, le=64)] = 8
    cpus_per_device: Annotated[int, Field(ge=1, le=512)] = 8
    memory: Annotated[str, StringConstraints(pattern=r"^([0-9]{1,7}[KMGT]?)$")] | None = None
    """Main memory of a node as SLURM writes it, `0` for all of it; the partition's default, if null."""
    exclusive: bool = False
    """Whether nodes are taken whole."""
    minutes: Annotated[int, Field(ge=1)] | None = None
    """The longest job the partition takes; a run that needs more goes on in the next one (`coop submit --array`, or a requeue)."""
    notice_s: Annotated[int, Field(ge=10, le=3600)] = 120
    """So long before the end of its time a job is told to save, seconds."""
    interface: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,15}$")] | None = None
    """The network interface the processes of a run talk over; NCCL's and gloo's choice, if null."""
    free_gb: Annotated[int, Field(ge=0)] = 1
    """The preflight wants so much free space in the run's folder."""
    modules: list[_Module] = Field(default_factory=list)
    """Loaded with `module load`, in this order."""
    setup: list[_Line] = Field(default_factory=list)
    """Lines of shell before the first command, one command a line: what the modules do not do."""
    container: list[_Argument] = Field(default_factory=list)
    """Put before each command, an argument each: `[apptainer, exec, --nv, /images/commonweights.sif]`."""
    python: _Folder | None = None
    """The Python of the environment on the nodes, or in the container, that commonweights is installed in; the one `coop submit` runs in, if null."""
    site: _Folder = SITE_FOLDER
    """Where the site keeps its files."""
    jobs: _Folder | None = None
    """Where the job folders go, on a disk all nodes see; `jobs` in the cooperative's folder, if null."""
    base: _Folder | None = None
    """Folder of the base weights; the cache, if null."""
    country: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] | None = None
    """Where the site stands, ISO 3166-1 alpha-3: states CO2 beside the energy."""


def read_profile(path: Path) -> Profile:
    """Read a profile; raise BadInput for a file that is not there, is no YAML, or has a field twice, unknown or of another kind."""
    try:
        data = path.read_bytes() if path.stat().st_size <= MAX_BYTES else None
    except OSError as error:
        known = ", ".join(sorted(one.stem for one in path.parent.glob("*.yaml"))) or "none yet"
        raise BadInput(f"there is no profile of site {path.stem}", value=str(path), allowed=f"sites with one: {known}", next=f"write {path}") from error
    if data is None:
        raise BadInput(f"{path} is no profile of a site", allowed=f"at most {MAX_BYTES} bytes")
    try:
        node = yaml.compose(data, Loader=yaml.SafeLoader)
        if not isinstance(node, yaml.MappingNode):
            raise BadInput(f"{path} is no profile of a site", allowed="YAML: fields and values, for example `partition: gpu`")
        names = [str(key.value) for key, _ in node.value]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise BadInput(f"{path}: field {twice} stands twice")  # YAML would keep the last one, silently
        value = yaml.safe_load(data)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(f"{path} is no YAML: {' '.join(str(error).split())[:300]}") from error
    try:
        return Profile.model_validate(value)
    except ValidationError as error:
        raise explain_validation(error, Profile, str(path)) from error


def read_profiles(folder: Path) -> dict[str, Profile]:
    """Return the profiles of all sites in a folder, by name."""
    return {path.stem: read_profile(path) for path in sorted(folder.glob("*.yaml"))}

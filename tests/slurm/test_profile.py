"""Profiles of sites: what is not exactly right is refused, before a job is made of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from governance_hooks.errors import BadInput
from slurm.profile import Profile, read_profile, read_profiles


def write(folder: Path, text: str, name: str = "alps") -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_partition_is_enough_and_the_rest_has_defaults(tmp_path: Path) -> None:
    found = read_profile(write(tmp_path, "partition: gpu\n"))
    assert (found.partition, found.site, found.notice_s, found.modules) == ("gpu", "/var/lib/coop-site", 120, [])


def test_the_profiles_of_a_folder_are_found_by_name(tmp_path: Path) -> None:
    write(tmp_path, "partition: gpu\n")
    write(tmp_path, "partition: dgx\ndevices_per_node: 4\n", "jura")
    assert {name: one.devices_per_node for name, one in read_profiles(tmp_path).items()} == {"alps": 8, "jura": 4}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("partition: gpu\npartitoin: x\n", "unknown field partitoin"),
        ("partition: gpu\npartition: dgx\n", "stands twice"),
        ("account: coop\n", "partition"),
        ("partition: gpu --uid=0\n", "partition"),
        ("partition: 'gpu\n#SBATCH --uid=0'\n", "is no YAML|partition"),
        ("partition: \"gpu\\n#SBATCH --uid=0\"\n", "partition"),
        ("partition: gpu\nsetup: [\"a\\nb\"]\n", "setup"),
        ("partition: gpu\njobs: relative/folder\n", "jobs"),
        ("partition: gpu\njobs: '/srv/our coop'\n", "jobs"),
        ("partition: gpu\nsite: '/srv/%j'\n", "site"),
        ("partition: gpu\ngres: fpga:1\n", "gres"),
        ("partition: gpu\ndevices_per_node: '8'\n", "devices_per_node"),
        ("partition: gpu\ncountry: Spain\n", "country"),
        ("partition: gpu\nnotice_s: 1\n", "notice_s"),
        ("- partition\n", "fields and values|no profile"),
        ("", "no profile"),
        ("partition: [gpu\n", "is no YAML"),
        ("partition: gpu\nsetup: !!python/object/apply:os.system [true]\n", "is no YAML"),
        ("[" * 5000, "is no YAML"),
        ("#" * 70_000, "no profile"),
    ],
)  # fmt: skip
def test_what_is_not_exactly_right_is_refused(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(BadInput, match=why) as refused:
        read_profile(write(tmp_path, text))
    assert "alps.yaml" in refused.value.what


def test_a_misspelt_field_is_answered_with_the_nearest_one(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as refused:
        read_profile(write(tmp_path, "partition: gpu\ndevices_pernode: 4\n"))
    assert "did you mean 'devices_per_node'?" in str(refused.value.allowed)


def test_a_site_without_a_profile_is_answered_with_those_that_have_one(tmp_path: Path) -> None:
    write(tmp_path, "partition: gpu\n")
    with pytest.raises(BadInput, match="no profile of site jura") as refused:
        read_profile(tmp_path / "jura.yaml")
    assert refused.value.allowed == "sites with one: alps"


def test_every_field_says_what_it_is_or_is_a_name_slurm_has() -> None:
    plain = {"partition", "account", "qos", "devices_per_node", "cpus_per_device"}
    text = Path(__file__).parents[2].joinpath("slurm", "profile.py").read_text(encoding="utf-8")
    for name in Profile.model_fields.keys() - plain:
        line = next(index for index, one in enumerate(text.splitlines()) if one.startswith(f"    {name}: "))
        assert text.splitlines()[line + 1].lstrip().startswith('"""'), name

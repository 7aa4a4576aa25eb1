"""The dataset card: valid by mlcroissant, right by its own digests, and silent about small numbers of people."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlcroissant as mlc
import pytest
import yaml

from data_pipeline.croissant import FEW, croissant
from data_pipeline.dataset_card import dataset_readme, write_card
from data_pipeline.manifest import Build
from data_pipeline.reader import rows
from data_pipeline.record import Draft
from governance_hooks.errors import BadInput

Give = Callable[..., Any]


@pytest.fixture
def build(give: Give, make_build: Callable[..., Build]) -> Build:
    """Seven contributors of Spanish, one of Basque."""
    for number in range(7):
        give(f"m-{number}", *(Draft(inputs=f"p {number} {n}", targets=f"r {n}", language="spa", licence="CC-BY-4.0") for n in range(3)))
    give("m-0", Draft(inputs="galdera", targets="erantzuna", language="eus", licence="CC0-1.0"), Draft(inputs="p 0 0", targets="r 0", language="spa"))
    return make_build(without=("m-6",))


@pytest.fixture
def published(build: Build, tmp_path: Path) -> Path:
    """The build with its card beside its files."""
    write_card(build, tmp_path / "card", "voices")
    folder = Path(shutil.copytree(build.folder, tmp_path / "published"))
    for file in (tmp_path / "card").iterdir():
        shutil.copy(file, folder)
    return folder


def test_the_card_is_valid_croissant_1_1_without_a_warning(published: Path) -> None:
    dataset = mlc.Dataset(jsonld=str(published / "croissant.json"))
    issues = dataset.metadata.ctx.issues
    assert (issues.errors, issues.warnings) == (set(), set())
    assert dataset.metadata.ctx.is_v1_1()


def test_the_records_read_back_are_those_of_the_build(published: Path, build: Build) -> None:
    found = list(mlc.Dataset(jsonld=str(published / "croissant.json")).records("records"))
    assert [(row["records/record"].decode(), row["records/inputs"].decode()) for row in found] == [(row.record, row.inputs) for row in rows(build)]


def test_a_flipped_byte_is_found_by_the_card_s_digest(published: Path) -> None:
    path = published / "records.parquet"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)
    with pytest.raises(mlc.GenerationError, match=r"Download\(records\.parquet\)"):
        list(mlc.Dataset(jsonld=str(published / "croissant.json")).records("records"))


def test_every_responsible_ai_field_and_the_identity_are_there(build: Build) -> None:
    card = croissant(build, "voices")
    assert {key for key in card if key.startswith("rai:")} == {
        f"rai:{name}"
        for name in (
            "dataCollection",
            "dataCollectionType",
            "dataAnnotationProtocol",
            "annotationsPerItem",
            "dataPreprocessingProtocol",
            "personalSensitiveInformation",
            "dataReleaseMaintenancePlan",
            "dataUseCases",
            "dataBiases",
            "dataLimitations",
            "dataSocialImpact",
        )
    }
    assert card["coop:build"]["coop:manifest"] == build.digest
    for stage, settings in build.manifest["stages"].items():
        told = f"{stage} ({', '.join(f'{key} {value}' for key, value in settings.items())})"
        assert any(told in line for line in card["rai:dataPreprocessingProtocol"])
    assert card["coop:build"]["coop:root"] == build.manifest["root"]
    told = {entry["contentUrl"]: entry["sha256"] for entry in card["distribution"]}
    assert told == {entry["path"]: entry["sha256"][7:] for entry in build.manifest["files"]} | {"manifest.json": build.digest[7:]}
    assert card["usageInfo"]["odrl:permission"]["odrl:constraint"][0]["odrl:rightOperand"] == {"@id": "dpv:NonCommercialResearch"}


def test_the_readme_tells_languages_exclusions_licences_and_marks(build: Build) -> None:
    text = dataset_readme(build, "voices")
    head = yaml.safe_load(text.split("---")[1])
    assert (head["language"], head["license"], head["size_categories"]) == (["es", "eu"], "other", ["n<1K"])
    for word in ("| Spanish (spa) |", "| `no_consent` | 3 |", "| `duplicate` | 1 |", "| `CC0-1.0` | 1 |", build.digest, "non-commercial research"):
        assert word in text
    assert "## Marks" not in dataset_readme(replace(build, manifest=build.manifest | {"marks": {}}), "voices")
    marked = replace(build, manifest=build.manifest | {"marks": {"language_doubt:eng": 2}})
    assert "| `language_doubt:eng` | 2 |" in dataset_readme(marked, "voices")
    assert yaml.safe_load(dataset_readme(replace(build, manifest=build.manifest | {"licences": {"MIT": 1}}), "voices").split("---")[1])["license"] == "mit"


@pytest.mark.parametrize(("members", "told"), [(1, f"fewer than {FEW}"), (4, f"fewer than {FEW}"), (5, "5"), (12, "12")])
def test_small_numbers_of_contributors_are_not_told(build: Build, members: int, told: str) -> None:
    manifest = build.manifest | {"languages": {"eus": {"train": 90, "heldout": 7, "members": members}}}
    shown = replace(build, manifest=manifest)
    assert f"| Basque (eus) | 90 | 7 | {told} |" in dataset_readme(shown, "voices")
    card = json.dumps(croissant(shown, "voices"))
    assert f"Basque 97 records, {told} contributors" in card
    if members < FEW:
        assert not re.search(rf"\b{members} contributors", card + dataset_readme(shown, "voices"))


@pytest.mark.parametrize(
    "change",
    [
        {"licences": {"MIT](javascript:alert(1))": 1}},
        {"excluded": {"x |\n# Owned": 1}},
        {"marks": {"<script>": 1}},
        {"rules": ["`rm`/v1"]},
    ],
)
def test_a_manifest_with_names_that_would_act_on_a_page_is_refused(build: Build, change: dict[str, Any]) -> None:
    hostile = replace(build, manifest=build.manifest | change)
    with pytest.raises(BadInput, match="no plain word"):
        dataset_readme(hostile, "voices")


def test_the_card_is_the_same_bytes_twice_and_leaves_the_build_alone(build: Build, tmp_path: Path) -> None:
    before = sorted(path.name for path in build.folder.iterdir())
    for name in ("a", "b"):
        write_card(build, tmp_path / name, "voices")
    write_card(build, tmp_path / "b", "voices")
    for file in ("README.md", "croissant.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    assert sorted(path.name for path in build.folder.iterdir()) == before

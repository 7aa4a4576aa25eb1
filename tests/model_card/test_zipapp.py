"""`coop verify` as one file gives the same answers, with nothing of ours installed."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from model_card.verify import verify

SCRIPT = Path(__file__).resolve().parents[2] / ".ci/zipapp"
NEEDED = (
    "cryptography",
    "nacl",
    "cffi",
    "_cffi_backend",
    "pycparser",
    "pydantic",
    "pydantic_core",
    "annotated_types",
    "typing_extensions",
    "typing_inspection",
)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pyz") / "coop-verify.pyz"
    subprocess.run([sys.executable, SCRIPT, out], check=True, capture_output=True)
    return out


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the compiled libraries the archive needs, and no other."""
    folder = tmp_path_factory.mktemp("libraries")
    for name in NEEDED:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin is not None:
            source = Path(spec.origin).parent if spec.submodule_search_locations else Path(spec.origin)
            (folder / source.name).symlink_to(source)
    return folder


def run(archive: Path, *arguments: str | Path, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    state = {"XDG_STATE_HOME": str(archive.parent / "state"), "PATH": "/usr/bin:/bin"} | ({"PYTHONPATH": str(path)} if path else {})
    return subprocess.run([sys.executable, "-S", archive, *map(str, arguments)], env=state, cwd="/", capture_output=True, text=True, check=False)


def test_it_verifies_what_coop_verify_verifies(archive: Path, libraries: Path, bundle: Path) -> None:
    done = run(archive, bundle, "--json", path=libraries)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert {name: told[name] for name in ("steps", "release", "verdict")} == {name: verify(bundle).as_dict()[name] for name in ("steps", "release", "verdict")}
    (bundle / "README.md").write_bytes(b"")
    broken = run(archive, bundle, path=libraries)
    assert (broken.returncode, "FAIL     card renders identically" in broken.stdout) == (1, True)
    asked = run(archive, bundle, "--rederive", "--base", bundle, path=libraries)
    assert (asked.returncode, "needs torch" in asked.stderr) == (2, True)


def test_without_the_compiled_libraries_it_says_what_it_needs(archive: Path, bundle: Path) -> None:
    done = run(archive, bundle)
    assert done.returncode == 2
    assert "pip install cryptography PyNaCl pydantic" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_same_sources_give_the_same_archive(archive: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, SCRIPT, tmp_path / "again.pyz"], check=True, capture_output=True)
    assert (tmp_path / "again.pyz").read_bytes() == archive.read_bytes()


def test_what_is_imported_when_a_bar_is_drawn_is_in_it(archive: Path, libraries: Path) -> None:
    draw = f"import sys; sys.path[:0] = [{str(archive)!r}, {str(libraries)!r}]; from commonweights.bars import bars; bars().add_task('reading', total=1, status='')"
    ran = subprocess.run([sys.executable, "-S", "-I", "-c", draw], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr

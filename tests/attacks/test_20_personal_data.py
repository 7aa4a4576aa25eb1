"""Private words and texts: nobody else may test a guess against the log, or read them from the disk."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from governance_hooks.canonical import digest, loads, sha256
from governance_hooks.consent import Use
from governance_hooks.cooperative import Cooperative
from tests.commonweights.conftest import Coop

REASON = "Too expensive."
USE = Use(
    purpose="dpv:NonCommercialResearch",
    processing=["ai:ModelFineTuning", "coop:ModelEvaluation"],
    recipients=["coop:PublicViaReleasedWeights"],
    licence="Apache-2.0",
)


@pytest.fixture(autouse=True)
def generous_umask() -> Iterator[None]:
    """The usual umask, under which new files are everybody's to read."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_guess_of_a_voters_reason_cannot_be_tested_against_the_log(coop: Coop, home: Path, keys: dict[str, Path]) -> None:
    (home / "release.json").write_bytes(b"{}")
    proposal = coop("-C", home, "--json", "propose", "release", home, "--key", keys["anna"]).json["proposal"]
    for name in ("anna", "bela"):  # two who think the same
        done = coop("-C", home, "vote", proposal, "against", "--key", keys[name], "--reason", REASON)
        assert done.code == 0, done.err
    with Cooperative.open(home, read_only=True) as opened:
        reasons = [vote.reason for vote in opened.register.proposals[proposal].votes.values()]
        log = b"".join(opened.proof().entries)
    assert len(set(reasons)) == 2
    assert not {sha256(REASON.encode()), digest(REASON), digest({"text": REASON})} & set(reasons)
    assert REASON.encode() not in log
    kept = {sha256(path.read_bytes()): path for path in (home / "private" / "reasons").iterdir()}
    assert set(kept) == set(reasons)  # the cooperative can still show what was said
    documents = [loads(path.read_bytes()) for path in kept.values()]
    assert [document["text"] for document in documents] == [REASON, REASON]
    assert all(len(document["salt"]) == 32 for document in documents)
    assert {mode(path) for path in kept.values()} == {0o600}


def test_the_store_of_texts_and_salts_is_its_owners_alone(tmp_path: Path) -> None:
    store = pytest.importorskip("data_pipeline.store")
    with store.ContributionStore(tmp_path / "contributions.sqlite"):
        pass
    assert mode(tmp_path / "contributions.sqlite") == 0o600


def test_the_texts_of_a_build_are_its_owners_alone(tmp_path: Path) -> None:
    store = pytest.importorskip("data_pipeline.store")
    from data_pipeline.build import build
    from data_pipeline.record import Draft

    drafts = [
        Draft(inputs=f"pregunta {number}", targets=f"respuesta {number * 7 % 13}", language="spa", licence="CC-BY-4.0", record_id=f"spa-{number:03d}")
        for number in range(24)
    ]
    with store.ContributionStore(tmp_path / "contributions.sqlite") as opened:
        for member, part in (("m-one", drafts[::2]), ("m-two", drafts[1::2])):
            opened.seal(opened.add_batch(member, part).batch, digest(member))
        build(
            opened,
            tmp_path / "build",
            coop=digest("coop"),
            log_size=1,
            log_root=digest("log"),
            at="2026-11-22T13:00:00Z",
            use=USE,
            consent_for=lambda member, language, batch: digest(["consent", member]),
        )
    assert mode(tmp_path / "build" / "records.parquet") == 0o600

"""Threat 8: the records that are trained on are not those of the voted build.

The attacker can write to the build folder and to the store of contributions at any moment, and can hash. Blocked: members vote on the
manifest's digest and the Merkle root over the ledger; whoever reads a row hashes its text again and compares it with its ledger line,
so a swap after the file was hashed is seen too. What is trained on are the tokens of the build, whose Merkle root the plan names; each
sample is hashed again when it is read.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from governance_hooks.canonical import dumps, loads, sha256
from governance_hooks.errors import BadInput, CoopError
from governance_hooks.gate import run_gate
from governance_hooks.hooks import guard as guards
from governance_hooks.hooks.guard import Guard
from governance_hooks.inventory import file_entry
from governance_hooks.ledger import read_ledger
from governance_hooks.merkle import Frontier
from tests.attacks.forge import OwnGuard, broken, only_broken, request_for
from tests.attacks.story import RUN
from tests.commonweights.conftest import Coop
from tests.village import Approved

if TYPE_CHECKING:
    from tests.attacks.workshop import Workshop


def edit_rows(folder: Path, column: str, values: list[Any]) -> None:
    """Write other values into the first rows of a build's texts; every other byte of a row stays."""
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(folder / "records.parquet")
    columns = table.to_pydict()
    columns[column][: len(values)] = values
    parquet.write_table(type(table).from_pydict(columns, schema=table.schema), folder / "records.parquet")


def reseal(folder: Path) -> None:
    """Make the manifest fit the files again."""
    manifest = loads((folder / "manifest.json").read_bytes())
    manifest["files"] = [dict(file_entry(folder, folder / entry["path"])) for entry in manifest["files"]]
    manifest["root"] = read_ledger(folder / "ledger.jsonl")[1]
    (folder / "manifest.json").write_bytes(dumps(manifest))


@pytest.mark.parametrize("name", ["records.parquet", "excluded.jsonl", "batches.jsonl"])
def test_a_private_file_of_the_build_that_changed_since_the_vote_does_not_start(approved: Approved, name: str) -> None:
    path = approved.build / name
    path.write_bytes(path.read_bytes() + b"\n")
    only_broken(run_gate(request_for(approved)), "base, dataset and code match", f"file {name} of the dataset was changed after it was built")


def test_a_ledger_that_changed_since_the_vote_does_not_start(approved: Approved) -> None:
    lines = (approved.build / "ledger.jsonl").read_bytes().splitlines(keepends=True)
    (approved.build / "ledger.jsonl").write_bytes(b"".join(lines[1:]))
    broken(run_gate(request_for(approved)), "base, dataset and code match", "the ledger does not hash to the voted Merkle root")


def test_a_build_whose_manifest_fits_the_swapped_files_is_not_the_voted_one(approved: Approved) -> None:
    (approved.build / "records.parquet").write_bytes(b"other texts")
    reseal(approved.build)
    broken(run_gate(request_for(approved)), "base, dataset and code match", "the dataset is not the voted one (manifest digest differs)")


def test_a_build_the_operator_never_logged_does_not_start(approved: Approved) -> None:
    (approved.build / "records.parquet").write_bytes(b"other texts")
    reseal(approved.build)
    document = approved.plan.model_dump()
    document["build"]["manifest"] = sha256((approved.build / "manifest.json").read_bytes())
    approved.plan_bytes = dumps(document)
    approved.village.approve("run", sha256(approved.plan_bytes), uses=2)
    broken(run_gate(request_for(approved)), "base, dataset and code match", "the log does not know this dataset")


def tokens_of(workshop: Workshop) -> Path:
    """The folder of the tokens the plan names."""
    [head] = workshop.build.parent.glob(f"{workshop.build.name}.tokens/*/tokens.json")
    return head.parent


def swapping(workshop: Workshop, column: str, values: list[Any]) -> OwnGuard:
    """Return a guard that swaps rows when every check before it has passed, and takes the tokens away, so that the rows are read."""

    class Swapping(OwnGuard):
        def start(self) -> None:
            shutil.rmtree(tokens_of(workshop))
            edit_rows(workshop.build, column, values)

    return Swapping()


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("targets", "planted", "row 1: text eus-000 is not the one the ledger names"),
        ("inputs", "planted", "row 1: text eus-000 is not the one the ledger names"),
        ("record", "spa-999", "row 1: not the text of the ledger's line"),
        ("split", "train/heldout", "row 1: split of text eus-000 differs from the ledger"),
        ("authors", ["m-nobody"], "row 1: authors of text eus-000 differs from the ledger"),
    ],
)
def test_a_row_swapped_between_the_gate_and_the_read_is_not_trained_on(workshop: Workshop, column: str, value: Any, words: str) -> None:
    with pytest.raises(CoopError, match=words):
        workshop.train(swapping(workshop, column, [value]))
    assert not workshop.adapter().exists()


def test_texts_exchanged_between_two_records_are_not_trained_on(workshop: Workshop) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    first, second = parquet.read_table(workshop.build / "records.parquet").to_pydict()["targets"][:2]
    with pytest.raises(CoopError, match="row 1: text eus-000 is not the one the ledger names"):
        workshop.train(swapping(workshop, "targets", [second, first]))


def test_swapped_texts_do_not_reach_a_run_that_has_its_tokens(workshop: Workshop) -> None:
    workshop.train(run="honest")

    class Swapping(OwnGuard):
        def start(self) -> None:
            edit_rows(workshop.build, "targets", ["planted"])

    workshop.train(Swapping(), run="swapped")
    assert workshop.adapter("swapped").read_bytes() == workshop.adapter("honest").read_bytes()


def test_tokens_of_other_texts_with_digests_that_fit_are_not_trained_on(workshop: Workshop) -> None:
    from data_pipeline.tokens.arrow import ArrowWriter
    from data_pipeline.tokens.counts import Tally
    from data_pipeline.tokens.tokens import open_tokens

    class Planting(OwnGuard):
        def start(self) -> None:
            folder = tokens_of(workshop)
            real = open_tokens(folder)
            planted = [replace(one, ids=one.ids[::-1].copy(), start=1, stop=2) if not n else one for n, one in enumerate([*real.train, *real.heldout])]
            with ArrowWriter(folder / "tokens.arrow", real.description.vocabulary) as arrow:
                tree, tally = Frontier(), Tally()
                for one in planted:
                    arrow.append(one)
                    tree.push(one.leaf())
                    tally.add(one)
            description = real.description.model_copy(update={"root": "sha256:" + tree.root().hex(), "languages": tally.counts()})
            head = loads((folder / "tokens.json").read_bytes())
            head |= {"digest": description.digest, "description": description.model_dump()}
            head["arrow"]["sha256"] = file_entry(folder, folder / "tokens.arrow")["sha256"]
            (folder / "tokens.json").write_bytes(dumps(head))
            open_tokens(folder)  # it holds together

    with pytest.raises(BadInput, match="not those of the plan"):
        workshop.train(Planting())
    assert not workshop.adapter().exists()


def test_a_flipped_byte_anywhere_in_the_texts_is_not_trained_on(workshop: Workshop) -> None:
    path = workshop.build / "records.parquet"
    whole = path.read_bytes()
    for position in range(4, len(whole), len(whole) // 6):
        flipped = whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :]

        class Flipping(OwnGuard):
            def start(self, data: bytes = flipped) -> None:
                shutil.rmtree(workshop.build.parent / f"{workshop.build.name}.tokens")
                path.write_bytes(data)

        try:
            workshop.train(Flipping(), run=f"flipped-{position}")
        except CoopError:
            assert not workshop.adapter(f"flipped-{position}").exists()
        else:  # a byte nobody reads, such as a statistic: the very texts of the build were trained on
            path.write_bytes(whole)
            workshop.train(run=f"whole-{position}")
            assert workshop.adapter(f"flipped-{position}").read_bytes() == workshop.adapter(f"whole-{position}").read_bytes()


def test_a_build_swapped_whole_between_gate_and_trainer_is_not_the_plans(workshop: Workshop) -> None:
    class Swapping(OwnGuard):
        def start(self) -> None:
            edit_rows(workshop.build, "targets", ["planted"])
            reseal(workshop.build)

    with pytest.raises(BadInput, match="is not the one of the plan"):
        workshop.train(Swapping())


def test_a_ledger_swapped_between_gate_and_guard_is_not_watched(approved: Approved, monkeypatch: pytest.MonkeyPatch) -> None:
    approved.start()
    village, path, gate = approved.village, approved.build / "ledger.jsonl", guards.run_gate

    def swapped(request: Any) -> Any:
        report = gate(request)
        path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])  # the guard would watch one member's consent only
        return report

    monkeypatch.setattr(guards, "run_gate", swapped)
    guard = Guard(request_for(approved, run=RUN), fresh=lambda: village.coop.proof().dumps(), clock=lambda: village.clock)
    with pytest.raises(BadInput, match="the ledger does not hash to the voted Merkle root"):
        guard.start()
    assert guard.stop(force=True) is not None


def test_texts_changed_in_the_store_behind_a_members_back_make_no_build(coop: Coop, home: Path, keys: dict[str, Path], tmp_path: Path) -> None:
    pytest.importorskip("data_pipeline.store")
    lines = [{"inputs": f"pregunta {n}", "targets": f"respuesta {n}", "language_code": "spa", "licence": "CC-BY-4.0"} for n in range(24)]
    (tmp_path / "given.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert coop("-C", home, "contribute", tmp_path / "given.jsonl", "--key", keys["anna"]).code == 0
    assert coop("-C", home, "consent", "give", "--yes", "--key", keys["anna"]).code == 0
    with sqlite3.connect(home / "contributions.sqlite") as raw:
        raw.execute("UPDATE records SET targets = 'planted' WHERE targets = 'respuesta 3'")
    done = coop("-C", home, "build", "make", "one", "--heldout", "400")
    assert (done.code, "is not what its member committed to: the store was changed" in done.err) == (1, True)

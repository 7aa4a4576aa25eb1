from __future__ import annotations

import random
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_pipeline.manifest import Build, read_build, read_ledger
from data_pipeline.reader import rows
from data_pipeline.recipe import DEFAULT, Recipe
from data_pipeline.record import Draft
from data_pipeline.store import Batch, ContributionStore
from data_pipeline.verify import read_exclusions, verify_build
from governance_hooks.canonical import dumps, loads, sha256
from governance_hooks.consent import Use
from governance_hooks.errors import BadInput, CoopError
from governance_hooks.merkle import leaf_hash, root
from tests.data_pipeline.varied import tree, varied

Give = Callable[..., Batch]
MakeBuild = Callable[..., Build]


def some(language: str = "eng", count: int = 20, prefix: str = "q") -> list[Draft]:
    return [Draft(f"{prefix}{n}?", f"{prefix}{n}.", language, record_id=f"{prefix}-{language}-{n:03}", licence="CC-BY-4.0") for n in range(count)]


def two_level_root(lines: list[bytes]) -> str:
    """The root as docs/data_pipeline.md states it, written again from there."""
    authors = [loads(line)["authors"] for line in lines]
    members = sorted({author for names in authors for author in names})
    leaves = []
    for member in members:
        own = [leaf_hash(line) for line, names in zip(lines, authors, strict=True) if member in names]
        leaves.append(leaf_hash(dumps({"member": member, "root": b64encode(root(own)).decode(), "rows": len(own)})))
    return sha256(dumps({"members": len(members), "rows": len(lines), "tree": b64encode(root(leaves)).decode()}))


def test_a_build_says_what_it_holds_and_verifies(give: Give, make_build: MakeBuild) -> None:
    give("ana", *some("eng"))
    give("ben", *some("spa", 10), Draft("What is q0?", "It is q0.", "eng", parents=("q-eng-001",), record_id="edit"), Draft("Q0?", "q0.", "eng", record_id="z"))
    build = make_build()
    assert verify_build(build.folder) == build == read_build(build.folder)
    manifest = build.manifest
    assert manifest["records"] == 31 == manifest["splits"]["train"] + manifest["splits"]["heldout"]
    assert sum(side for code in ("eng", "spa") for side in (manifest["languages"][code]["train"], manifest["languages"][code]["heldout"])) == 31
    assert (manifest["languages"]["eng"]["members"], manifest["languages"]["spa"]["members"]) == (2, 1)
    assert manifest["excluded"] == {"duplicate": 1}
    assert manifest["licences"] == {"CC-BY-4.0": 30, "NOASSERTION": 1}
    assert build.digest == sha256((build.folder / "manifest.json").read_bytes())
    assert [entry["path"] for entry in manifest["files"]] == ["batches.jsonl", "excluded.jsonl", "ledger.jsonl", "records.parquet", "reviews.jsonl"]
    lines = build.ledger.read_bytes().splitlines()
    assert manifest["root"] == two_level_root(lines)
    assert len(list(rows(build))) == len(list(rows(build, "train"))) + len(list(rows(build, "heldout")))


def test_the_ledger_holds_every_author_with_a_consent_and_no_text(give: Give, make_build: MakeBuild) -> None:
    batch = give("ana", Draft("geheim?", "geheim!", "deu", record_id="a"))
    second = give("ben", Draft("streng geheim?", "geheim!", "deu", record_id="b", parents=("a",)))
    build = make_build()
    first_line, line = (loads(raw) for raw in build.ledger.read_bytes().splitlines())
    assert line["authors"] == ["ana", "ben"]
    assert line["consents"] == [sha256(b"ana"), sha256(b"ben")]
    assert (first_line["batch"], line["batch"]) == (batch.statement, second.statement)
    assert b"geheim" not in build.ledger.read_bytes() + (build.folder / "manifest.json").read_bytes() + build.excluded.read_bytes()


def test_the_same_store_position_and_parameters_give_the_same_bytes(give: Give, make_build: MakeBuild) -> None:
    give("ana", *some())
    give("ben", *some("spa"), Draft("x", "y", "eng"))
    assert tree(make_build(without=("cleo",)).folder) == tree(make_build().folder)
    assert make_build(heldout_permille=200).digest != make_build().digest


def test_text_is_normalised_in_the_build_and_not_in_the_store(give: Give, make_build: MakeBuild, store: ContributionStore) -> None:
    give("ana", Draft("  cafe\u0301\r\n", "नमस्ते，世界 ", "fra", record_id="r"))
    assert [(row.inputs, row.targets, row.authors, row.language) for row in rows(make_build())] == [("café", "नमस्ते，世界", ("ana",), "fra")]
    assert store.record("r").inputs == "  cafe\u0301\r\n"


def test_withdrawal_reaches_edits_and_frees_the_copy_of_somebody_who_stays(give: Give, make_build: MakeBuild) -> None:
    give("ana", Draft("one", "1", "eng", record_id="a1"), Draft("two", "2", "eng", record_id="a2"), at="2026-01-01T00:00:00Z")
    give("ben", Draft("two, better", "2", "eng", record_id="b2", parents=("a2",)), at="2026-01-02T00:00:00Z")
    give("cleo", Draft("ONE", "1", "eng", record_id="c1"), at="2026-01-03T00:00:00Z")
    assert [row.record for row in rows(make_build())] == ["a1", "a2", "b2"]
    after = make_build(without=("ana",))
    assert [row.record for row in rows(after)] == ["c1"]
    assert {record: reason for record, (reason, _) in read_exclusions(after).items()} == {"a1": "no_consent", "a2": "no_consent", "b2": "no_consent"}


def test_every_stored_record_is_in_the_build_or_has_a_reason(give: Give, make_build: MakeBuild, store: ContributionStore) -> None:
    give("ana", *some(count=5), Draft("long" * 2000, "x", "eng", record_id="long"), Draft("erase me", "x", "eng", record_id="gone"))
    give("ben", Draft("Q0?", "Q0.", "eng", record_id="copy"), at="2026-03-01T00:00:00Z")
    give("cleo", Draft("not sealed", "x", "eng", record_id="open"), seal=False)
    give("dora", Draft("no", "x", "eng", record_id="no"))
    store.erase(["gone"])
    build = make_build(without=("dora",))
    exclusions = read_exclusions(build)
    assert {record: reason for record, (reason, _) in exclusions.items()} == {
        "long": "too_long",
        "gone": "erased",
        "copy": "duplicate",
        "open": "unsealed",
        "no": "no_consent",
    }
    assert {line.record for line in read_ledger(build)} | set(exclusions) == {record.record for record in store.records()}
    assert build.manifest["excluded"] == {"duplicate": 1, "erased": 1, "no_consent": 1, "too_long": 1, "unsealed": 1}


def test_a_build_without_rows_is_refused_and_says_how_many_lacked_consent(give: Give, make_build: MakeBuild, tmp_path: Path) -> None:
    give("ana", *some(count=4))
    give("ben", *some("spa", 2), seal=False)
    with pytest.raises(CoopError, match="of 6 stored texts 4 lack a consent in force; 2 unsealed"):
        make_build(without=("ana",))
    assert list(tmp_path.glob("build-*")) == []


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("UPDATE records SET targets = 'planted' WHERE record = 'q-eng-002'", "text q-eng-002 is not what"),
        ("UPDATE records SET parents = '[\"q-eng-001\"]' WHERE record = 'q-eng-002'", "text q-eng-002 is not what"),
        ("DELETE FROM records WHERE record = 'q-eng-002'", "do not make the root ana signed"),
        ("UPDATE records SET position = 9 - position", "do not make the root ana signed"),
        ("UPDATE records SET authors = '[\"ben\"]' WHERE record = 'edit'", "text edit does not name every author"),
        ("UPDATE batches SET member = 'eve' WHERE member = 'ana'", "text q-eng-000 does not name every author"),
        ("DELETE FROM records WHERE record = 'q-eng-000'", "text edit does not name every author"),
    ],
)
def test_a_store_changed_behind_the_members_backs_stops_the_build(give: Give, make_build: MakeBuild, store: ContributionStore, change: str, why: str) -> None:
    give("ana", *some(count=4))
    give("ben", Draft("better", "answer", "eng", record_id="edit", parents=("q-eng-000",)))
    with store.engine.begin() as connection:
        connection.exec_driver_sql(change)
    with pytest.raises(CoopError, match=why):
        make_build()


def test_an_existing_folder_is_never_overwritten(give: Give, make_build: MakeBuild, tmp_path: Path) -> None:
    give("ana", *some(count=4))
    (tmp_path / "build-1").mkdir()
    with pytest.raises(CoopError, match="exists already"):
        make_build()
    assert list((tmp_path / "build-1").iterdir()) == []


@pytest.mark.parametrize(
    "options",
    [{"heldout_permille": 1001}, {"max_characters": 1}, {"at": "today"}, {"coop": "coop"}, {"log_root": "sha256:x"}, {"log_size": -1}],
)
def test_parameters_out_of_range_leave_no_build(give: Give, make_build: MakeBuild, tmp_path: Path, options: dict[str, object]) -> None:
    give("ana", *some(count=4))
    with pytest.raises(BadInput):
        make_build(**options)
    assert list(tmp_path.glob("build-*")) == []
    assert list(tmp_path.glob(".tmp-*")) == []


def test_no_prompt_stands_on_both_sides_even_across_languages(give: Give, make_build: MakeBuild) -> None:
    give("ana", *[Draft(f"prompt {n % 40}", f"answer {n}", "eng" if n % 2 else "spa") for n in range(400)])
    build = make_build(heldout_permille=500)
    train, heldout = ({row.inputs for row in rows(build, side)} for side in ("train", "heldout"))  # type: ignore[arg-type] # literals
    assert train
    assert heldout
    assert not train & heldout


def _ledger(folder: Path, batches: list[tuple[str, list[Draft]]], make_build: MakeBuild, **options: object) -> dict[str, tuple[object, ...]]:
    """Return what a ledger says of each record, but for the digests that depend on random salts."""
    folder.mkdir()
    with ContributionStore(folder / "s.sqlite") as store:
        for number, (member, drafts) in enumerate(batches):
            batch = store.add_batch(member, drafts, at="2026-01-01T00:00:00Z")
            store.seal(batch.batch, sha256(f"{member}{len(batches)}{number}".encode()))
        build = make_build(source=store, **options)
    return {line.record: (line.authors, line.consents, line.language, line.split) for line in read_ledger(build)}


ROWS = st.lists(
    st.tuples(st.sampled_from(["ana", "ben", "cleo"]), st.sampled_from("abcdeABCDE"), st.sampled_from("xyz"), st.sampled_from(["eng", "spa"])),
    min_size=1,
    max_size=12,
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(rows_=ROWS, seed=st.integers(0, 1000))
def test_the_order_of_the_input_changes_no_ledger_line(
    tmp_path_factory: pytest.TempPathFactory, make_build: MakeBuild, rows_: list[tuple[str, str, str, str]], seed: int
) -> None:
    base = tmp_path_factory.mktemp("order")
    batches = [(member, [Draft(q, a, language, record_id=f"r{n:02}")]) for n, (member, q, a, language) in enumerate(rows_)]
    shuffled = random.Random(seed).sample(batches, len(batches))
    assert _ledger(base / "one", batches, make_build) == _ledger(base / "two", shuffled, make_build)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(kept=ROWS, withdrawn=ROWS, position=st.integers(0, 12))
def test_rows_of_a_member_who_withdrew_change_no_kept_ledger_line(
    tmp_path_factory: pytest.TempPathFactory,
    make_build: MakeBuild,
    kept: list[tuple[str, str, str, str]],
    withdrawn: list[tuple[str, str, str, str]],
    position: int,
) -> None:
    base = tmp_path_factory.mktemp("withdrawn")
    batches = [(member, [Draft(q, a, language, record_id=f"r{n:02}")]) for n, (member, q, a, language) in enumerate(kept)]
    others = [("zoe", [Draft(q, a, language, record_id=f"a{n:02}")]) for n, (_, q, a, language) in enumerate(withdrawn)]
    mixed = batches[:position] + others + batches[position:]
    assert _ledger(base / "one", batches, make_build) == _ledger(base / "two", mixed, make_build, without=("zoe",))


def test_kept_ledger_bytes_stay_the_same_when_a_withdrawn_member_joined_the_store(give: Give, make_build: MakeBuild) -> None:
    give("ana", *some(count=8))
    before = make_build()
    give("zoe", *some(count=8, prefix="z"), Draft("q1?", "q1.", "eng"), at="2025-01-01T00:00:00Z")
    after = make_build(without=("zoe",))
    assert before.ledger.read_bytes() == after.ledger.read_bytes()
    assert before.records.read_bytes() == after.records.read_bytes()


def test_progress_reports_every_stage(give: Give, make_build: MakeBuild) -> None:
    give("ana", *some(count=4))
    seen: list[tuple[str, int, int]] = []
    make_build(progress=lambda *step: seen.append(step))
    assert seen == [("check each row", 4, 4), ("find copies", 0, 1), ("find copies", 1, 1), ("ledger", 4, 4), ("write", 0, 1), ("write", 1, 1)]


FULL = """
import resource, sys
from pathlib import Path
from data_pipeline.build import build
from data_pipeline.store import ContributionStore
from governance_hooks.canonical import sha256
from governance_hooks.consent import Use
from governance_hooks.errors import CoopError
use = Use(purpose="dpv:NonCommercialResearch", processing=["ai:ModelFineTuning", "coop:ModelEvaluation"], recipients=["coop:Members"], licence="Apache-2.0")
store = ContributionStore(sys.argv[1])
store.records()
limit = int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    build(store, Path(sys.argv[2]), coop=sha256(b"c"), log_size=1, log_root=sha256(b"l"), at="2026-11-22T13:00:00Z", use=use, consent_for=lambda m, l, b: sha256(b"x"))
except CoopError as error:
    print(error)
    sys.exit(3)
"""


@pytest.mark.parametrize("limit", [50_000, 400_000, 800_000])
def test_a_full_disk_names_the_build_leaves_nothing_and_the_next_run_works(
    give: Give, store: ContributionStore, make_build: MakeBuild, tmp_path: Path, limit: int
) -> None:
    noise = random.Random(1)
    give("ana", *[Draft(f"{n} " + noise.randbytes(600).hex(), "answer", "eng") for n in range(500)])
    out = tmp_path / "builds" / "full"
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path / "contributions.sqlite"), str(out), str(limit)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 3, done.stderr
    assert f"cannot write {out}" in done.stdout
    assert "nothing was half-written" in done.stdout
    assert list(out.parent.iterdir()) == []
    assert make_build().manifest["records"] == 500


def test_a_use_is_kept_as_it_was_given(give: Give, make_build: MakeBuild) -> None:
    give("ana", *some(count=3))
    use = Use(purpose="dpv:CommercialResearch", processing=["coop:ModelEvaluation"], recipients=["coop:PublicViaReleasedWeights"], licence="CC-BY-4.0")
    assert make_build(use=use).manifest["use"] == use.model_dump()


@pytest.mark.parametrize(("seed", "near"), [*((seed, {}) for seed in range(6)), (1, {"jaccard_only": 1}), (4, {"jaccard_only": 1})])
def test_the_number_of_parts_decides_nothing(give: Give, make_build: MakeBuild, seed: int, near: dict[str, int]) -> None:
    for day, (member, draft) in enumerate(varied(seed)):
        give(member, draft, at=f"2026-01-{1 + day % 28:02}T00:00:00Z")
    recipe = Recipe.parse({**DEFAULT.as_dict(), "review": {"min_edit": 5}, "near_duplicates": near})
    whole = make_build(shards=1, recipe=recipe)
    assert whole.manifest["stages"]["near_duplicates"]["jaccard_only"] == len(near)
    assert {"duplicate", "near_duplicate", "small_edit"} <= set(whole.manifest["excluded"])
    assert whole.manifest["marks"]["pii:email"]
    for shards in (2, 7):
        assert tree(make_build(shards=shards, recipe=recipe).folder) == tree(whole.folder)
    verify_build(whole.folder)


def test_the_number_of_processes_decides_nothing(give: Give, make_build: MakeBuild) -> None:
    for member, draft in varied(1):
        give(member, draft)
    assert tree(make_build(shards=5, jobs=2).folder) == tree(make_build(shards=1, jobs=1).folder)


def test_what_statements_the_log_does_not_hold_brought_is_not_looked_at_and_one_of_another_root_stops_the_build(give: Give, make_build: MakeBuild) -> None:
    ana, ben = give("ana", *some("eng", 5)), give("ben", *some("spa", 5))
    assert ana.statement is not None
    assert ben.statement is not None
    build = make_build(signed={ana.statement: ana.root})
    assert {line.batch for line in read_ledger(build)} == {ana.statement}
    assert build.manifest["excluded"] == {}
    with pytest.raises(CoopError, match="is not the one its statement signs"):
        make_build(signed={ana.statement: ana.root, ben.statement: ana.root})


def test_a_row_that_is_left_out_by_itself_takes_no_copy_with_it(give: Give, make_build: MakeBuild) -> None:
    """The earlier of two copies is an edit that changed nothing: it falls, and the later one stays."""
    give("ana", Draft("What is the sea?", "Water and salt.", "eng", record_id="a"), at="2026-01-01T00:00:00Z")
    give("ben", Draft("What is the sea!", "Water and salt.", "eng", record_id="b", parents=("a",)), at="2026-01-02T00:00:00Z")
    give("cleo", Draft("WHAT IS THE SEA!", "Water and salt.", "eng", record_id="c"), at="2026-01-03T00:00:00Z")
    reasons = {record: reason for record, (reason, _) in read_exclusions(make_build(recipe=Recipe.parse({"review": {"min_edit": 5}}))).items()}
    assert reasons == {"b": "small_edit"}


def test_an_edit_is_no_copy_of_what_it_edits(give: Give, make_build: MakeBuild) -> None:
    text = "The moon pulls at the water of the sea, and so the tides come and go twice a day."
    give("ana", Draft("Please explain the tides of the sea to a small child.", text, "eng", record_id="a"), at="2026-01-01T00:00:00Z")
    give(
        "ben", Draft("Please explain the tides of the sea to a small child.", text + " Nice!", "eng", record_id="b", parents=("a",)), at="2026-01-02T00:00:00Z"
    )
    give("cleo", Draft("Please explain the tides of the sea to a small child.", text + " Well.", "eng", record_id="c"), at="2026-01-03T00:00:00Z")
    reasons = {record: reason for record, (reason, _) in read_exclusions(make_build()).items()}
    assert reasons == {"c": "near_duplicate"}


def test_a_build_whose_records_are_erased_meanwhile_is_thrown_away(give: Give, make_build: MakeBuild, store: ContributionStore, tmp_path: Path) -> None:
    give("ana", *some())
    with pytest.raises(CoopError, match="erased while the dataset was built"):
        make_build(progress=lambda label, done, _total: store.erase(["q-eng-003"]) if label == "ledger" and done else None)
    assert not list(tmp_path.glob("build-*"))


def test_an_unknown_stage_or_parameter_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(BadInput, match="did you mean near_duplicates"):
        Recipe.parse({"near_duplicate": {}})
    with pytest.raises(BadInput, match=r"review\.min_reviewer"):
        Recipe.parse({"review": {"min_reviewer": 3}})
    with pytest.raises(BadInput, match=r"pii\.handles"):
        Recipe.parse({"pii": {"handles": 7}})

"""`coop build` as stewards and members use it: quality stages, evaluation suites, ratings, and the build made again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

TEXTS = [
    ("Please explain the tides of the sea to a small child.", "The moon pulls at the water, and twice a day it comes."),
    ("Please explain the tides of the sea to a small child!", "The moon pulls at the water, and twice a day it comes!"),
    ("Which planet of the sun has the most moons around it?", "Saturn, as far as anybody has counted them until now."),
    ("How do I write to the office of this cooperative?", "Write to jane.doe@brightmail.org, who reads everything."),
    ("What is this?", "A house."),
]


@pytest.fixture
def given(coop, home: Path, keys: dict[str, Path], tmp_path: Path) -> Path:
    """A cooperative with a few records of two members, all consenting."""
    for name, some in (("anna", TEXTS[:3]), ("bela", TEXTS[3:])):
        rows = [{"inputs": a, "targets": b, "language_code": "eng", "licence": "CC-BY-4.0", "record_id": f"{name}-{n}"} for n, (a, b) in enumerate(some)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        assert coop("-C", home, "contribute", tmp_path / f"{name}.jsonl", "--key", keys[name]).code == 0
        assert coop("-C", home, "consent", "give", "--yes", "--key", keys[name]).code == 0
    return home


def suite(tmp_path: Path) -> Path:
    path = tmp_path / "quiz.jsonl"
    path.write_text(json.dumps({"item": "q1", "text": "Which planet of the sun has the most moons around it?"}) + "\n", encoding="utf-8")
    return path


def test_a_build_runs_the_stages_says_what_each_did_and_is_made_again_to_the_byte(coop, given: Path, tmp_path: Path) -> None:
    made = coop("-C", given, "--json", "build", "make", "one", "--suite", f"quiz={suite(tmp_path)}")
    assert made.code == 0, made.err
    assert made.json["excluded"] == {"evaluation_item": 1, "near_duplicate": 1}
    assert made.json["marks"]["pii:email"] == 1
    assert made.json["records"] == 3
    assert "evaluation_item" in coop("-C", given, "build", "why", "one", "anna-2").out
    assert "jane.doe" not in (given / "builds/one/records.parquet").read_bytes().decode(errors="replace")
    done = coop("-C", given, "build", "verify", "one", "--remake")
    assert done.code == 0, done.err
    assert "made again from the log and the store: the same bytes" in done.out


def test_a_suite_that_is_gone_blocks_the_verification(coop, given: Path, tmp_path: Path) -> None:
    assert coop("-C", given, "build", "make", "one", "--suite", f"quiz={suite(tmp_path)}").code == 0
    (given / "suites/quiz.jsonl").unlink()
    done = coop("-C", given, "build", "verify", "one")
    assert done.code == 1
    assert "the evaluation suite quiz of the dataset is not at hand" in done.err


def test_later_statements_do_not_change_what_a_build_is_made_again_from(coop, given: Path, keys: dict[str, Path], tmp_path: Path) -> None:
    assert coop("-C", given, "build", "make", "one").code == 0
    (tmp_path / "more.jsonl").write_text(json.dumps({"inputs": "one more?", "targets": "yes", "language_code": "eng"}) + "\n", encoding="utf-8")
    assert coop("-C", given, "contribute", tmp_path / "more.jsonl", "--key", keys["anna"]).code == 0
    assert coop("-C", given, "rate", "anna-0", "--score", "1", "--key", keys["bela"]).code == 0
    assert coop("-C", given, "consent", "withdraw", "--key", keys["bela"]).code == 0
    assert "the same bytes" in coop("-C", given, "build", "verify", "one", "--remake").out
    made = coop("-C", given, "--json", "build", "make", "two")
    assert made.json["excluded"]["no_consent"] == 2


def test_a_store_changed_behind_the_members_backs_does_not_make_the_same_build(coop, given: Path) -> None:
    import sqlite3

    assert coop("-C", given, "build", "make", "one").code == 0
    with sqlite3.connect(given / "contributions.sqlite") as raw:
        raw.execute("UPDATE records SET targets = 'A ship.' WHERE record = 'bela-1'")
    done = coop("-C", given, "build", "verify", "one", "--remake")
    assert done.code == 1
    assert "bela-1 is not what its member committed to" in done.err


def test_reviewers_ratings_decide_under_the_stages_that_were_asked_for(coop, given: Path, keys: dict[str, Path], tmp_path: Path) -> None:
    for name in ("bela", "caro"):
        assert coop("-C", given, "rate", "anna-0", "--score", "1", "--key", keys[name]).code == 0
    assert coop("-C", given, "rate", "bela-1", "--score", "5", "--key", keys["caro"]).code == 0
    made = coop("-C", given, "--json", "build", "make", "one")
    assert made.code == 0, made.err
    assert made.json["excluded"] == {"rated_low": 1}
    done = coop("-C", given, "--json", "build", "verify", "one", "--remake")
    assert done.code == 0, done.err
    assert done.json["ratings"] == 1
    reviews = given / "builds/one/reviews.jsonl"
    reviews.write_bytes(reviews.read_bytes().replace(b'"score":5', b'"score":4'))
    assert "reviews.jsonl is not as the manifest says" in coop("-C", given, "build", "verify", "one").err


def test_bylaws_may_ask_for_stages_and_a_build_without_them_is_refused(coop, given: Path, tmp_path: Path) -> None:
    from commonweights.workspace import open_workspace
    from governance_hooks.errors import Refused

    (tmp_path / "wrong.yaml").write_text("stages: {revue: {min_edit: 5}}\n")
    assert "did you mean review?" in coop("-C", given, "bylaws", "--with", tmp_path / "wrong.yaml").err
    (tmp_path / "ask.yaml").write_text(yaml.safe_dump({"stages": {"review": {"min_reviewers": 2, "drop_unreviewed": 1}}}))
    assert "stages.review.drop_unreviewed: None -> 1" in coop("-C", given, "bylaws", "--with", tmp_path / "ask.yaml").out
    with open_workspace(given) as space:
        bylaws = space.coop.register.bylaws
        space.coop.register.bylaws = bylaws.model_copy(update={"stages": {"review": {"drop_unreviewed": 1}}})
        made = {"manifest": "sha256:" + "1" * 64, "root": "sha256:" + "2" * 64, "records": 3}
        with pytest.raises(Refused, match="leaves out the stage review"):
            space.coop.operate("coop.build/v1", made | {"stages": {}})
        with pytest.raises(Refused, match=r"review\.drop_unreviewed is not what the bylaws ask for"):
            space.coop.operate("coop.build/v1", made | {"stages": {"review": {"drop_unreviewed": 0}}})


def test_members_may_vote_that_likeness_alone_makes_a_near_copy(coop, given: Path, tmp_path: Path) -> None:
    """The bylaws' word fills in what hangs on it, and a file cannot have it otherwise; the manifest and each author's reason name it."""
    from commonweights.building import choose_recipe
    from commonweights.workspace import open_workspace
    from governance_hooks.errors import BadInput

    (tmp_path / "ask.yaml").write_text("stages: {near_duplicates: {jaccard_only: 1}}\n")
    assert "stages.near_duplicates.jaccard_only: None -> 1" in coop("-C", given, "bylaws", "--with", tmp_path / "ask.yaml").out
    (tmp_path / "plain.yaml").write_text("near_duplicates: {jaccard_only: 1}\n")
    made = coop("-C", given, "--json", "build", "make", "one", "--stages", tmp_path / "plain.yaml")
    assert made.code == 0, made.err
    assert made.json["stages"]["near_duplicates"] == {"jaccard_only": 1, "likeness_permille": 700, "short_below": 0}
    assert "by its characters alone" in (given / "builds/one/excluded.jsonl").read_text()
    assert coop("-C", given, "build", "verify", "one", "--remake").code == 0
    (tmp_path / "short.yaml").write_text("near_duplicates: {short_below: 40}\n")
    with open_workspace(given) as space:
        for voted, file, words in (
            ({"jaccard_only": 1}, None, ""),
            ({"jaccard_only": 1}, "short.yaml", "no side is too short"),
            ({"short_below": 40}, "plain.yaml", "no side is too short"),
            ({"jaccard_only": 0}, "plain.yaml", "the bylaws ask for another near_duplicates.jaccard_only"),
        ):
            space.coop.register.bylaws = space.coop.register.bylaws.model_copy(update={"stages": {"near_duplicates": voted}})
            if file is None:
                assert choose_recipe(space).as_dict()["near_duplicates"] == {"jaccard_only": 1, "likeness_permille": 700, "short_below": 0}
            else:
                with pytest.raises(BadInput, match=words):
                    choose_recipe(space, tmp_path / file)


def test_a_build_that_ran_other_stages_than_the_log_says_does_not_verify(coop, given: Path) -> None:
    from commonweights.workspace import open_workspace

    assert coop("-C", given, "build", "make", "one").code == 0
    with open_workspace(given) as space:
        from data_pipeline.manifest import read_build
        from governance_hooks.links import check_stages
        from governance_hooks.report import StepFailed

        logged = space.coop.register.builds[read_build(given / "builds/one").digest]
        check_stages(given / "builds/one", logged)
        with pytest.raises(StepFailed, match="other quality stages than the log says"):
            check_stages(given / "builds/one", {**logged, "review": {**logged["review"], "min_edit": 5}})


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--without", "spelling"], "there is no such stage to leave out"),
        (["--suite", "quiz"], "not NAME=FILE"),
        (["--stages", "stages.yaml"], "did you mean near_duplicates?"),
        (["--executor", "slurm"], "--site goes with --executor slurm"),
        (["--site", "north"], "--site goes with --executor slurm"),
        (["--executor", "slurm", "--site", "north"], "there is no profile of site north"),
    ],
)
def test_wrong_choices_are_refused_before_anything_is_made(
    coop, given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("stages.yaml").write_text("near_duplicate: {likeness_permille: 800}\n")
    done = coop("-C", given, "build", "make", "one", *arguments)
    assert done.code == 2
    assert words in done.err
    assert not (given / "builds" / "one").exists()


def test_texts_a_killed_build_left_are_removed_by_the_next_and_a_build_under_way_is_let_alone(coop, given: Path) -> None:
    from governance_hooks.process_lock import process_lock

    left = given / "builds" / ".tmp-killed"
    (left / "work").mkdir(parents=True)
    (left / "work" / "shard-00000.arrow").write_bytes(b"somebody's text")
    with process_lock(given / "builds" / ".lock", "building a dataset"):
        assert "is building a dataset already" in coop("-C", given, "build", "make", "one").err
        assert left.is_dir()
    assert coop("-C", given, "build", "make", "one").code == 0
    assert not left.exists()
    assert coop("-C", given, "build", "verify", "one", "--remake").code == 0
    assert [path.name for path in (given / "builds").iterdir() if path.name.startswith(".tmp")] == []


def test_a_build_through_datatrove_is_made_again_by_the_pool_to_the_byte(coop, given: Path) -> None:
    (given / "builds" / ".parts" / "old").mkdir(parents=True)
    made = coop("-C", given, "build", "make", "one", "--executor", "datatrove", "--parts", "3", "--jobs", "1")
    assert made.code == 0, made.err
    assert "the same bytes" in coop("-C", given, "build", "verify", "one", "--remake").out
    assert sorted(path.name for path in (given / "builds").iterdir()) == [".lock", "one"]
    assert "Launching pipeline" not in made.err + made.out


def test_what_a_build_through_datatrove_left_is_removed_by_a_build_of_the_pool(coop, given: Path) -> None:
    (given / "builds" / ".parts" / "old").mkdir(parents=True)
    assert coop("-C", given, "build", "make", "one").code == 0
    assert sorted(path.name for path in (given / "builds").iterdir()) == [".lock", "one"]

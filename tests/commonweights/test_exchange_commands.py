"""Contributions in other formats, their way back out, and ratings, by the command line."""

import json
from pathlib import Path

from data_pipeline.importers.reading import read
from data_pipeline.store import ContributionStore
from governance_hooks.cooperative import Cooperative
from governance_hooks.reviews import HiddenRating, ShownRating, check_reviews, line_bytes, read_reviews
from tests.commonweights.pipeline import lines


def give(coop, home: Path, keys: dict[str, Path], tmp_path: Path, name: str = "anna") -> list[str]:
    """A member gives four records with ids; return the ids."""
    rows = [json.loads(row) | {"record_id": f"{name}-{n}"} for n, row in enumerate(lines(name, "spa", 4).splitlines())]
    (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    done = coop("-C", home, "contribute", tmp_path / f"{name}.jsonl", "--key", keys[name])
    assert done.code == 0, done.err
    return [row["record_id"] for row in rows]


def test_a_spreadsheet_with_its_own_columns_is_given(coop, home: Path, keys: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("question,reply\n¿Qué?,Eso.\n", encoding="utf-8")
    wrong = coop("-C", home, "contribute", tmp_path / "s.csv", "--key", keys["anna"])
    assert (wrong.code, "inputs is missing" in wrong.err, "--columns inputs=" in wrong.err) == (2, True, True)
    done = coop(
        *("-C", home, "--json", "contribute", tmp_path / "s.csv", "--columns", "inputs=question,targets=reply"),
        *("--language", "es-MX", "--key", keys["anna"]),
    )
    assert (done.json["format"], done.json["records"], done.json["languages"]) == ("csv", 1, {"spa": 1})
    with ContributionStore(home / "contributions.sqlite") as store:
        assert [record.tag for record in store.records()] == ["es-MX"]
    for bad in ("inputs", "inputs=", "inputs=a,inputs=b"):
        assert "--columns: not FIELD=COLUMN" in coop("-C", home, "contribute", tmp_path / "s.csv", "--columns", bad, "--key", keys["anna"]).err


def test_what_a_format_holds_beside_records_is_said_to_be_left_out(coop, home: Path, keys: dict[str, Path], tmp_path: Path) -> None:
    answer = {"message_id": "a", "role": "assistant", "text": "Hello.", "lang": "en", "rank": 1, "replies": []}
    tree = {"message_tree_id": "p", "prompt": {"message_id": "p", "role": "prompter", "text": "Hi", "lang": "en", "replies": [answer]}}
    (tmp_path / "t.jsonl").write_text(json.dumps(tree))
    done = coop("-C", home, "contribute", tmp_path / "t.jsonl", "--key", keys["anna"])
    assert done.code == 0
    assert "1 texts (eng 1)" in done.out
    assert "left out: 1 rank of messages" in done.out
    assert "left out: 0" not in done.out


def test_a_member_takes_all_they_gave_and_nothing_else_in_every_format(coop, home: Path, keys: dict[str, Path], tmp_path: Path) -> None:
    mine = give(coop, home, keys, tmp_path)
    give(coop, home, keys, tmp_path, "bela")
    for name in ("out.jsonl", "out.csv", "out.parquet", "out.json", "folder"):
        done = coop("-C", home, "--json", "export", tmp_path / name, "--key", keys["anna"])
        assert (done.code, done.json["records"]) == (0, 4), done.err
        assert sorted(str(draft.record_id) for draft in read(tmp_path / name).drafts) == mine
    done = coop("-C", home, "export", tmp_path / "trees.jsonl", "--format", "oasst", "--key", keys["anna"])
    assert "the format has no place: licences, 4 times" in done.out
    again = coop("-C", home, "export", tmp_path / "out.csv", "--key", keys["anna"])
    assert (again.code, "exists already" in again.err) == (2, True)
    assert "the ending says no format" in coop("-C", home, "export", tmp_path / "out.xlsx", "--key", keys["anna"]).err
    assert "belongs to no member" in coop("-C", home, "export", tmp_path / "x.csv", "--key", keys["dora"]).err


def test_an_erased_record_is_not_exported(coop, home: Path, keys: dict[str, Path], tmp_path: Path) -> None:
    mine = give(coop, home, keys, tmp_path)
    with ContributionStore(home / "contributions.sqlite") as store:
        store.erase(mine[:1])
    assert coop("-C", home, "--json", "export", tmp_path / "out.csv", "--key", keys["anna"]).json["records"] == 3


def test_the_rows_of_a_build_are_exported_as_training_reads_them(coop, home: Path, keys: dict[str, Path], tmp_path: Path) -> None:
    mine = give(coop, home, keys, tmp_path)
    talk = {"inputs": "¿Y luego?", "targets": "Nada.", "history": [["Hola", "¡Hola!"]], "language_code": "spa", "record_id": "talk", "licence": "CC-BY-4.0"}
    (tmp_path / "talk.jsonl").write_text(json.dumps(talk))
    assert coop("-C", home, "contribute", tmp_path / "talk.jsonl", "--key", keys["anna"]).code == 0
    assert coop("-C", home, "consent", "give", "--yes", "--key", keys["anna"]).code == 0
    assert coop("-C", home, "build", "make", "one", "--heldout", "400").code == 0
    assert coop("-C", home, "--json", "export", tmp_path / "rows.parquet", "--build", "one").json["records"] == 5
    found = {draft.record_id: draft for draft in read(tmp_path / "rows.parquet").drafts}
    assert sorted(found) == [*mine, "talk"]
    assert found["talk"].history == (("Hola", "¡Hola!"),)


def reviewed(home: Path, tmp_path: Path) -> list[ShownRating]:
    """What a stranger with the log and the file of reviews reads."""
    file = tmp_path / "reviews.jsonl"
    with ContributionStore(home / "contributions.sqlite") as store:
        file.write_bytes(b"".join(line_bytes(line) for line in store.reviews.lines(lambda record: True)))
    with Cooperative.open(home, read_only=True) as opened:
        return list(check_reviews(opened.register, read_reviews(file)))


def test_ratings_reach_the_log_and_a_stranger_checks_them(coop, home: Path, keys: dict[str, Path], tmp_path: Path) -> None:
    mine = give(coop, home, keys, tmp_path)
    one = coop("-C", home, "--json", "rate", mine[0], "--score", "2", "--flag", "spam", "--flag", "harmful", "--key", keys["bela"])
    assert one.code == 0, one.err
    (tmp_path / "scores.jsonl").write_text("".join(json.dumps({"record": record, "score": 4}) + "\n" for record in mine))
    many = coop("-C", home, "--json", "rate", "--file", tmp_path / "scores.jsonl", "--key", keys["caro"])
    assert many.json["ratings"] == 4
    found = reviewed(home, tmp_path)
    assert {(rating.record, rating.score, tuple(rating.flags)) for rating in found} == {
        (mine[0], 2, ("harmful", "spam")),
        *((record, 4, ()) for record in mine),
    }
    assert {rating.statement for rating in found} == {one.json["review"], many.json["review"]}
    with Cooperative.open(home, read_only=True) as opened:
        log = b"".join(opened.proof().entries)
    assert not [rating for rating in found if rating.salt.encode() in log or rating.record.encode() in log]


def test_an_erased_rating_leaves_the_log_valid_and_the_others_checkable(coop, home: Path, keys: dict[str, Path], tmp_path: Path) -> None:
    mine = give(coop, home, keys, tmp_path)
    (tmp_path / "scores.jsonl").write_text("".join(json.dumps({"record": record, "score": 4}) + "\n" for record in mine))
    assert coop("-C", home, "rate", "--file", tmp_path / "scores.jsonl", "--key", keys["caro"]).code == 0
    assert coop("-C", home, "--json", "rate", mine[1], "--erase", "--key", keys["bela"]).json["erased"] == 0
    assert coop("-C", home, "--json", "rate", mine[1], "--erase", "--key", keys["caro"]).json["erased"] == 1
    assert [rating.record for rating in reviewed(home, tmp_path)] == [mine[0], *mine[2:]]
    with ContributionStore(home / "contributions.sqlite") as store:
        assert sum(isinstance(line, HiddenRating) for line in store.reviews.lines(lambda record: True)) == 1
    assert coop("-C", home, "audit").code == 0


def test_what_is_no_rating_is_refused_and_nothing_is_stored_or_logged(coop, home: Path, keys: dict[str, Path], tmp_path: Path) -> None:
    mine = give(coop, home, keys, tmp_path)
    size = len((home / "log.sqlite").read_bytes())
    bad = ['{"record": "x", "score": 9}', "{", '{"record": "x"}', '{"record": "x", "score": 3, "why": "bad"}', '{"record": 5, "score": 3}']
    bad += ['{"record": "y", "score": 3, "flags": ["rude"]}', '{"record": "z", "score": 3}', '{"record": "z", "score": 3}']
    (tmp_path / "bad.jsonl").write_text("\n".join(bad))
    done = coop("-C", home, "rate", "--file", tmp_path / "bad.jsonl", "--key", keys["bela"])
    assert done.code == 2
    assert [f":{n}:" in done.err for n in range(1, 9)] == [True] * 6 + [False, True]
    attempts = [(mine[0], "--score", "4", "--key", keys["anna"]), ("nobody", "--score", "4", "--key", keys["bela"]), (mine[0], "--key", keys["bela"])]
    attempts += [
        (mine[0], "--score", "4", "--erase", "--key", keys["bela"]),
        ("--score", "4", "--key", keys["bela"]),
        (mine[0], "--score", "6", "--key", keys["bela"]),
    ]
    for attempt in attempts:
        assert coop("-C", home, "rate", *attempt).code == 2
    assert reviewed(home, tmp_path) == []
    assert len((home / "log.sqlite").read_bytes()) == size


def test_ratings_cut_off_between_log_and_seal_are_sealed_by_the_same_command(coop, home: Path, keys: dict[str, Path], tmp_path: Path, monkeypatch) -> None:
    from data_pipeline.reviews import Reviews

    mine = give(coop, home, keys, tmp_path)
    seal = Reviews.seal
    monkeypatch.setattr(Reviews, "seal", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    assert coop("-C", home, "rate", mine[0], "--score", "4", "--key", keys["bela"]).code == 130
    assert reviewed(home, tmp_path) == []
    monkeypatch.setattr(Reviews, "seal", seal)
    assert coop("-C", home, "rate", mine[0], "--score", "4", "--key", keys["bela"]).code == 0
    assert len(reviewed(home, tmp_path)) == 1
    with Cooperative.open(home, read_only=True) as opened:
        assert len(opened.register.reviews) == 1

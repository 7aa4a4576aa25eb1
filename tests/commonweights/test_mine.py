"""What a member asks: what did I give, where did it go, what if I withdraw; and what stewards and everybody see of a build."""

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from commonweights.consequences import made_of
from commonweights.workspace import Workspace
from governance_hooks.canonical import digest, dumps
from tests.village import Approved

PAIRS = [
    ("¿Dónde duermen las gaviotas de este puerto cuando llega el invierno?", "Duermen sobre los tejados de las casas viejas, cerca del agua."),
    ("¿Quién pinta los barcos de la flota antes de la fiesta del verano?", "Los pintan las familias de los pescadores, cada año de otro color."),
    ("¿Qué se come aquí el día de la fiesta grande de la primavera?", "Se come pan dulce con anís, y una sopa de pescado con azafrán."),
]


def lines(person: str, pairs: list[tuple[str, str]], parents: dict[int, str] | None = None) -> str:
    rows = [
        {"record_id": f"{person}-{n}", "inputs": q, "targets": a, "language_code": "spa", "licence": "CC-BY-4.0"}
        | ({"parents": [parents[n]]} if parents and n in parents else {})
        for n, (q, a) in enumerate(pairs)
    ]
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


@pytest.fixture
def given(coop, home: Path, keys: dict[str, Path], tmp_path: Path) -> Path:
    """Anna gives three records; bela copies one, edits one and gives one; both consent; a build is made."""
    bela = [(PAIRS[0][0].upper(), PAIRS[0][1]), (PAIRS[1][0], PAIRS[1][1] + " Así fue siempre."), ("¿Qué hora es en la plaza?", "Son las tres.")]
    for name, text in (("anna", lines("anna", PAIRS)), ("bela", lines("bela", bela, {1: "anna-1"}))):
        (tmp_path / f"{name}.jsonl").write_text(text, encoding="utf-8")
        assert coop("-C", home, "contribute", tmp_path / f"{name}.jsonl", "--key", keys[name]).code == 0
        assert coop("-C", home, "consent", "give", "--yes", "--key", keys[name]).code == 0
    made = coop("-C", home, "--json", "build", "make", "voices")
    assert made.code == 0, made.err
    assert (made.json["records"], made.json["excluded"]) == (5, {"duplicate": 1})
    return home


def test_a_member_sees_what_they_gave_and_where_it_went(coop, given: Path, keys: dict[str, Path]) -> None:
    shown = coop("-C", given, "mine", "--records", "--key", keys["bela"])
    assert shown.code == 0, shown.err
    for words in (
        "3 texts (spa 3), 1 of them edits, in 1 batch(es).",
        "The log holds 3 texts of yours in 1 batch(es), and 0 rating(s).",
        "2 texts in it are yours, or were built on yours: 2 of your own, 0 that others built.",
        "spa: 2 of the dataset's 5 texts",
        "Left out: bela-0, because it says the same as a text that came earlier, whose row now thanks its authors (text anna-0).",
        "1 texts of others say what a text of yours says, and thank you for it.",
        "too few other members have rated it",
    ):
        assert words in shown.out
    assert "gaviotas" not in shown.out
    value = coop("-C", given, "--json", "mine", "--key", keys["anna"]).json
    assert (value["given"]["records"], value["builds"]["voices"]["rows"], value["builds"]["voices"]["own"]) == (3, 4, 3)
    assert "gaviotas" not in json.dumps(value, ensure_ascii=False)


def test_a_member_with_the_public_files_alone_still_sees_their_rows(coop, given: Path, keys: dict[str, Path]) -> None:
    for private in ("contributions.sqlite", "builds/voices/records.parquet", "builds/voices/excluded.jsonl"):
        (given / private).unlink()
    shown = coop("-C", given, "mine", "--key", keys["anna"])
    assert shown.code == 0, shown.err
    assert "this is what the log says" in shown.out
    assert "4 texts in it are yours, or were built on yours." in shown.out
    assert not (given / "contributions.sqlite").exists()
    preview = coop("-C", given, "consent", "preview", "--key", keys["anna"])
    assert preview.code == 0, preview.err
    assert "cannot be worked out here" in preview.out
    assert "Dataset voices holds 4 texts that rest on yours" in preview.out


def test_a_stranger_sees_nothing(coop, given: Path, keys: dict[str, Path]) -> None:
    assert coop("-C", given, "mine", "--key", keys["dora"]).code == 1


def test_a_preview_says_what_the_next_build_then_does(coop, given: Path, keys: dict[str, Path]) -> None:
    preview = coop("-C", given, "--json", "consent", "preview", "--key", keys["anna"]).json
    numbers = ("method", "rows_now", "own_records", "built_on_yours", "other_members_who_lose", "copies_freed", "rows_displaced")
    assert [preview[name] for name in numbers] == ["rules", 5, 3, 1, 1, 1, 0]
    assert preview["languages"] == {"spa": {"own": 3, "built_on": 1, "freed": 1, "displaced": 0}}
    (one,) = coop("-C", given, "--json", "consent", "show", "--key", keys["anna"]).json["consents"]
    alone = coop("-C", given, "--json", "consent", "preview", one["consent"][7:19], "--key", keys["anna"]).json
    assert alone == preview | {"consent": one["consent"]}
    refused = coop("-C", given, "consent", "preview", one["consent"][7:19], "--key", keys["bela"])
    assert refused.code != 0
    assert "no such consent of yours in force" in refused.err
    words = coop("-C", given, "consent", "preview", "--key", keys["anna"]).out
    assert "loses 4 of its 5 texts: 3 of yours, and 1 that 1 other member(s) built on yours." in words
    assert "1 texts come in: they say what a text of yours says" in words
    assert coop("-C", given, "consent", "withdraw", "--key", keys["anna"]).code == 0
    assert coop("-C", given, "build", "make", "after").code == 0
    counts = coop("-C", given, "--json", "build", "diff", "voices", "after").json["counts"]
    assert (counts.get("went", 0), counts.get("came", 0)) == (4, 1)


def test_a_large_store_is_read_off_the_last_build(coop, given: Path, keys: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data_pipeline.views.withdrawal.SMALL", 1)
    shown = coop("-C", given, "consent", "preview", "--key", keys["anna"]).out
    assert "read off the last dataset" in shown
    assert "At most 1 texts come in" in shown
    (one,) = coop("-C", given, "--json", "consent", "show", "--key", keys["anna"]).json["consents"]
    shown = coop("-C", given, "consent", "preview", one["consent"], "--key", keys["anna"]).out
    assert "read off the last dataset" in shown
    assert "another consent of yours would allow are counted as lost" in shown


def test_what_stands_on_a_build_and_what_a_withdrawal_does_to_it(approved: Approved) -> None:
    space, manifest = Workspace(approved.village.coop), digest(approved.manifest)
    assert made_of(space, manifest) == []  # the plan is not in this folder
    space.plan("first-run").parent.mkdir()
    space.plan("first-run").write_bytes(approved.plan_bytes)
    assert [(one.kind, one.state) for one in made_of(space, manifest)] == [("plan", "stop"), ("proposal", "approved")]
    approved.start()
    register = approved.village.coop.register
    run = register.runs["run-1"]

    def said() -> str:
        return next(one.withdrawal for one in made_of(space, manifest) if one.kind == "run")

    assert "it stops when it next looks at the log" in said()
    finishing = approved.plan.model_copy(update={"policies": approved.plan.policies.model_copy(update={"on_withdrawal": "finish-unreleased"})})
    register.runs["run-2"] = replace(run, id="run-2", plan=digest(finishing.model_dump()), releases={})
    space.plan("other").write_bytes(dumps(finishing.model_dump()))
    assert {one.name: one.withdrawal for one in made_of(space, manifest) if one.kind == "run"}["run-2"].startswith("it may end, but")
    run.status = "completed"
    assert "its release waits" in said()
    run.releases[digest("release")] = register.size
    assert "no other release of it goes out" in said()
    assert [(one.kind, one.name) for one in made_of(space, manifest) if one.kind == "release"] == [("release", digest("release"))]
    run.status = "failed"
    assert said() == "it cannot be started again"
    assert made_of(space, digest("other")) == []


def test_insights_tell_no_small_numbers_and_draw_a_chart(coop, given: Path, tmp_path: Path) -> None:
    shown = coop("-C", given, "build", "insights", "voices", "--svg", tmp_path / "chart.svg")
    assert shown.code == 0, shown.err
    assert "spa         5      few      few     few      -" in shown.out
    assert "duplicate few" in shown.out
    drawn = ElementTree.fromstring((tmp_path / "chart.svg").read_text(encoding="utf-8"))
    assert "5 rows in 1 languages; most rows: spa 5. Left out: duplicate 1." in "".join(drawn.itertext())
    value = coop("-C", given, "--json", "build", "insights", "voices").json
    assert value["languages"][0] | {"marks": {}} == {
        "language": "spa",
        "rows": 5,
        "members": None,
        "largest_permille": None,
        "median_characters": None,
        "marks": {},
        "left_out": {"duplicate": None},
        "alpha_permille": None,
    }


def test_a_sample_shows_only_texts_whose_authors_all_consent_now(coop, given: Path, keys: dict[str, Path], tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    done = coop("-C", given, "--json", "build", "sample", "voices", "--reason", "duplicate", "--html", page)
    assert done.code == 0, done.err
    assert done.json["drawn"] == {"duplicate": 1}
    assert page.stat().st_mode & 0o077 == 0
    text = page.read_text(encoding="utf-8").replace("<b>", "").replace("</b>", "")
    assert "gaviotas" in text
    assert PAIRS[0][0].upper() in text
    assert coop("-C", given, "consent", "withdraw", "--key", keys["anna"]).code == 0
    assert coop("-C", given, "build", "sample", "voices", "--html", page).code == 0
    assert "gaviotas" not in page.read_text(encoding="utf-8")
    assert "may not be shown" in page.read_text(encoding="utf-8")
    assert coop("-C", given, "consent", "withdraw", "--key", keys["bela"]).code == 0
    assert coop("-C", given, "--json", "build", "sample", "voices", "--html", page).json["drawn"] == {"duplicate": 0}
    assert "GAVIOTAS" not in page.read_text(encoding="utf-8")
    refused = coop("-C", given, "build", "sample", "voices", "--reason", "echo", "--html", page)
    assert (refused.code, "left nothing out" in refused.err) == (2, True)

"""Every page of a release: read by other people's tools, the same twice, and safe whatever the records hold."""

from __future__ import annotations

import csv
import io
import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import mlcroissant as mlc
import pytest
import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt

from governance_hooks.canonical import digest, dumps, sha256
from model_card.card import make_card
from model_card.records import CardRecords
from model_card.renderers import governance, is_rendered, render_all
from model_card.renderers.charts import CHARTS, loss_by_language
from model_card.renderers.cyclonedx import dangling
from model_card.renderers.openness import openness
from model_card.renderers.summary import english
from model_card.renderers.svg import ENGLISH, Sheet
from model_card.renderers.transparency_index import rows
from model_card.renderers.words import in_the_way
from tests.model_card.cards import fields_of, leak_of, records_of, resolve, shares_of, statements, votes_in, with_tasks

HOSTILE = [
    "```\n# Owned\n<script>alert(1)</script>",
    "[click](javascript:alert(1)) ![x](https://evil.example/x.png) <img src=x onerror=alert(1)> https://evil.example www.evil.example me@evil.example",
    "</text></svg><svg onload=alert(1)>&amp;<!-- --> ]]>",
    "\n---\nlicense: mit\n---\n",
    '=HYPERLINK("http://evil.example")\n+1\n-1\n@SUM(A1)',
    "\u202egnp.exe \u2066 \u200b \ufeff \x1b[31m",
    "| a | b |\n| --- | --- |\n| c | d |",
    "> **verified**\n\n## Results by language\n\n1. one\n2. two\n\n    code\n\n***\n$x^2$",
]


def everything(bundle: Path, *said: dict[str, Any], **changes: Any) -> CardRecords:
    """Return records with a leak test, shares, tasks, merged weights and members' statements beside the small release."""
    files, log = statements(*said)
    extra = files | {
        "privacy/leak.json": leak_of(bundle),
        "stake/shares.json": shares_of(bundle),
        "derived/merge.json": dumps({"format": "coop.export/v1"}),
        "derived/village-lm-f16.json": dumps({"format": "coop.export/v1"}),
    }
    report = with_tasks((bundle / "eval/report.json").read_bytes())
    return records_of(bundle, extra=extra, votes=votes_in(bundle, statements=log), report_bytes=report, **changes)


def pages_of(records: CardRecords) -> dict[str, bytes]:
    return render_all(make_card(records), records)


@pytest.fixture(params=["plain", "everything"])
def records(request: pytest.FixtureRequest, bundle: Path) -> CardRecords:
    return records_of(bundle) if request.param == "plain" else everything(bundle, {"text": "Helping members write letters."})


def test_the_same_records_give_the_same_pages(records: CardRecords) -> None:
    pages = pages_of(records)
    again = CardRecords(**{name: getattr(records, name) for name in records.__dataclass_fields__})
    assert pages == pages_of(again)
    assert list(pages) == sorted(pages)
    assert all(map(is_rendered, pages))
    assert {path for path in pages if path.startswith("card/")} >= {
        "card/governance.md",
        "card/bom.cdx.json",
        "card/mof.yaml",
        "card/fmti.csv",
        "card/charts/loss.svg",
    }


def test_whoever_has_only_card_json_renders_the_same(records: CardRecords) -> None:
    card = make_card(records)
    assert render_all(json.loads(dumps(card)), records) == render_all(card, records)


def test_what_other_tools_write_is_not_taken_for_rendered() -> None:
    for path in ("plan.json", "card/evil.md", "card/summary.md", "card/summary.ENG.md", "card/summary.eng.md.sig", "card/charts/x.svg"):
        assert not is_rendered(path)


def test_the_hub_library_reads_card_and_metadata(records: CardRecords) -> None:
    card = ModelCard(pages_of(records)["README.md"].decode())
    assert card.data.license == "apache-2.0"
    whole = "derived/merge.json" in records.files
    assert card.data.library_name == ("transformers" if whole else "peft")
    assert card.data.to_dict()["base_model_relation"] == ("finetune" if whole else "adapter")
    differences = {one.dataset_config: one for one in card.data.eval_results if one.metric_type == "heldout_nll_per_token_difference"}
    row = make_card(records)["languages"]["spa"]
    assert (differences["spa"].metric_args["low"], differences["spa"].metric_args["high"]) == (row["low"]["value"], row["high"]["value"])
    assert "interval" in differences["spa"].metric_name


def test_emissions_are_metadata_where_a_meter_gave_them(bundle: Path) -> None:
    run = json.loads((bundle / "run.json").read_bytes())
    energy = {"kwh": 0.5, "co2e_kg": 0.2, "estimated": True, "segments": 1, "segments_unmeasured": 0, "method": ["codecarbon 3.3.2"], "country": ["DEU"]}
    page = pages_of(records_of(bundle, run_bytes=dumps(run | {"energy": energy})))["README.md"]
    found = ModelCard(page.decode()).data.to_dict()["co2_eq_emissions"]
    assert (found["emissions"], found["geographical_location"], found["training_type"]) == (200.0, "DEU", "fine-tuning")
    assert found["source"].startswith("estimated: ")
    without = dumps(run | {"energy": None})
    assert "co2_eq_emissions" not in ModelCard(pages_of(records_of(bundle, run_bytes=without))["README.md"].decode()).data.to_dict()


def test_the_bill_of_materials_is_strictly_valid_and_points_to_nothing_that_is_not_there(records: CardRecords) -> None:
    page = pages_of(records)["card/bom.cdx.json"].decode()
    assert JsonStrictValidator(SchemaVersion.V1_7).validate_str(page) is None
    document = json.loads(page)
    assert dangling(document) == []
    slices = {
        one["slice"]: one
        for one in document["metadata"]["component"]["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
        if one["type"].endswith("difference")
    }
    assert slices["language=spa"]["confidenceInterval"].keys() == {"lowerBound", "upperBound"}


def test_a_dangling_reference_is_seen(records: CardRecords) -> None:
    document = json.loads(pages_of(records)["card/bom.cdx.json"])
    document["dependencies"][0]["dependsOn"].append("nowhere")
    document["components"].append(document["components"][0])
    assert dangling(document) == ["dataset", "nowhere"]


def test_the_dataset_is_read_by_mlcroissant_and_its_rows_load(records: CardRecords, bundle: Path) -> None:
    page = pages_of(records)["data/croissant.json"]
    (bundle / "data/croissant.json").write_bytes(page)
    dataset = mlc.Dataset(jsonld=str(bundle / "data/croissant.json"))
    assert dataset.metadata.issues.errors == set()
    loaded = list(dataset.records("ledger"))
    assert len(loaded) == json.loads((bundle / "data/manifest.json").read_bytes())["records"]
    (bundle / "data/ledger.jsonl").write_bytes((bundle / "data/ledger.jsonl").read_bytes() + b"{}\n")
    with pytest.raises(Exception, match="Download"):
        list(mlc.Dataset(jsonld=str(bundle / "data/croissant.json")).records("ledger"))


def test_the_openness_class_is_not_higher_than_its_parts(records: CardRecords) -> None:
    found = openness(make_card(records), records)
    assert yaml.safe_load(pages_of(records)["card/mof.yaml"]) == found
    assert found["class"] == "Class III, open model"
    assert any(why.startswith("evaluation_data") for why in found["why_not_higher"])
    assert found["osaid"]["conforms"] is True
    closed = openness(make_card(records) | {"licence": {"value": "CC-BY-NC-4.0", "source": "", "sha256": ""}}, records)
    assert closed["class"] == "none"
    assert closed["osaid"]["conforms"] is False


def test_the_index_has_its_hundred_indicators_each_with_evidence_or_a_reason(records: CardRecords) -> None:
    found = list(rows(make_card(records)))
    assert len({row[1] for row in found}) == len(found) == 100
    assert [sum(row[0] == domain for row in found) for domain in ("Upstream", "Model", "Downstream")] == [34, 30, 36]
    assert all((row[2] == "disclosed") == (bool(row[3]) and not row[4]) for row in found)
    assert all(row[4] for row in found if row[2] != "disclosed")
    parsed = list(csv.reader(io.StringIO(pages_of(records)["card/fmti.csv"].decode())))
    assert len(parsed) == 101
    assert {len(row) for row in parsed} == {5}


def test_charts_are_alone_titled_and_described(records: CardRecords) -> None:
    for path, page in pages_of(records).items():
        if path.endswith(".svg"):
            root = ET.fromstring(page)
            title, told = (root.find(f"{{http://www.w3.org/2000/svg}}{name}") for name in ("title", "desc"))
            assert title is not None
            assert title.text
            assert told is not None
            assert len(told.text or "") > len(title.text)
            assert root.get("aria-labelledby") == "t d"
            text = page.decode().replace("http://www.w3.org/2000/svg", "")
            assert not re.search(r"https?:|//|href|script|url\(|@import|\bon\w+=", text), path
            assert "prefers-color-scheme:dark" in text


def test_a_narrow_picture_says_all_that_the_wide_one_says(records: CardRecords) -> None:
    card = make_card(records)
    for name, draw in CHARTS.items():
        wide, narrow, mirrored = (
            ET.fromstring(draw(card, records, ENGLISH, sheet)) for sheet in (Sheet(), Sheet(320, narrow=True), Sheet(320, narrow=True, right_to_left=True))
        )

        def told(root: ET.Element) -> str:
            return str(root.findtext("{http://www.w3.org/2000/svg}desc"))

        def words(root: ET.Element) -> set[str]:
            return {word for one in root.iter("{http://www.w3.org/2000/svg}text") for word in str(one.text).split() if re.search("[a-z]", word)}

        assert told(wide) == told(narrow) == told(mirrored)
        assert words(wide) == words(narrow) == words(mirrored), name
        assert (narrow.get("width"), narrow.get("direction"), mirrored.get("direction")) == ("320", None, "rtl")


def test_words_of_a_narrow_sheet_go_on_in_a_next_line_and_marks_take_no_room() -> None:
    sheet = Sheet(320, narrow=True)
    words = "of 6 on the roll; quorum 50%, approval at 60% of for and against; approved"
    assert " ".join(sheet.lines(words)) == words
    assert (len(sheet.lines(words)), len(sheet.lines(words[:30]))) == (2, 1)
    assert len(sheet.lines(words, room=100)) == 3
    assert [one.replace("\u094d", "") for one in sheet.lines("क्क " * 40)] == sheet.lines("कक " * 40)
    assert Sheet().lines(words * 9) == [words * 9]


def test_a_language_without_numbers_is_drawn_as_such(bundle: Path) -> None:
    page = pages_of(records_of(bundle))["card/charts/loss.svg"].decode()
    assert "Kinyarwanda: " in page
    assert "no interval" in page or "not measured" in page


def test_forms_are_json_without_a_blank(records: CardRecords) -> None:
    form = json.loads(pages_of(records)["card/model_documentation_form.json"])

    def blanks(value: Any, where: str) -> list[str]:
        if isinstance(value, dict):
            return [blank for key, item in value.items() for blank in blanks(item, f"{where}/{key}")]
        return [where] if value in (None, "") else []

    assert [blank for blank in blanks(form, "") if not blank.startswith(("/computational_resources/hardware", "/training_process"))] == []


def test_no_page_says_that_something_is_still_to_come(records: CardRecords) -> None:
    for path, page in pages_of(records).items():
        assert not re.search(r"(?i:forthcoming|more information needed|\btodo\b|\btbd\b)|`None`|: None\b(?!:)|\bnan\b", page.decode()), path


def markup_of(page: str, *, html: bool = True) -> list[tuple[str, str]]:
    """Return types and targets of all Markdown tokens that are not plain text or code."""
    flat = []
    for token in MarkdownIt("commonmark", {"html": html}).enable(["table", "strikethrough"]).parse(page):
        flat += [token, *(token.children or [])]
    return [(token.type, str(token.attrs)) for token in flat if token.type not in ("text", "softbreak", "inline", "text_special", "fence", "code_inline")]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_members_words_stay_text_on_every_page(bundle: Path, text: str) -> None:
    fields = ("intended_use", "out_of_scope_use", "limits", "bias_and_risks", "recommendations", "contact", "provider", "funding", "legal_measures", "dissent")
    plain = pages_of(everything(bundle, *({"field": name, "text": "harmless"} for name in fields)))
    hostile = pages_of(everything(bundle, *({"field": name, "text": text} for name in fields)))
    for path, page in hostile.items():
        body = page.decode()
        assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]", body) or path in MACHINE, path
        if path.endswith(".md"):
            # Paragraphs may be split by the text's own empty lines; nothing else may come of it.
            kinds = [kind for kind in markup_of(body) if not kind[0].startswith("paragraph")]
            assert kinds == [kind for kind in markup_of(plain[path].decode()) if not kind[0].startswith("paragraph")], path
        elif path.endswith(".svg"):
            assert page == plain[path]
        elif path.endswith((".json", ".yaml")):
            assert yaml.safe_load(body) is not None
    assert yaml.safe_load(hostile["README.md"].decode().split("---\n")[1]) == yaml.safe_load(plain["README.md"].decode().split("---\n")[1])
    assert JsonStrictValidator(SchemaVersion.V1_7).validate_str(hostile["card/bom.cdx.json"].decode()) is None
    for row in csv.reader(io.StringIO(hostile["card/fmti.csv"].decode())):
        assert not any(cell.startswith(("=", "+", "-", "@")) for cell in row)


MACHINE = ("card.json", "card/bom.cdx.json", "card/model_documentation_form.json", "data/croissant.json")
"""Documents for programs: a text stands in them as it is, escaped as JSON."""


def test_hostile_names_stay_text(bundle: Path) -> None:
    """A base model, a device, a cause and packages may be named by whoever made the records."""
    for text in HOSTILE:
        name = text.replace("\n", " ")[:60]
        run = json.loads((bundle / "run.json").read_bytes())
        run |= {"device": name, "packages": {name: name}, "reason": name}
        run["segments"] = [one | {"cause": name, "device": name} for one in run["segments"]]
        run["hardware"] = run["hardware"] | {"cpu": name}
        pages = pages_of(records_of(bundle, run_bytes=dumps(run)))
        reference = pages_of(records_of(bundle))
        for path in ("README.md", "card/governance.md", "card/eu_public_summary.md", "card/changes.md"):
            assert {kind for kind, _ in markup_of(pages[path].decode())} <= {kind for kind, _ in markup_of(reference[path].decode())}, path
            assert [one for one in markup_of(pages[path].decode()) if one[0] in ("link_open", "image", "html_inline", "html_block", "heading_open")] == [
                one for one in markup_of(reference[path].decode()) if one[0] in ("link_open", "image", "html_inline", "html_block", "heading_open")
            ]
        assert JsonStrictValidator(SchemaVersion.V1_7).validate_str(pages["card/bom.cdx.json"].decode()) is None


def test_a_translation_is_shown_when_a_second_member_signed_it_or_members_chose_it(bundle: Path) -> None:
    plain = records_of(bundle)
    digest = sha256(english(make_card(plain)).encode())
    text = {"field": "summary", "language": "spa", "text": "En palabras sencillas.", "translates": digest}
    for shown, changes in (
        (False, {}),
        (True, {"reviewers": 1}),
        (True, {"approved": sha256(b"consultation")}),
        (False, {"reviewers": 2, "translates": sha256(b"another")}),
    ):
        files, log = statements(text | changes)
        records = records_of(bundle, extra=files, votes=votes_in(bundle, statements=log))
        pages = pages_of(records)
        assert ("card/summary.spa.md" in pages) is shown, changes
        assert sha256(pages["card/summary.eng.md"]) == digest  # what members say or translate does not change what they translated


def test_every_pointer_of_a_full_card_leads_to_the_value_it_stands_for(bundle: Path) -> None:
    """Leak test, shares, tasks and statements too; and what is computed names only records that are there."""
    records = everything(bundle, {"text": "Helping members write letters."})
    files = dict(records.files) | {"eval/report.json": records.report_bytes or b""}
    pointed = computed = 0
    for where, field in fields_of(make_card(records)):
        cited = [field] if "value" in field else field.get("from", [])
        for one in cited:
            path, _, pointer = one["source"].partition("#")
            if path in ("card.json", "release.json"):  # words of the renderer; the name, which release.json gives
                continue
            document = records.votes if path == "proof.jsonl.gz:votes" else json.loads(files[path])
            assert one["sha256"] == (digest(records.votes) if path == "proof.jsonl.gz:votes" else sha256(files[path])), where
            found = resolve(document, pointer) if pointer else one["sha256"]
            if "value" in one and not pointer.startswith("/statements"):
                assert found == one["value"], where
                pointed += 1
            computed += one is not field
    assert pointed > 300
    assert computed > 5


def test_the_digest_of_the_renderer_covers_every_file_that_writes_a_word() -> None:
    """A module of model_card that the renderers import, directly or not, is in the digest, or it could change pages unseen."""
    import ast

    from model_card import renderer

    root = Path(renderer.__file__).resolve().parent
    named = {*renderer._SOURCES}

    def imported(path: Path) -> set[str]:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = {f"{node.module}.{alias.name}" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module for alias in node.names}
        names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
        return {name.removeprefix("model_card.") for name in names if name.startswith("model_card.")}

    seen, queue = set(), [*(root / "renderers").glob("*.py"), root / "card.py", root / "votes.py"]
    while queue:
        for name in imported(queue.pop()):
            file = root / f"{name.split('.')[0]}.py"
            if file.is_file() and file.name not in seen:
                seen.add(file.name)
                queue.append(file)
    assert seen - {"renderer.py"} <= named, seen - named


def test_the_governance_page_groups_languages_by_verdict_worst_first(bundle: Path) -> None:
    records = records_of(bundle)
    card = make_card(records)
    card["gates"]["held-out quality"]["outcome"]["estimated"] = {"deu": "PASS", "kin": "INSUFFICIENT", "nor": "FAIL", "spa": "PASS"}
    page = governance.render(card, records).decode()
    assert "FAIL: Norwegian (`nor`); INSUFFICIENT: Kinyarwanda (`kin`); PASS: German (`deu`), Spanish (`spa`)" in page


@pytest.mark.parametrize(
    ("seconds", "kwh", "told"),
    [
        (104, 0.00038, "104 seconds of training, "),
        (432, 0.02, "7.2 minutes of training, "),
        (90_000, 4.0, "25 hours of training, "),
        (864_000, 4.0, "10 days of training, "),
    ],
)
def test_the_summary_says_time_and_electricity_as_people_do(bundle: Path, seconds: int, kwh: float, told: str) -> None:
    card = make_card(records_of(bundle))
    card["run"]["wall_s"] = {"value": seconds, "source": "run.json#/wall_s", "sha256": None}
    card["energy"]["kwh"] = {"estimated": kwh, "method": "a meter", "from": []}
    page = english(card)
    assert f"It took {told}" in page
    assert ("an estimated 4 kilowatt-hours" if kwh >= 0.1 else f"an estimated {1000 * kwh:g} watt-hours") in page


def test_the_chart_explains_its_colours_and_rows_without_an_interval(bundle: Path) -> None:
    records = records_of(bundle)
    card = make_card(records)
    for name in ("low", "high"):
        card["languages"]["spa"][name] = {"not_collected": "too few contributors"}
    drawn = loss_by_language(card, records).decode()
    assert drawn.count(">no interval</text>") == 1 + sum(
        "value" not in row["low"] and "value" in row["difference"] for name, row in card["languages"].items() if name != "spa"
    )
    assert ">shown to be better</text>" in drawn
    assert ">not shown to be better</text>" in drawn


def test_shares_are_told_by_the_names_of_languages_and_with_what_the_columns_mean(bundle: Path) -> None:
    told = pages_of(everything(bundle))["card/governance.md"].decode()
    assert "| Norwegian (`nor`) | **49.3 %** | 45.5 to 53.2 % | no gain | 49.3 % | 50.0 % | 120 | 7 |" in told
    assert "As voted: log-likelihood of held-out answers, languages alike" in told
    assert "Interval at 95 %, over 12 contributors" in told
    assert governance._guild("spa.edit") == "Spanish (`spa`), edits of others' texts"
    assert governance._guild("spa.<b>x") == "Spanish (`spa`), `<b>x`"


def test_what_kept_an_evaluation_from_passing_is_named() -> None:
    def card(verdict: str, blocking: object) -> dict[str, Any]:
        return {"evaluation": {"blocking": {"value": blocking}}, "languages": {"spa": {"verdict": {"value": verdict}}}}

    assert in_the_way(card("PASS", [{"task": "xcopa", "verdict": "INSUFFICIENT"}])) == ["`xcopa` `INSUFFICIENT`"]
    assert in_the_way(card("INSUFFICIENT", [])) == ["no language passes"]
    assert in_the_way(card("PASS", None)) == []
    assert in_the_way(card("PASS", [{"task": "a`b\n# c", "verdict": "FAIL"}, "x"])) == ["``a`b⟨U+000A⟩# c`` `FAIL`"]


def test_voted_limits_are_told_in_words() -> None:
    task = {"kind": "over_refusal", "comparison": "threshold", "threshold": 0.4, "margin": 0.0, "minimum_items": 8, "tier": "advisory"}
    told = governance._policy("task over-refusal", {"value": task})
    assert told == "`over_refusal`, at most 40 of 100 in every language; at least 8 items in a language; `advisory`: shown, and blocks nothing"
    told = governance._policy("task xcopa", {"value": task | {"kind": "multiple_choice", "comparison": "base", "margin": 0.1, "tier": "supporting"}})
    assert "no worse than the base by more than 10 points of 100 in any language" in told
    assert "at least 40 of 100" in governance._policy("task x", {"value": task | {"kind": "exact_match"}})
    leak = {"maximum_epsilon": 2.5, "maximum_tpr": 0.5, "maximum_extraction": None, "minimum_canaries": 200, "allow_insufficient": False}
    told = governance._policy("leak test", {"value": leak})
    assert (
        told
        == "epsilon not shown above 2.5; recognised at 1 % false alarms, at most 50 %; at least 200 planted lines; if the test cannot tell, there is no release"
    )

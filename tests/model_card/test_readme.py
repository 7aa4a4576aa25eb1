"""The rendered page: valid metadata, honest words, and model output that cannot act."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langcodes.data_dicts import LANGUAGE_ALPHA3
from markdown_it import MarkdownIt

from model_card import front_matter, iso639
from model_card.promise import PROMISE
from model_card.records import CardRecords
from model_card.renderers import readme
from model_card.renderers.summary import english


@pytest.fixture
def card(bundle: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((bundle / "card.json").read_bytes())
    return loaded


def render(card: dict[str, Any]) -> str:
    return readme.render(card, CardRecords("", "", b"", b"", b"", b""))  # the page is made of the card alone


def body_of(page: str) -> str:
    return page.split("---\n", 2)[2]


def with_sample(card: dict[str, Any], text: str) -> dict[str, Any]:
    sample = {"language": "spa", "prompt": text, "base": text, "tuned": text}
    return card | {"generations": card["generations"] | {"value": [sample]}}


def test_the_hub_library_reads_the_metadata(card: dict[str, Any]) -> None:
    data = ModelCard(render(card)).data
    assert data.license == "apache-2.0"
    assert data.language == ["rw", "no", "es"]
    assert data.base_model == "example/base"
    assert data.library_name == "peft"
    assert data.model_name == "village-lm"
    results = {(result.dataset_config, result.metric_type): result.metric_value for result in data.eval_results}
    assert results["spa", "heldout_nll_per_token_tuned"] == card["languages"]["spa"]["tuned"]["value"]


@pytest.mark.parametrize(("cpus", "said"), [(1, "`1` core, "), (2, "`2` cores, ")])
def test_one_core_is_one_core(card: dict[str, Any], cpus: int, said: str) -> None:
    hardware = {"cpu": "a cpu", "cpus": cpus, "memory_bytes": 2**30, "devices": []}
    assert said in render(card | {"run": card["run"] | {"hardware": {"value": hardware}}})


def test_norwegian_is_a_language_and_not_false(card: dict[str, Any]) -> None:
    metadata = yaml.safe_load(render(card).split("---\n")[1])
    assert "no" in metadata["language"]
    assert metadata == front_matter.front_matter(card)


def test_the_page_names_every_language_that_is_not_better(card: dict[str, Any]) -> None:
    page = render(card)
    section = page.split("## Where it is worse or unproven")[1].split("##")[0]
    assert "Kinyarwanda" in section
    assert "Norwegian" in section
    assert "Spanish" not in section
    card["evaluation"]["worse"]["value"] = ["nor"]
    assert "**Measured worse than the base weights:** Norwegian" in render(card)


def test_the_page_says_how_to_check_it_and_what_a_withdrawal_does(card: dict[str, Any]) -> None:
    page = render(card)
    assert f"coop verify DIR --pin {card['coop']['value']}" in page
    assert PROMISE in page


def test_a_base_that_is_no_hub_repository_is_not_linked(card: dict[str, Any]) -> None:
    card["base"]["name"]["value"] = "my base | <script>"
    page = render(card)
    assert "base_model" not in yaml.safe_load(page.split("---\n")[1])
    assert "my base ⟨U+007C⟩ <script>" in page  # in a code span, where Markdown shows it as it is


def tokens_outside_code(page: str) -> list[Any]:
    """Return all Markdown tokens of the body that are not code."""
    flat = []
    for token in MarkdownIt("commonmark", {"html": True}).enable("table").parse(body_of(page)):
        flat += [token, *(token.children or [])]
    return [token for token in flat if token.type not in ("fence", "code_inline", "inline")]


HOSTILE = [
    "```\n# Owned\n<script>alert(1)</script>",
    "````\n" * 5 + "[click](javascript:alert(1))",
    "~~~\n</pre><img src=x onerror=alert(1)>",
    "\n---\nlicense: mit\n---\n",
    "`" * 40 + "\n# heading",
    "\u202egnp.exe \u2066 \u200b \ufeff",
    "\x1b[31mred\x00\r\n\x85\u2028 next",
    "| a | b |\n| --- | --- |",
    "> **verified**\n\n## Results by language",
    "\t```\n    ```\n   ```text",
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_output_cannot_leave_its_block(card: dict[str, Any], text: str) -> None:
    assert_harmless(card, text)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(text=st.text(alphabet=st.sampled_from("`~\n\r\t #<>[]()|-*_\\:&\u202e\u2067\u2028\u0085ab"), max_size=60))
def test_no_output_can_leave_its_block(card: dict[str, Any], text: str) -> None:
    assert_harmless(card, text)


def assert_harmless(card: dict[str, Any], text: str) -> None:
    plain, hostile = render(with_sample(card, "harmless")), render(with_sample(card, text))
    assert [t.type for t in tokens_outside_code(hostile)] == [t.type for t in tokens_outside_code(plain)]
    assert [t.content for t in tokens_outside_code(hostile)] == [t.content for t in tokens_outside_code(plain)]
    assert yaml.safe_load(hostile.split("---\n")[1]) == yaml.safe_load(plain.split("---\n")[1])
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]", hostile)
    assert ModelCard(hostile).data.license == "apache-2.0"


def test_joiners_that_scripts_need_are_kept(card: dict[str, Any]) -> None:
    assert "می\u200cخواهم" in render(with_sample(card, "می\u200cخواهم"))


def test_what_code_cannot_carry_is_shown_by_its_number(card: dict[str, Any]) -> None:
    assert "⟨U+202E⟩" in render(with_sample(card, "\u202e"))


def test_the_page_is_a_function_of_the_card(card: dict[str, Any]) -> None:
    assert render(card) == render(json.loads(json.dumps(card)))


@pytest.mark.parametrize(
    "change",
    [
        {"license": "mit"}, {"license": "nonsense"}, {"language": ["spa"]}, {"language": ["xx"]}, {"language": []}, {"language": ["es", "es"]}, {"language": "es"},
        {"base_model": "no-owner"}, {"base_model": "../.."}, {"tags": ["Two Words"]}, {"widget": []}, {"pipeline_tag": "a\nb"}, {"library_name": "\u202epeft"},
    ],
    ids=str,
)  # fmt: skip
def test_metadata_the_hub_would_misread_is_refused(card: dict[str, Any], change: dict[str, Any]) -> None:
    good = front_matter.front_matter(card)
    front_matter.check(good)
    with pytest.raises(Exception, match="card metadata"):
        front_matter.check(good | change)


@pytest.mark.parametrize("key", ["language", "license", "library_name", "pipeline_tag", "tags", "model-index"])
def test_missing_metadata_is_refused(card: dict[str, Any], key: str) -> None:
    good = front_matter.front_matter(card)
    del good[key]
    with pytest.raises(Exception, match="missing key"):
        front_matter.check(good)


def test_the_language_table_agrees_with_the_registry() -> None:
    for three, two in iso639.TWO_LETTER.items():
        assert LANGUAGE_ALPHA3[two] == three
    assert len(iso639.TWO_LETTER) == len(set(iso639.TWO_LETTER.values())) == 183
    assert iso639.code("cmn") == "cmn"


def test_the_page_says_how_its_intervals_were_made_by_the_policy_members_voted(card: dict[str, Any]) -> None:
    policy = card["evaluation"]["policy"]
    other = card | {"evaluation": card["evaluation"] | {"policy": policy | {"value": policy["value"] | {"interval": "t"}}}}
    assert "by resampling contributors" in render(card)
    assert "resampling" not in body_of(render(other))
    assert "by leaving out one contributor at a time (Student's t); where fewer than 5 contributed none is stated" in render(other)


def test_an_adapter_that_lies_beside_merged_and_gguf_weights_is_said_to(card: dict[str, Any]) -> None:
    field = {"value": "sha256:" + "0" * 64, "source": "derived/merge.json#", "sha256": None}
    beside = card | {"weights": card["weights"] | {"derived": {"derived/merge.json": field, "derived/village-lm-f16.json": field}}}
    assert "A LoRA adapter for `example/base` (alone, merged into it and as GGUF files), trained" in render(beside)
    assert "A LoRA adapter for `example/base`, trained" in render(card)


def test_a_run_that_read_only_a_part_of_the_rows_says_how_many(card: dict[str, Any]) -> None:
    there = card["data"]["splits"]["value"]["train"]
    few = card | {"run": card["run"] | {"trained_records": {"value": 1, "source": "run.json#/trained_records", "sha256": None}}}
    assert f"The run read 1 of the {there} rows for training" in render(few)
    assert "learned from 1 of them" in english(few)
    every = card | {"run": card["run"] | {"trained_records": {"value": there, "source": "run.json#/trained_records", "sha256": None}}}
    assert "The run read" not in render(every)


def test_a_language_of_few_people_is_named_although_it_passes(card: dict[str, Any]) -> None:
    def with_resampled(how: str) -> str:
        field = {"value": how, "source": "eval/report.json#/languages/spa/resampled", "sha256": None}
        return render(card | {"languages": {name: row | {"resampled": field} for name, row in card["languages"].items()}})

    assert "**Of few people:** " in with_resampled("items")
    assert "**Of few people:** " not in with_resampled("clusters")

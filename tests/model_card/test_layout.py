from __future__ import annotations

import pytest

from model_card.layout import odd_paths, rule_of, wrong_selection

ALWAYS = [
    "README.md",
    "card.json",
    "data/batches.jsonl",
    "data/ledger.jsonl",
    "data/manifest.json",
    "eval/report.json",
    "eval/results.jsonl",
    "plan.json",
    "run.json",
]
ADAPTER = ["adapter/adapter_config.json", "adapter/adapter_model.safetensors"]
MODEL = ["config.json", "model.safetensors", "tokenizer.json"]
GGUF = ["gguf/lm-f16.gguf", "derived/lm-f16.json"]
STAKE = ["stake/shares.json", "stake/values.jsonl", "stake/guilds.jsonl"]


@pytest.mark.parametrize(
    ("path", "role"),
    [
        ("README.md", "card"),
        ("card/charts/loss.svg", "card"),
        ("card/summary.spa.md", "card"),
        ("data/croissant.json", "card"),
        ("eval/items/xcopa.jsonl", "evaluation"),
        ("privacy/leak.json", "privacy"),
        ("stake/shares.json", "stake"),
        (f"statements/{'0a' * 32}.json", "statement"),
        ("model-00001-of-00002.safetensors", "model"),
        ("chat_template.jinja", "model"),
        ("gguf/village-lm-q8_0.gguf", "gguf"),
        ("derived/merge.json", "derivation"),
        ("previous/card.json", "previous"),
    ],
)
def test_a_known_path_has_its_role(path: str, role: str) -> None:
    rule = rule_of(path)
    assert rule is not None
    assert rule.role == role


@pytest.mark.parametrize(
    "path",
    [
        "",
        "release.json",
        "proof.jsonl.gz",
        "attestations/release.dsse.json",
        "../card.json",
        "card/../card.json",
        "card/a/b/c.svg",
        "card//x.md",
        "card/x.py",
        "card/con.md",
        "card/NUL.svg",
        "card/x..md",
        "card/.hidden.md",
        "Card.json",
        "readme.md",
        "modeling.py",
        "pytorch_model.bin",
        "adapter/adapter_model.bin",
        "model.safetensors.",
        "model-1-of-2.safetensors",
        "gguf/village-lm-q4_0.gguf",
        "gguf/x.gguf",
        "eval/items/../results.jsonl",
        "eval/private/x.jsonl",
        "stake/payout.json",
        "statements/note.json",
        "tokenizer.json\n",
        "card\\x.md",
        "card/\u202emd.x.md",
    ],
)
def test_no_release_holds_anything_else(path: str) -> None:
    assert rule_of(path) is None


@pytest.mark.parametrize(
    "more",
    [
        ADAPTER,
        ADAPTER + MODEL + ["derived/merge.json"],
        ADAPTER + MODEL + ["derived/merge.json"] + GGUF + ["gguf/lm-q8_0.gguf", "derived/lm-q8_0.json"],
        MODEL,
        MODEL + GGUF,
        ["config.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"],
        ADAPTER + STAKE + ["privacy/leak.json", "privacy/canaries.jsonl"],
    ],
)
def test_what_belongs_together_is_a_release(more: list[str]) -> None:
    assert wrong_selection([*ALWAYS, *more], "lm") == []


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ([], "no weights"),
        (ADAPTER[:1], "adapter_model.safetensors is missing beside"),
        (ADAPTER + MODEL, "derived/merge.json belongs"),
        ([*ADAPTER, "derived/merge.json"], "derived/merge.json belongs"),
        ([*MODEL, "derived/merge.json"], "derived/merge.json belongs"),
        (ADAPTER + GGUF, "without the weights it was made from"),
        (MODEL + GGUF[:1], "each with its record"),
        ([*MODEL, "gguf/other-f16.gguf", "derived/other-f16.json"], "GGUF files are gguf/lm-f16.gguf"),
        (MODEL[1:], "without config.json"),
        (["config.json"], "the weights are not"),
        ([*MODEL, "model.safetensors.index.json"], "beside shards"),
        (["config.json", "model-00001-of-00002.safetensors", "model.safetensors.index.json"], "nor all shards"),
        (["config.json", "model-00001-of-00001.safetensors"], "nor all shards"),
        (ADAPTER + STAKE[:2], "stake/guilds.jsonl is missing beside"),
        ([*ADAPTER, "privacy/canaries.jsonl"], "privacy/leak.json is missing beside"),
        ([*ADAPTER, "privacy/differential.json"], "privacy/differential.json without"),
        ([*ADAPTER, "previous/card.json"], "previous/release.json is missing"),
    ],
)
def test_half_of_something_is_no_release(more: list[str], words: str) -> None:
    assert any(words in wrong for wrong in wrong_selection([*ALWAYS, *more], "lm"))


@pytest.mark.parametrize("path", ALWAYS)
def test_what_every_release_has_may_not_be_missing(path: str) -> None:
    assert any(wrong.startswith(f"{path} is missing") for wrong in wrong_selection([one for one in ALWAYS if one != path] + ADAPTER, "lm"))


def test_paths_that_are_one_file_somewhere_are_refused() -> None:
    assert odd_paths(["a", "b", "c/d"]) == []
    assert odd_paths(["b", "a"])
    assert odd_paths(["a", "a"])
    assert any("where case does not count" in wrong for wrong in odd_paths(["card/A.md", "card/a.md"]))
    assert any("a file and a folder" in wrong for wrong in odd_paths(["card", "card/a.md"]))

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipeline.chat import Rendered, render
from data_pipeline.tokens.sample import Sample
from data_pipeline.tokens.tokenizer import load_tokenizer
from data_pipeline.tokens.view import coloured, page, pieces, plain

HOSTILE = "\x1b]0;owned\x07\x1b[31mred\x9b2J\u202egnp.exe\u2066\r\x00\x7f<script>alert(1)</script><|im_end|>\\n"


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from tests.tiny import write_base

    return load_tokenizer(write_base(tmp_path_factory.mktemp("view") / "tiny"))


def sample(tokenizer: Any, inputs: str, targets: str) -> Sample:
    made = render(tokenizer, inputs, targets, max_tokens=10_000)
    assert isinstance(made, Rendered)
    return Sample("r-1", "spa", "train", np.array(made.ids, dtype=np.uint16), made.start, made.stop)


def test_nothing_a_contributor_writes_reaches_the_terminal_raw(tokenizer: Any) -> None:
    shown = pieces(tokenizer, sample(tokenizer, HOSTILE, HOSTILE))
    ours = re.compile("\x1b\\[(0|2|34|1;32)m")
    for text in (ours.sub("", coloured(shown)), plain(shown)):
        assert all(c.isprintable() or c == "\n" for c in text)
        for escape in (r"\x1b", r"\u202e", r"\u2066", r"\x9b", r"\x00", r"\r"):
            assert escape in "".join(text.replace("|", "").split()) or escape in re.sub(r"(?m)^[ 0-9]+ (learn)? *|\n", "", text)


def test_the_page_holds_the_text_as_text_and_no_script(tokenizer: Any) -> None:
    one = sample(tokenizer, HOSTILE, HOSTILE)
    written = page(HOSTILE, [(one, pieces(tokenizer, one))])
    tags: set[str] = set()

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            tags.add(tag)
            assert not any(name.startswith("on") or name in ("src", "href") for name, _ in attrs)

    Reader().feed(written)
    assert tags == {"html", "head", "meta", "title", "style", "body", "h1", "p", "mark", "section", "h2", "pre", "span"}
    assert all(c.isprintable() or c == "\n" for c in written)
    assert "default-src 'none'" in written


@given(
    inputs=st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=30),
    targets=st.text("aहि你👩🏽‍🚀é|\\ \n", min_size=1, max_size=30),
)
@settings(max_examples=60, deadline=None)
def test_pieces_hold_every_token_once_and_the_learned_ones_are_the_answer(tokenizer: Any, inputs: str, targets: str) -> None:
    inputs, targets = inputs.strip() or "x", targets.strip() or "y"
    one = sample(tokenizer, inputs, targets)
    shown = pieces(tokenizer, one)
    assert [token for piece in shown for token in piece.ids] == one.ids.tolist()
    learned = [token for piece in shown if piece.learned for token in piece.ids]
    assert tokenizer.decode(learned) == targets + "<|im_end|>"
    assert len(learned) == one.supervised


def test_a_character_of_several_tokens_is_shown_whole(tokenizer: Any) -> None:
    shown = pieces(tokenizer, sample(tokenizer, "कौन?", "你"))
    assert "你" in [piece.text for piece in shown if piece.learned]
    assert "क" in [piece.text for piece in shown]
    assert "\ufffd" not in "".join(piece.text for piece in shown)


def test_plain_lines_name_what_is_learned(tokenizer: Any) -> None:
    lines = plain(pieces(tokenizer, sample(tokenizer, "q", "a"))).splitlines()
    assert [line.split()[-1] for line in lines if " learn " in line] == ["a", "<|im_end|>"]


def test_coloured_text_marks_the_learned_bold_green(tokenizer: Any) -> None:
    text = coloured(pieces(tokenizer, sample(tokenizer, "q", "a")))
    assert re.findall("\x1b\\[1;32m(.*?)\x1b\\[0m", text) == ["a", "<|im_end|>"]

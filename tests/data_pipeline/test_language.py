from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipeline.language import check_language, is_language, language_name, parse_tag, script_of, suggest_languages
from data_pipeline.record import Draft, problems
from governance_hooks.errors import BadInput


@pytest.mark.parametrize("code", ["spa", "hin", "zho", "cmn", "wuu", "quy", "zul", "fas", "ori", "nob", "kmr", "gsw"])
def test_iso_639_3_codes_of_languages_and_macrolanguages_are_accepted(code: str) -> None:
    assert check_language(code) == code


@pytest.mark.parametrize(
    "code", ["en", "ger", "SPA", "spa ", "", "und", "mul", "mis", "zxx", "qaa", "ine", "iw", "xxx", "spa-MX", "spanish", "ｓｐａ", "a" * 10_000]
)
def test_everything_else_is_refused(code: str) -> None:
    with pytest.raises(BadInput, match="unknown language code"):
        check_language(code)


@pytest.mark.parametrize(
    ("text", "code"),
    [("en", "eng"), ("ger", "deu"), ("SPA", "spa"), ("Spanish", "spa"), ("spa-MX", "spa"), ("pt_BR", "por"), ("iw", "heb"), ("Ukranian", "ukr")],
)
def test_the_error_names_the_code_that_was_probably_meant(text: str, code: str) -> None:
    assert suggest_languages(text)[0] == code
    with pytest.raises(BadInput, match=f"did you mean {code}"):
        check_language(text)


def test_names_are_english_and_unknown_codes_have_none() -> None:
    assert (language_name("spa"), language_name("yor"), language_name("zho")) == ("Spanish", "Yoruba", "Chinese")
    with pytest.raises(BadInput):
        language_name("xxx")


def test_the_table_holds_the_living_languages() -> None:
    from data_pipeline.language import _registry

    names = _registry()[0]
    assert len(names) > 7800
    assert all(len(code) == 3 and code.isascii() and code.islower() and is_language(code) for code in names)


@pytest.mark.parametrize(
    ("text", "code", "tag"),
    [
        ("spa", "spa", ""),
        ("es", "spa", ""),
        ("ES", "spa", ""),
        ("hi-latn", "hin", "hi-Latn"),
        ("hin_Latn", "hin", "hi-Latn"),
        ("pt_br", "por", "pt-BR"),
        ("ZH-HANT-tw", "zho", "zh-Hant-TW"),
        ("zh-yue", "yue", ""),
        ("zh-cmn-hans-CN", "cmn", "cmn-Hans-CN"),
        ("zh-min-nan", "nan", ""),
        ("i-klingon", "tlh", ""),
        ("iw", "heb", ""),
        ("es-419", "spa", "es-419"),
        ("de-1996", "deu", "de-1996"),
        ("sl-rozaj-biske", "slv", "sl-rozaj-biske"),
        ("de-DD", "deu", "de-DE"),
        ("tl", "tgl", ""),
        ("no", "nor", ""),
    ],
)
def test_a_tag_gives_the_code_and_its_canonical_form_and_parsing_that_again_changes_nothing(text: str, code: str, tag: str) -> None:
    assert parse_tag(text) == (code, tag)
    assert parse_tag(tag or code) == (code, tag)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("hi-Latin", "latin is no script|did you mean"),
        ("hi-Lant", "Latn"),
        ("sanpish", "ISO 639-3"),
        ("Spanish", "did you mean spa"),
        ("ger", "did you mean deu"),
        ("en-x-anna-at-home", "x is no script"),
        ("en-u-co-phonebk", "u is no script"),
        ("x-private", "ISO 639-3"),
        ("qaa", "ISO 639-3"),
        ("hi-Qaaa", "qaaa"),
        ("mul", "ISO 639-3"),
        ("de-1996-1996", "ISO 639-3|BCP 47"),
        ("hi-IN-Latn", "latn"),
        ("xx-yue", "ISO 639-3"),
        ("hi-", "BCP 47"),
        ("", "ISO 639-3"),
        ("hi-Latn\n", "BCP 47"),
        ("\u202ehi", "ISO 639-3"),
        ("a-" * 5000, "ISO 639-3"),
    ],
)
def test_a_tag_that_is_none_or_could_hold_anything_is_refused_with_a_hint(text: str, hint: str) -> None:
    with pytest.raises(BadInput, match=f"(?s)unknown language tag.*({hint})"):
        parse_tag(text)


def test_names_as_aya_writes_them_are_read_only_where_asked_for() -> None:
    assert [parse_tag(name, names=True) for name in ("Spanish", "Simplified Chinese", "Iranian Persian")] == [("spa", ""), ("zho", "zh-Hans"), ("pes", "")]


def test_every_code_is_a_tag_that_says_no_more() -> None:
    from data_pipeline.language import _registry

    assert all(parse_tag.__wrapped__(code) == (code, "") for code in _registry()[0])


def test_only_a_declared_script_is_told() -> None:
    assert [script_of(tag) for tag in ("hi-Latn", "zh-Hant-TW", "pt-BR", "de-1996", "")] == ["Latn", "Hant", None, None, None]


@given(st.one_of(st.text(max_size=20), st.from_regex(r"[a-z]{2,3}(-[a-z]{3})?(-[A-Z][a-z]{3})?(-[A-Z]{2})?(-[a-z0-9]{4,8})?", fullmatch=True)))
def test_whatever_is_accepted_is_canonical_and_agrees_with_its_code(text: str) -> None:
    try:
        code, tag = parse_tag(text)
    except BadInput:
        return
    assert is_language(code)
    assert parse_tag(tag or code) == (code, tag)
    assert not problems(Draft("q", "a", code, tag=tag))

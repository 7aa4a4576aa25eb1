from __future__ import annotations

import pytest

from data_pipeline.language import check_language, is_language, language_name, suggest_languages
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

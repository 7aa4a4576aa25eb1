"""Mark rows whose text does not look like the language their member declared. Nothing is dropped: the member knows better than the model.

The model (py3langid: 140 labels, one file in the package, no network) ranks languages for the prose of prompt and answer; code in it is
left aside. Close languages count as one, since it cannot tell a short Indonesian text from a Malay one. Marks:

    language_doubt:eng          not among the three likeliest, by a margin; it reads most like the language named
    script_doubt:Latn           letters of a script the language is not written in, for example romanised Hindi
    language_unjudged:short     too few letters to judge
    language_unjudged:unknown   the model does not know the language
    language_unjudged:other     the model sees no language, for example code
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Annotated, Any, Final

from pydantic import Field

from data_pipeline.candidate import Candidate, Exclusion
from data_pipeline.stages.code import prose, words
from data_pipeline.stages.script import expected_scripts, letters_by_script, written_in
from data_pipeline.stages.stage import NO_EVIDENCE, Evidence, Parameters, PerMille
from governance_hooks.errors import BadInput

__all__ = ["RULE", "LanguageIdParameters", "language_id", "relatives"]

RULE: Final = "language_id/v1"

_TOP: Final = 3
_NO_LANGUAGE: Final = "zxx"
_CLOSE: Final = (
    frozenset({"ind", "msa", "zsm", "jav"}),
    frozenset({"nor", "nob", "nno", "dan"}),
    frozenset({"zho", "yue", "wuu"}),
    frozenset({"hin", "nep", "mar", "bho", "mai"}),
    frozenset({"srp", "hrv", "bos", "hbs"}),
    frozenset({"ces", "slk"}),
    frozenset({"glg", "por"}),
    frozenset({"bul", "mkd"}),
    frozenset({"rus", "ukr", "bel"}),
    frozenset({"afr", "nld"}),
    frozenset({"xho", "zul"}),
    frozenset({"aze", "tur"}),
    frozenset({"fas", "prs"}),
)
"""Languages the model mixes up in short texts. Members of one macrolanguage (Arabic, Chinese, Malay, ...) are close without being listed."""


class LanguageIdParameters(Parameters):
    """When a row is judged, and when its script is doubted."""

    min_letters: Annotated[int, Field(ge=1)] = 20
    """Fewer letters in prompt and answer together, code aside, are not judged by the model."""
    min_margin: Annotated[int, Field(ge=0)] = 25
    """How much the model's log score of the likeliest language must exceed the declared one's; it grows with the length of the text."""
    script_permille: PerMille = 50
    """Prompt or answer must have this share of letters in a script of the language."""


@cache
def _model() -> Any:
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError as error:
        raise BadInput("the package py3langid is not installed", next="pip install 'commonweights[data]'") from error
    return LanguageIdentifier.from_model_file(MODEL_FILE)


@cache
def _alpha3(label: str) -> str:
    from langcodes import Language

    return label if len(label) == 3 else Language.get(label).to_alpha3()


@cache
def _macrolanguage(code: str) -> str:
    from langcodes import Language
    from langcodes.data_dicts import MACROLANGUAGES

    tag = Language.get(code).language or code
    return _alpha3(MACROLANGUAGES.get(tag, tag))


@cache
def _known() -> frozenset[str]:
    return frozenset(_alpha3(label) for label in _model().labels)


@cache
def relatives(language: str) -> frozenset[str]:
    """Return the languages whose text counts as the declared one's; empty if the model knows neither it nor its macrolanguage."""
    macro = _macrolanguage(language)
    own = {code for code in _known() if code == language or _macrolanguage(code) == macro}
    return frozenset(own.union(*(group for group in _CLOSE if group & {language, macro}))) if own else frozenset()


def language_id(rows: Sequence[Candidate], parameters: LanguageIdParameters, evidence: Evidence = NO_EVIDENCE) -> tuple[list[Candidate], list[Exclusion]]:
    """Mark rows whose language or script is in doubt or was not judged; keep all."""
    return [row.marked(*_marks(row, parameters)) for row in rows], []


def _marks(row: Candidate, parameters: LanguageIdParameters) -> tuple[str, ...]:
    letters = [letters_by_script(words(side)) for side in (row.inputs, row.targets)]
    both = letters[0] + letters[1]
    expected = expected_scripts(row.language)
    if expected and both and not any(_share(side, expected) >= parameters.script_permille for side in letters if side):
        # The model never saw the language in this script, so its guess would only mislead.
        return (f"script_doubt:{min(both, key=lambda script: (-both[script], script))}",)
    text = f"{prose(row.inputs)} {prose(row.targets)}"
    if expected:  # names in other scripts say nothing about the language around them
        text = " ".join([word for word in text.split() if written_in(word, expected)])
    if sum(map(str.isalpha, text)) < parameters.min_letters:
        return ("language_unjudged:short",)
    accepted = relatives(row.language)
    if not accepted:
        return ("language_unjudged:unknown",)
    ranked = _model().rank(text)
    likeliest, best = _alpha3(ranked[0][0]), ranked[0][1]
    if likeliest == _NO_LANGUAGE:
        return ("language_unjudged:other",)
    place = 0
    for label, own in ranked:
        code = _alpha3(label)
        if code in accepted:
            return (f"language_doubt:{likeliest}",) if place >= _TOP and best - own > parameters.min_margin else ()
        place += code != _NO_LANGUAGE
    raise AssertionError("the model ranks every language it knows")


def _share(letters: dict[str, int], scripts: frozenset[str]) -> int:
    return 1000 * sum(letters[script] for script in scripts if script in letters) // sum(letters.values())

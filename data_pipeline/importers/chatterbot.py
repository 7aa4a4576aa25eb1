"""Import the `chatterbot-corpus` package: short dialogues in 28 language folders, BSD-3-Clause.

The first two turns of a conversation become prompt and answer. Later turns are left out: in this corpus they are often
further answers to the first line, so a pair of neighbours would claim a question that nobody asked. The package names no
contributors, so the drafts have no user_id.
"""

from __future__ import annotations

import difflib
import importlib.util
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import yaml

from data_pipeline.record import Draft, problems
from governance_hooks.errors import BadInput, CoopError

__all__ = ["FOLDERS", "LICENCE", "read", "unusable"]

LICENCE: Final = "BSD-3-Clause"

FOLDERS: Final = {
    "bengali": "ben",
    "chinese": "zho",
    "dutch": "nld",
    "english": "eng",
    "french": "fra",
    "german": "deu",
    "hebrew": "heb",
    "hindi": "hin",
    "hinglish": "hin",  # Hindi in Latin letters, mixed with English: no code of its own
    "indonesian": "ind",
    "italian": "ita",
    "japanese": "jpn",
    "korean": "kor",
    "marathi": "mar",
    "oriya": "ori",  # macrolanguage; the folder does not say which member
    "persian": "fas",
    "portuguese": "por",
    "russian": "rus",
    "spanish": "spa",
    "swedish": "swe",
    "tamil": "tam",
    "telugu": "tel",
    "thai": "tha",
    "traditionalchinese": "zho",  # a script, not a language; much of it reads like machine translation
    "turkish": "tur",
    "ukrainian": "ukr",
    "urdu": "urd",
    "yoruba": "yor",
}
"""Folder of the package -> ISO 639-3."""


def read(languages: Iterable[str] | None = None) -> dict[str, list[Draft]]:
    """Return {file relative to the package's data folder: drafts}, files sorted, drafts in file order.

    Args:
        languages: ISO 639-3 codes or folder names; None for all. A code takes every folder of that language.

    Raises:
        BadInput: the package is missing, or a language is not in it.
    """
    return {name: drafts for name, (drafts, _) in _parse(languages).items() if drafts}


def unusable(languages: Iterable[str] | None = None) -> dict[str, int]:
    """Return {file: conversations left out} for files with conversations that have no two turns of sound text."""
    return {name: left_out for name, (_, left_out) in _parse(languages).items() if left_out}


def _parse(languages: Iterable[str] | None) -> dict[str, tuple[list[Draft], int]]:
    data = _data_folder()
    parsed: dict[str, tuple[list[Draft], int]] = {}
    for folder in _folders(languages):
        for path in sorted((data / folder).glob("*.yml")):
            parsed[f"{folder}/{path.name}"] = _read_file(path, FOLDERS[folder])
    return parsed


def _folders(languages: Iterable[str] | None) -> list[str]:
    if languages is None:
        return sorted(FOLDERS)
    chosen: set[str] = set()
    for wanted in languages:
        matching = [folder for folder, code in FOLDERS.items() if wanted in (folder, code)]
        if not matching:
            known = sorted({*FOLDERS, *FOLDERS.values()})
            near = difflib.get_close_matches(wanted[:40], known, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise BadInput("chatterbot-corpus has no such language", value=wanted, allowed=hint + "known: " + ", ".join(sorted(set(FOLDERS.values()))))
        chosen.update(matching)
    return sorted(chosen)


def _data_folder() -> Path:
    spec = importlib.util.find_spec("chatterbot_corpus")
    if spec is None or spec.origin is None:
        raise BadInput("the package chatterbot-corpus is not installed", next="pip install chatterbot-corpus")
    return Path(spec.origin).parent / "data"


def _read_file(path: Path, language: str) -> tuple[list[Draft], int]:
    try:
        # BaseLoader keeps every scalar as text: the usual one turns the answer "Yes" into true and "10" into a number.
        document: Any = yaml.load(path.read_bytes(), Loader=yaml.BaseLoader)  # noqa: S506 - BaseLoader builds only text, lists and maps
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise CoopError(f"{path} cannot be read: {error}", next="pip install --force-reinstall chatterbot-corpus") from error
    conversations = document.get("conversations") if isinstance(document, dict) else None
    drafts: list[Draft] = []
    left_out = 0
    for number, turns in enumerate(conversations if isinstance(conversations, list) else [], start=1):
        draft = None
        if isinstance(turns, list) and len(turns) >= 2 and isinstance(turns[0], str) and isinstance(turns[1], str):
            draft = Draft(inputs=turns[0], targets=turns[1], language=language, licence=LICENCE, line=number)
        if draft is None or problems(draft):
            left_out += 1
        else:
            drafts.append(draft)
    return drafts, left_out

"""Finds the sentences people are shown, for the catalogues: what pybabel runs over our Python files (see `locales/babel.cfg`)."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping
from typing import IO, Any, Final

__all__ = ["sentences"]

_ERRORS: Final = frozenset({"BadInput", "CoopError", "Refused"})
_PARTS: Final = frozenset({"allowed", "next"})
"""What an error says beside what is wrong."""
_COMMANDS: Final = ("coop ", "coop.", "ssh-keygen", "-----")
"""What begins like that is typed, not read."""

Found = tuple[int, str, str | tuple[str, ...], list[str]]


def sentences(file: IO[bytes], keywords: Mapping[str, Any], comment_tags: Collection[str], options: Mapping[str, Any]) -> Iterator[Found]:
    """Yield what a Python file says: `_("...")`, `ngettext`, each `Sentence`; and with `errors = yes` the constant words of its errors.

    A sentence that says {count} has plural forms; one template then serves for both of English, unless two are given.
    """
    for node in ast.walk(ast.parse(file.read())):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr if isinstance(node.func, ast.Attribute) else ""
        words = [text for one in node.args[:2] if (text := _constant(one)) is not None]
        if name in ("_", "gettext") and words:
            yield node.lineno, "gettext", words[0], []
        elif name == "ngettext" and len(words) == 2:
            yield node.lineno, "ngettext", (words[0], words[1]), []
        elif name == "Sentence" and words:
            counted = len(words) == 2 or "{count" in words[0]
            yield (node.lineno, "ngettext", (words[0], words[-1]), []) if counted else (node.lineno, "gettext", words[0], [])
        elif name in _ERRORS and options.get("errors") == "yes":
            for one in (*node.args[:1], *(part.value for part in node.keywords if part.arg in _PARTS)):
                text = _constant(one)
                if text is not None and " " in text and not text.startswith(_COMMANDS):
                    yield one.lineno, "gettext", text, []


def _constant(node: ast.expr) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None

"""Long lines on a terminal: broken at words, so that none is cut in two at the edge."""

from __future__ import annotations

import shutil
import sys
import textwrap

__all__ = ["fold"]


def fold(text: str, *, hang: int | None = None) -> str:
    """Break the lines of a text that are longer than the terminal; what is no terminal gets them whole, for whoever searches them.

    Args:
        hang: columns the rest of a line is moved to the right [default: where the line begins].
    """
    if not sys.stdout.isatty():
        return text
    columns = shutil.get_terminal_size().columns
    folded = []
    for line in text.split("\n"):
        indent = len(line) - len(line.lstrip()) if hang is None else hang
        if len(line) > columns > indent + 20:
            # Digests, paths and commands stay in one piece: they are copied.
            folded += textwrap.wrap(line, columns, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False)
        else:
            folded.append(line)
    return "\n".join(folded)

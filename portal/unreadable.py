"""What a page says of a request whose fields are not as they should be: which one, what it got, and what it takes; the words of the validator are English."""

from __future__ import annotations

from typing import Any, Final

from fastapi.exceptions import RequestValidationError

from governance_hooks.errors import BadInput
from portal.i18n import gettext as _
from portal.i18n import ngettext

__all__ = ["in_words"]

_LONGEST: Final = 200


def in_words(error: RequestValidationError) -> BadInput:
    """Return the first thing that is wrong with a request, in the language of this request."""
    first: dict[str, Any] = error.errors()[0]
    field, given = ".".join(str(part) for part in first["loc"][1:]), first.get("input")
    value = f"{field}={given}"[:_LONGEST] if isinstance(given, str | int) else field
    return BadInput(_("a part of this request is not as it should be"), value=value, allowed=_allowed(first["type"], first.get("ctx") or {}))


def _allowed(kind: str, limits: dict[str, Any]) -> str:
    match kind:
        case "missing":
            return _("it cannot be left out")
        case "string_too_long":
            return ngettext("at most %(num)s letter", "at most %(num)s letters", limits["max_length"]) % {"num": limits["max_length"]}
        case "greater_than_equal":
            return _("a number from %(least)s on") % {"least": limits["ge"]}
        case "less_than_equal":
            return _("a number up to %(most)s") % {"most": limits["le"]}
        case "int_parsing" | "int_type":
            return _("a number")
    return _("what the pages of this portal put there")

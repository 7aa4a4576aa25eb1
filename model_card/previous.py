"""The card of the release before this one, believed only as far as that release's own list of files and the log bear it out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from governance_hooks.canonical import loads, sha256
from governance_hooks.errors import BadInput
from model_card.records import CardRecords, Field

__all__ = ["Previous", "previous_card"]

RELEASE: Final = "previous/release.json"
CARD: Final = "previous/card.json"
KNOWN: Final = ("coop.card/v1", "coop.card/v2")


@dataclass(frozen=True, slots=True)
class Previous:
    """The release before: its digest, its card, and the fields that name both."""

    release: str
    card: Mapping[str, Any]
    fields: dict[str, Field]

    def field(self, *keys: str) -> Field | None:
        """Return the value of a field of that card with a pointer to it, or None where it has none."""
        here: Any = self.card
        for key in (*keys, "value"):
            here = here.get(key) if isinstance(here, Mapping) else None
        return None if here is None else {"value": here, "source": f"{CARD}#/{'/'.join(keys)}/value", "sha256": self.fields["card"]["sha256"]}


def previous_card(records: CardRecords) -> Previous | None:
    """Return the card of the release before, if both of its files are here.

    Raises:
        BadInput: only one is here, the release does not list this card, or it is another cooperative's.
    """
    here = [path for path in (RELEASE, CARD) if path in records.files]
    if not here:
        return None
    if len(here) != 2:
        raise BadInput("the release before is shown with its list of files and its card, or not at all", value=here, allowed=f"{RELEASE} and {CARD}")
    release, card = (loads(records.files[path], floats=True, source=path) for path in (RELEASE, CARD))
    if not isinstance(release, dict) or not isinstance(card, dict) or card.get("format") not in KNOWN:
        raise BadInput(f"{CARD} is no card this version knows", value=card.get("format") if isinstance(card, dict) else None, allowed=", ".join(KNOWN))
    digest = sha256(records.files[CARD])
    listed = release.get("files")
    entries = [entry.get("sha256") for entry in listed if isinstance(entry, dict) and entry.get("path") == "card.json"] if isinstance(listed, list) else []
    if entries != [digest]:
        raise BadInput(f"{RELEASE} does not list this card", value=digest, allowed=str(entries))
    if release.get("coop") != records.coop:
        raise BadInput(f"{RELEASE} is another cooperative's", value=release.get("coop"), allowed=records.coop)
    for part in ("data", "languages"):
        if not isinstance(card.get(part), dict):
            raise BadInput(f"{CARD} lacks its section {part}", allowed=", ".join(KNOWN))
    identity = sha256(records.files[RELEASE])
    return Previous(
        identity,
        card,
        {
            "release": {"value": identity, "source": f"{RELEASE}#", "sha256": identity},
            "card": {"value": digest, "source": f"{CARD}#", "sha256": digest},
            "name": {"value": str(release.get("name"))[:64], "source": f"{RELEASE}#/name", "sha256": identity},
        },
    )

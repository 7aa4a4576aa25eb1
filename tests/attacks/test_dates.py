"""What is no date, wherever it stands: refused in words, never an exception that ends an audit."""

import pytest

from governance_hooks.canonical import digest
from governance_hooks.errors import CoopError, Refused
from governance_hooks.statement import entry, parse, sign
from tests.village import CONSENT, Approved, Village

NO_DATES = {
    "no such day": "2026-02-31T00:00:00Z",
    "no such hour": "2026-01-01T99:00:00Z",
    "99": "2026-99-99T99:99:99Z",
    "the last second of all": "9999-12-31T23:59:59Z",
    "year nought": "0000-01-01T00:00:00Z",
    "Arabic-Indic digits": "\u0662\u0660\u0662\u0666-\u0661\u0662-\u0663\u0661T00:00:00Z",
    "fullwidth digits": "\uff12\uff10\uff12\uff16-12-31T00:00:00Z",
    "a line more": "2026-12-31T00:00:00Z\n",
}


def raw_entry(village: Village, author: str, kind: str, payload: dict[str, object], *, issued: str) -> bytes:
    """Sign a body that our own tools would not make."""
    made = {"type": kind, "coop": village.coop.register.coop, "author": author, "issued": issued, "nonce": "0" * 32, "payload": payload}
    return entry(made, [sign(made, village.keys[author])])


@pytest.mark.parametrize("date", NO_DATES.values(), ids=NO_DATES)
def test_what_is_no_date_is_refused_in_words_wherever_it_stands(village: Village, date: str) -> None:
    member, size = village.members[3], village.coop.register.size
    proposal = village.propose("run", digest("x")).id
    entries = {
        "issued": raw_entry(village, member, "coop.withdrawal/v1", {"consent": None}, issued=date),
        "expires": raw_entry(village, member, "coop.consent/v1", CONSENT | {"expires": date}, issued=village.clock),
        "until": raw_entry(village, member, "coop.halt/v1", {"proposal": proposal, "until": date}, issued=village.clock),
    }
    for field, data in entries.items():
        with pytest.raises(Refused, match=field):  # never another exception: an audit would end in UNKNOWN
            parse(data)
        with pytest.raises(Refused, match=field):
            village.coop.append(data)
    with pytest.raises(CoopError, match="closes"):
        village.propose("run", digest("y"), closes=date)
    assert village.coop.register.size == size + 1


def test_the_last_second_that_is_allowed_does_not_overflow(approved: Approved) -> None:
    village, last = approved.village, "2099-12-31T23:59:59Z"
    village.consent(village.members[0], expires=last)
    halt = village.entry("coop.halt/v1", {"proposal": approved.proposal, "until": last}, village.members[3], issued=last)
    with pytest.raises(Refused, match="a halt lasts for a limited time"):
        village.coop.register.apply(halt)

"""Tell account and card numbers from other numbers by their length and check digits."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["card_length", "iban_length"]

# Lengths by country, SWIFT IBAN registry.
_LENGTHS: Final = {
    code: int(length)
    for length, codes in re.findall(
        r"(\d+):([A-Z,]+)",
        "15:NO 16:BE 18:DK,FO,FI,GL,NL,SD,FK 19:MK,SI 20:AT,BA,EE,KZ,LT,LU,XK,MN 21:CH,HR,LI,LV 22:BH,BG,CR,DE,GB,GE,IE,ME,RS,VA 23:AE,GI,IL,IQ,TL,OM,SO "
        "24:AD,CZ,ES,MD,PK,RO,SA,SE,SK,TN,VG 25:LY,PT,ST 26:IS,TR 27:BI,DJ,FR,GR,IT,MC,MR,SM 28:AL,AZ,BY,CY,DO,GT,HN,HU,LB,NI,PL,SV 29:BR,EG,PS,QA,UA "
        "30:JO,KW,MU,YE 31:MT,SC 32:LC 33:RU",
    )
    for code in codes.split(",")
}
# First digits and lengths by issuer, ISO/IEC 7812; the first match counts.
_ISSUERS: Final = (("34", {15}), ("37", {15}), ("35", {16}), ("4", {13, 16, 19}), ("5", {16}), ("2", {16}), ("6", {16, 19}), ("3", {14}))


def iban_length(text: str) -> int:
    """Return the length of the IBAN a text begins with, or 0: the country's length and the check digits (ISO 7064, mod 97) must be right."""
    length = _LENGTHS.get(text[:2])
    places = [place for place, character in enumerate(text) if character not in " -"]
    if length is None or len(places) < length:
        return 0
    end = places[length - 1] + 1
    if len(places) > length and places[length] == end:
        return 0  # the word goes on
    plain = "".join(text[place] for place in places[:length])
    return end if int("".join(str(int(character, 36)) for character in plain[4:] + plain[:4])) % 97 == 1 else 0


def card_length(text: str) -> int:
    """Return the length of a card number, or 0: issuer, length and check digit (Luhn, ISO/IEC 7812) must be right, and no test number of one or two digits."""
    digits = [int(character) for character in text if character.isdigit()]
    lengths = next((lengths for prefix, lengths in _ISSUERS if text.replace(" ", "").replace("-", "").startswith(prefix)), set[int]())
    if len(digits) not in lengths or len(set(digits)) < 3:
        return 0
    doubled = sum(2 * digit - 9 * (digit > 4) if place % 2 else digit for place, digit in enumerate(reversed(digits)))
    return len(text) if doubled % 10 == 0 else 0

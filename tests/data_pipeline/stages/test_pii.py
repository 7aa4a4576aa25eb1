from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipeline.candidate import Candidate
from data_pipeline.stages.check_digits import card_length, iban_length
from data_pipeline.stages.pii import TOKENS, PiiParameters, pii, regions, scrub

Row = Callable[..., Candidate]


@pytest.mark.parametrize(
    ("language", "text", "clean"),
    [
        ("eng", "Write to jane.doe+x@mail.co.uk.", "Write to [EMAIL]."),
        ("zho", "邮箱jane@mail.cn，谢谢", "邮箱[EMAIL]，谢谢"),
        ("kor", "메일은 kim@mail.kr에 보내기", "메일은 [EMAIL]에 보내기"),
        ("deu", "Ruf 030 901820 an", "Ruf [PHONE] an"),
        ("spa", "mi móvil +34 612 345 678.", "mi móvil [PHONE]."),
        ("zho", "我的手机13812345678", "我的手机[PHONE]"),
        ("hin", "फ़ोन ९८७६५ ४३२१०", "फ़ोन [PHONE]"),
        ("jpn", "電話は090-1234-5678です", "電話は[PHONE]です"),
        ("swa", "Piga simu 0712 345 678", "Piga simu [PHONE]"),
        ("deu", "IBAN DE89 3704 0044 0532 0130 00 BIC COBADEFF", "IBAN [IBAN] BIC COBADEFF"),
        ("eng", "GB82WEST12345698765432", "[IBAN]"),
        ("eng", "pay with 4539 1488 0343 6467 please", "pay with [CARD] please"),
        ("eng", "from 54.240.162.118, too", "from [IP], too"),
        ("eng", "at 2a00:1450:4001:81b::200e.", "at [IP]."),
    ],
)
def test_what_reaches_a_person_becomes_its_token(language: str, text: str, clean: str) -> None:
    assert scrub(text, language)[0] == clean


@pytest.mark.parametrize(
    "text",
    [
        "alice@example.com bob@mail.example root@localhost x@y.test git@host",
        "192.168.0.1 10.0.0.7 127.0.0.1 203.0.113.42 198.51.100.7 8.8.8.8 1.2.3.4 169.254.0.1 172.16.0.0",
        "::1 fe80::1 2001:db8::1 std::vector a::b 12:30:45",
        "IBAN DE89 3704 0044 0532 0130 01",
        "4539 1488 0343 6468",
        "4111 1111 1111 1111",
        "on 2019-12-01 00:00:00 or 01/02/2003",
        "version 10.2.3.4-5, build 192.186.178.2-rc1",
        "sum 1234567890 and 0123456789",
        "commit 836abcd7335137228ad77feb28655d85712680f1",
        "@memoize\ndef f(x): return x",
    ],
)
def test_what_reaches_nobody_stays(text: str) -> None:
    assert scrub(text, "eng") == (text, ())


def test_names_and_addresses_are_not_found() -> None:
    text = "Jane Doe lives at 12 Elm Street, Springfield; write to jane at mail dot org."
    assert scrub(text, "eng") == (text, ())


def test_handles_are_found_only_if_voted() -> None:
    text = "follow me, @jdoe_99 or Ben @ben_77!"
    assert scrub(text, "eng") == (text, ())
    assert scrub(text, "eng", handles=True) == ("follow me, @jdoe_99 or Ben [HANDLE]!", ("handle",))


def test_a_row_is_rewritten_and_marked_and_its_source_is_not(row: Row) -> None:
    given_row = row("r", "Mail a@b.org", "Call +34 612 345 678", language="spa")
    kept, excluded = pii([given_row], PiiParameters())
    assert excluded == []
    assert (kept[0].inputs, kept[0].targets, kept[0].marks) == ("Mail [EMAIL]", "Call [PHONE]", ("pii:email", "pii:phone"))
    assert kept[0].source.inputs == "Mail a@b.org"


def test_a_phone_number_without_country_code_needs_the_language() -> None:
    assert regions("deu") == ("DE", "AT", "CH")
    assert scrub("0712 345 678", "swa")[1] == ("phone",)
    assert scrub("0712 345 678", "lao")[1] == ()


@given(
    st.lists(
        st.sampled_from(
            ["a@b.org", "+34 612 345 678", "54.240.162.118", "DE89 3704 0044 0532 0130 00", "4539 1488 0343 6467", "12", " ", "x", ".", "-", "की", "。"]
        )
    )
)
def test_scrubbing_twice_changes_nothing(parts: list[str]) -> None:
    once, _ = scrub("".join(parts), "eng", handles=True)
    assert scrub(once, "eng", handles=True) == (once, ())


def test_tokens_are_constant_and_distinct() -> None:
    assert len(set(TOKENS.values())) == len(TOKENS)
    assert scrub("a@b.org c@d.org a@b.org", "eng")[0] == "[EMAIL] [EMAIL] [EMAIL]"


@given(st.text(alphabet="0123456789 -", min_size=1, max_size=30))
def test_a_changed_digit_is_no_card(text: str) -> None:
    digits = [character for character in text if character.isdigit()]
    if card_length(text):
        wrong = text.replace(digits[0], str((int(digits[0]) + 1) % 10), 1)
        assert not card_length(wrong)


@pytest.mark.parametrize("good", ["GB82WEST12345698765432", "FR1420041010050500013M02606", "NO9386011117947", "BE68 5390 0754 7034"])
def test_an_iban_has_the_length_of_its_country_and_its_check_digits(good: str) -> None:
    assert iban_length(good) == len(good)
    assert iban_length(good + "1") == 0
    assert iban_length(good[:-1]) == 0
    assert iban_length(good[:2] + str((int(good[2]) + 1) % 10) + good[3:]) == 0
    assert iban_length("ZZ" + good[2:]) == 0


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "unit",
    ["1", "1 ", "+1", "(", "12 ", "+49 30 901820 ", "123456789x", "a@", "a.", "a@b.", "DE89 ", "2001:", ":", "1.2.3.4.", "a @", "4111 1111 1111 1111 ", "x@a."],
)
def test_hostile_text_of_100_kb_is_read_in_linear_time(unit: str) -> None:
    scrub(unit * (100_000 // len(unit)), "eng", handles=True)

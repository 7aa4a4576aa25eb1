import json

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from governance_hooks.canonical import CanonicalError, _loads_or_say_why, digest, digest_of_texts, dumps, is_digest, loads

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_every_document_has_one_byte_form(value: object) -> None:
    data = dumps(value)
    assert loads(data) == value
    assert dumps(loads(data)) == data


@given(VALUES)
def test_our_bytes_are_those_of_rfc8785_whatever_the_keys(value: object) -> None:
    assert loads(rfc8785.dumps(value)) == value  # type: ignore[arg-type]
    assert dumps(value) == rfc8785.dumps(value)  # type: ignore[arg-type]


@given(st.dictionaries(st.text('ab~\x7f\x1f"', max_size=3), st.floats() | st.integers() | st.text(max_size=3) | st.tuples(st.integers(0, 3)), max_size=4))
def test_what_has_no_canonical_form_is_refused_and_the_rest_is_rfc8785s(value: dict[str, object]) -> None:
    try:
        expected = rfc8785.dumps(value)  # type: ignore[arg-type]
    except rfc8785.CanonicalizationError:
        with pytest.raises(CanonicalError):
            dumps(value)
    else:
        assert dumps(value) == expected


def test_keys_beyond_the_basic_plane_sort_by_utf_16() -> None:
    value = {"\U0001f600": 1, "\ufb33": 2, "z": 3, "\x7f": 4, "\u2028": 5}
    assert loads(rfc8785.dumps(value)) == value
    code_points = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
    with pytest.raises(CanonicalError, match="canonical form"):
        loads(code_points)


JSON_BYTES = st.builds(
    lambda value, indent, ascii_only, junk: (
        junk[0]
        + json.dumps(value, indent=indent, ensure_ascii=ascii_only, separators=(",", ":") if indent is None else None).encode(errors="surrogatepass")
        + junk[1]
    ),
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**54), 2**54) | st.floats() | st.text('aé\x00\x1f\x7f"\\/\n\u2028\ud800😀', max_size=4),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('abé"\x01😀\ufb33', max_size=2), inner, max_size=3),
        max_leaves=8,
    ),
    st.sampled_from([None, None, None, 0, 1]),
    st.booleans(),
    st.tuples(st.sampled_from([b"", b"", b"", b" ", b"\xef\xbb\xbf"]), st.sampled_from([b"", b"", b"", b"\n", b"x"])),
)


def independent(data: bytes) -> object:
    """What `loads` is to do, by rfc8785 and nothing fast: raise ValueError, or return the value."""

    def pairs(items: list[tuple[str, object]]) -> dict[str, object]:
        if len(dict(items)) != len(items):
            raise ValueError("duplicate key")
        return dict(items)

    def whole(text: str) -> int:
        if len(text) > 17:
            raise ValueError("large")
        return int(text)

    def never(text: str) -> object:
        raise ValueError(text)

    value = json.loads(data.decode(), object_pairs_hook=pairs, parse_int=whole, parse_float=never, parse_constant=never)
    if rfc8785.dumps(value) != data:
        raise ValueError("not canonical")
    return value


def agree(data: bytes) -> None:
    try:
        expected = independent(data)
    except (ValueError, RecursionError):
        with pytest.raises(CanonicalError):
            loads(data)
    else:
        assert loads(data) == expected
        assert dumps(loads(data)) == data


@settings(max_examples=1000)
@given(JSON_BYTES)
def test_what_is_canonical_is_what_rfc8785_says_of_any_json(data: bytes) -> None:
    agree(data)


@settings(max_examples=1000)
@given(VALUES, st.integers(0), st.integers(0, 255), st.sampled_from(["put", "insert", "cut", "double"]))
def test_what_is_canonical_is_what_rfc8785_says_of_any_changed_byte(value: object, at: int, byte: int, how: str) -> None:
    data = dumps(value)
    at %= len(data)
    middle = {"put": bytes([byte]), "insert": bytes([byte]) + data[at : at + 1], "cut": b"", "double": data[at : at + 1] * 2}[how]
    agree(data[:at] + middle + data[at + 1 :])


@given(VALUES)
def test_the_quick_reading_and_the_one_that_says_why_give_the_same(value: object) -> None:
    data = dumps(value)
    assert loads(data) == _loads_or_say_why(data, False, "document")


@given(VALUES.filter(lambda v: isinstance(v, dict) and len(v) > 0))
def test_any_other_spelling_is_refused(value: object) -> None:
    with pytest.raises(CanonicalError, match="canonical form"):
        loads(json.dumps(value, indent=1).encode())


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b'{"a":1,"a":2}', "duplicate key"),
        (b'{"a":1,"b":2,"a":1}', "duplicate key"),
        (b'{"a":{"b":1,"b":1}}', "duplicate key"),
        (b'[{"b":1,"a":2}]', "canonical form"),
        (b'{"a":[[{"b":1,"a":2}]]}', "canonical form"),
        (b'{"a":-0}', "canonical form"),
        (b'{"a":01}', "not JSON"),
        (b'{"a":[1.0]}', "not an integer"),
        (b'{"a":"\\u001F"}', "canonical form"),
        (b'{"a":"\\/"}', "canonical form"),
        (b"[9007199254740992]", "2\\^53"),
        (b"9007199254740992", "2\\^53"),
        (b"1.5", "not an integer"),
        (b"NaN", "not a number"),
        (b'{"a":1.0}', "not an integer"),
        (b'{"a":1e2}', "not an integer"),
        (b'{"a":9007199254740992}', "2\\^53"),
        (b'{"a":-9007199254740992}', "2\\^53"),
        (b'{"a":' + b"9" * 5000 + b"}", "2\\^53"),
        (b'{"a":NaN}', "not a number"),
        (b'{"a":Infinity}', "not a number"),
        (b'{"a":1} ', "canonical form"),
        (b'{"b":1,"a":2}', "canonical form"),
        (b'{"a":"\\u0041"}', "canonical form"),
        (b'{"a":"\xff"}', "not JSON in UTF-8"),
        (b"[" * 100_000, "not JSON"),
        (b"", "not JSON"),
        (b'{"a":"\\ud800"}', "canonical"),
    ],
)
def test_ambiguous_bytes_are_refused(data: bytes, why: str) -> None:
    with pytest.raises(CanonicalError, match=why):
        loads(data)


def test_fractions_are_admitted_only_where_asked() -> None:
    assert loads(b'{"a":0.5}', floats=True) == {"a": 0.5}
    with pytest.raises(CanonicalError, match="not an integer"):
        loads(b'{"a":0.5}')


def test_digest_names_itself() -> None:
    assert is_digest(digest({}))
    assert not any(map(is_digest, ["sha256:", "sha256:" + "G" * 64, "sha256:" + "A" * 64, None, digest({}) + "0"]))


@given(
    st.dictionaries(
        st.text(st.characters(codec="ascii"), max_size=5), st.recursive(st.text() | st.integers(0, 2**53 - 1), lambda inner: st.lists(inner, max_size=3))
    )
)
def test_the_quick_digest_of_texts_is_the_digest(value: dict[str, object]) -> None:
    try:
        expected = digest(value)
    except CanonicalError:
        with pytest.raises(CanonicalError):
            digest_of_texts(value)
    else:
        assert digest_of_texts(value) == expected

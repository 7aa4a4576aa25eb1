import json

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from governance_hooks.canonical import CanonicalError, digest, dumps, is_digest, loads

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


def test_keys_beyond_the_basic_plane_sort_by_utf_16() -> None:
    value = {"\U0001f600": 1, "\ufb33": 2, "z": 3, "\x7f": 4, "\u2028": 5}
    assert loads(rfc8785.dumps(value)) == value
    code_points = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
    with pytest.raises(CanonicalError, match="canonical form"):
        loads(code_points)


@given(VALUES.filter(lambda v: isinstance(v, dict) and len(v) > 0))
def test_any_other_spelling_is_refused(value: object) -> None:
    with pytest.raises(CanonicalError, match="canonical form"):
        loads(json.dumps(value, indent=1).encode())


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b'{"a":1,"a":2}', "duplicate key"),
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

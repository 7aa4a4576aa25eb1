"""The view of the log that pages read: whatever its history, what it keeps beside the register is what the register says, and nothing is checked twice."""

from __future__ import annotations

import hashlib
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import governance_hooks.cooperative
import governance_hooks.vouching
from governance_hooks.checkpoint import NoteKey, sign_checkpoint
from governance_hooks.cooperative import Cooperative, Paths
from governance_hooks.log import Log
from governance_hooks.register import Register
from governance_hooks.statement import parse, shift
from governance_hooks.tally import roll_root
from portal.positions import Positions
from portal.view import View
from tests.governance_hooks.test_histories import drawn
from tests.portal.conftest import Portal
from tests.portal.test_voting import propose, say


def views(folder: Path, entries: list[bytes]) -> View:
    """A view of a log of these entries."""
    key = NoteKey.generate("village.example/log", folder / "log.key")
    log = Log(f"sqlite:///{folder / 'log.sqlite'}")
    log.append(entries, expected_size=0, note=lambda size, root: sign_checkpoint(key, size, root, 1))
    return View(Paths(folder), log, parse(entries[0]).id, True)


@pytest.mark.parametrize("seed", [3, 33])
def test_after_any_history_what_the_view_keeps_is_what_the_register_says(tmp_path: Path, seed: int) -> None:
    entries = drawn(seed, 70).entries
    view = views(tmp_path, entries)
    with view.reading() as register:
        assert register.size == len(entries)
        assert view.members() == len(register.active())
        assert view.texts == sum(given.records for given in register.contributions.values())
        assert view.declined == Counter(one.about for one in register.declined.values())
        assert view.running() == [one for one in register.proposals.values() if one.closed is None]
        at = shift(register.operator_clock, 1)
        disputable = [
            one for one in register.proposals.values() if one.tally is not None and one.tally.approved and one.rules.objections is not None and at < one.due()
        ]
        assert sorted(one.id for one in view.disputable(at)) == sorted(one.id for one in disputable)
        for one in register.proposals.values():
            assert view.tally(one) == (one.tally or one.count())
            heard = view.heard(one, 1000)
            assert sorted(heard) == sorted(one.votes)
            with_reason = sum(vote.reason is not None for vote in one.votes.values())
            assert all(one.votes[member].reason for member in heard[:with_reason])
        statements = [parse(data) for data in entries]
        assert [view.positions[one.id] for one in statements] == list(range(len(entries)))
        assert {author: list(made) for author, made in view.made.items()} == {
            author: [at for at, one in enumerate(statements) if one.author == author] for author in {one.author for one in statements}
        }
    view.log.close()


def test_the_writers_register_is_folded_from_the_same_statements_and_no_signature_is_checked_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries, checked = drawn(5, 30).entries, list[int]()
    view, plain = views(tmp_path, entries), governance_hooks.vouching.all_hold
    monkeypatch.setattr(governance_hooks.vouching, "all_hold", lambda batch: (checked.append(len(batch)), plain(batch))[1])
    view.refresh()
    twin = view.twin()
    assert sum(checked) == len(entries)
    alone = Register()
    for data in entries:
        alone.apply(data)
    assert vars(twin) == vars(alone) == vars(view.register)
    shared = [(a, b) for a, b in zip(twin.contributions, view.register.contributions, strict=True)]
    assert all(a is b for a, b in shared)
    assert twin.members is not view.register.members  # the writer's acts do not reach the pages before they are durable
    view.log.close()


@pytest.mark.parametrize("seed", [3, 33])
def test_what_two_registers_say_of_ballots_and_rolls_is_kept_once_and_is_right(tmp_path: Path, seed: int) -> None:
    view = views(tmp_path, drawn(seed, 70).entries)
    with view.reading() as register:
        twin = view.twin()
        assert any(one.votes for one in register.proposals.values())
        for one in register.proposals.values():
            assert all(twin.proposals[one.id].votes[member] is vote for member, vote in one.votes.items() if vote.choice)
            assert roll_root(one.roll) == one.roll_root
        for before, after in pairwise(register.proposals.values()):
            assert (before.roll is after.roll) == (before.roll_root == after.roll_root)
    view.log.close()


def test_what_the_writer_checked_is_not_checked_again_and_what_nobody_checked_is(portal: Portal, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed = list[bytes]()

    def watched(data: bytes, **given: Any) -> Any:
        parsed.append(data)
        return parse(data, **given)

    monkeypatch.setattr(governance_hooks.cooperative, "parse", watched)
    view = portal.service.view
    proposal = propose(portal)
    ballot = {"proposal": proposal, "choice": "for", "sequence": 1, "reason": None}
    made = say(portal, "coop.ballot/v1", ballot, portal.members[0], portal.keys[portal.members[0]])
    with view.reading() as register:
        assert register.proposals[proposal].votes[portal.members[0]].ballot == made.id
    assert not parsed
    with Cooperative.open(portal.root) as other:  # as another program would
        stated = other.operate("coop.time/v1", {})
    assert parsed == [stated.entry]
    with view.reading() as register:
        assert register.operator_clock == stated.issued
    assert parsed == [stated.entry] * 2


def test_an_entry_nobody_vouched_for_is_checked_in_full(tmp_path: Path) -> None:
    """The log's file was written past the writer, and the signature is not over these bytes."""
    entries = drawn(5, 30).entries
    view = views(tmp_path, entries)
    view.refresh()
    view.twin()
    bad = entries[-1].replace(b'"nonce":"', b'"nonce":"f', 1)
    key = NoteKey.load(tmp_path / "log.key")
    view.vouch(parse(entries[-1]))  # known byte for byte, and this is another one
    view.log.append([bad], expected_size=len(entries), note=lambda size, root_: sign_checkpoint(key, size, root_, 1))
    with pytest.raises(governance_hooks.cooperative.CoopError), view.reading():
        pass
    view.log.close()


def test_positions_are_those_that_were_put_in_and_no_others() -> None:
    index, digests = Positions(), [f"sha256:{hashlib.sha256(b'%d' % number).hexdigest()}" for number in range(20_000)]
    for position, one in enumerate(digests[:10_000]):
        index.add(one, position * 2**20 if position % 7 == 0 else position)
    assert all(index.get(one) == (position * 2**20 if position % 7 == 0 else position) for position, one in enumerate(digests[:10_000]))
    assert not any(index.get(one) is not None for one in digests[10_000:])
    for text in ("", "sha256:", digests[0][:-1], digests[0] + "0", digests[0].upper(), "m-0123456789abcdef", "sha256:" + "g" * 64):
        assert index.get(text) is None
    # What looks like a digest across two of them is none.
    crowded = Positions()
    crowded._buckets = [b""] * len(crowded._buckets)
    one, two = (bytes.fromhex(digest[7:]) for digest in digests[:2])
    across = (one[:16] + (5).to_bytes(5, "big") + two[:16] + (6).to_bytes(5, "big"))[3:19]
    crowded._buckets = [one[:16] + (5).to_bytes(5, "big") + two[:16] + (6).to_bytes(5, "big")] * len(crowded._buckets)
    assert crowded.get(digests[1]) == 6
    assert crowded.get(f"sha256:{across.hex()}{'0' * 32}") is None
    with pytest.raises(KeyError):
        crowded["sha256:" + "0" * 64]

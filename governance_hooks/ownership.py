"""Who owns what in a build: a Merkle tree of members over trees of their rows, and short proofs a member checks alone.

    root = SHA-256 of {"members": n, "rows": r, "tree": root over members sorted by id}
    member = {"member": id, "rows": k, "root": root over the member's ledger lines, in ledger order}

A row of several authors stands under each of them. The numbers are committed to, so a proof of absence cannot be moved to another
place: the two neighbours between which a member would stand are proved to be next to each other.
"""

from __future__ import annotations

import base64
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from governance_hooks import merkle
from governance_hooks.canonical import digest, dumps, loads
from governance_hooks.errors import BadInput, Refused
from governance_hooks.fields import Digest, Identifier, Strict

__all__ = ["Holding", "OwnershipProof", "OwnershipTree", "Place", "read_ownership"]

Hash = Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]{43}=$")]
"""32 bytes in base64."""


class Holding(Strict):
    """What one member has in a build."""

    member: Identifier
    rows: Annotated[int, Field(gt=0)]
    root: Hash
    """Merkle root over their ledger lines, in ledger order."""

    @property
    def leaf(self) -> bytes:
        """The hash of this holding in the tree of members."""
        return merkle.leaf_hash(dumps(self.model_dump()))


class Place(Strict):
    """A holding, where it stands among the members, and the Merkle path from it to the root."""

    index: Annotated[int, Field(ge=0)]
    holding: Holding
    path: Annotated[list[Hash], Field(max_length=64)]


class OwnershipProof(Strict):
    """That a member has rows in a build (one place), or has none (the places of the neighbours)."""

    format: Literal["coop.ownership/v1"] = "coop.ownership/v1"
    root: Digest
    """The root of the build, which its manifest, the plan and the log name."""
    members: Annotated[int, Field(gt=0)]
    rows: Annotated[int, Field(gt=0)]
    tree: Hash
    member: Identifier
    places: Annotated[list[Place], Field(min_length=1, max_length=2)]

    def check(self) -> int:
        """Check the proof and return how many rows of the build are the member's: 0 proves that none is.

        Raises:
            Refused: a hash, a number or the order does not fit.
        """
        tree = base64.b64decode(self.tree)
        if _commit(self.members, self.rows, tree) != self.root:
            raise Refused("the proof's numbers are not those the root commits to", value=(self.members, self.rows))
        for place in self.places:
            path = [base64.b64decode(step) for step in place.path]
            if not merkle.verify_inclusion(place.holding.leaf, place.index, self.members, path, tree):
                raise Refused("a place in the proof does not hash to the root", value=place.holding.member)
        first, last = self.places[0], self.places[-1]
        if first.holding.member == self.member and len(self.places) == 1:
            return first.holding.rows
        if len(self.places) == 2:
            between = first.index + 1 == last.index and first.holding.member < self.member < last.holding.member
        else:
            between = (first.index == 0 and self.member < first.holding.member) or (first.index == self.members - 1 and first.holding.member < self.member)
        if not between:
            raise Refused("the proof's places are not those between which the member would stand", value=self.member)
        return 0


class OwnershipTree:
    """The tree of a ledger.

    Args:
        owned: author -> the leaf hashes of their lines in ledger order, 32 bytes each, one after the other.
        rows: lines of the ledger.
    """

    def __init__(self, owned: Mapping[str, bytes | bytearray], rows: int) -> None:
        self.rows = rows
        self.holdings = [
            Holding(member=name, rows=len(leaves) // 32, root=_encode(merkle.root([bytes(leaves[at : at + 32]) for at in range(0, len(leaves), 32)])))
            for name, leaves in sorted(owned.items())
        ]
        self._leaves = [holding.leaf for holding in self.holdings]
        self._tree = merkle.root(self._leaves)

    @classmethod
    def of_lines(cls, authors: Iterable[Sequence[str]], lines: Iterable[bytes]) -> OwnershipTree:
        """Return the tree of a ledger from the authors of each line and the lines, without their newlines."""
        owned: dict[str, bytearray] = {}
        rows = 0
        for names, line in zip(authors, lines, strict=True):
            leaf, rows = merkle.leaf_hash(line), rows + 1
            for name in names:
                owned.setdefault(name, bytearray()).extend(leaf)
        return cls(owned, rows)

    @property
    def root(self) -> str:
        """The digest that identifies the records of a build and who owns them."""
        return _commit(len(self.holdings), self.rows, self._tree)

    def prove(self, member: str) -> OwnershipProof:
        """Return the proof of what a member has, or that they have nothing; raise BadInput for a ledger without rows."""
        if not self.holdings:
            raise BadInput("this ledger has no rows")
        at = bisect_left([holding.member for holding in self.holdings], member)
        there = at < len(self.holdings) and self.holdings[at].member == member
        wanted = [at] if there else [index for index in (at - 1, at) if 0 <= index < len(self.holdings)]
        places = [Place(index=index, holding=self.holdings[index], path=self._path(index)) for index in wanted]
        return OwnershipProof(root=self.root, members=len(self.holdings), rows=self.rows, tree=_encode(self._tree), member=member, places=places)

    def _path(self, index: int) -> list[str]:
        path = merkle.inclusion_proof(index, len(self._leaves), lambda start, stop: merkle.root(self._leaves[start:stop]))
        return [_encode(step) for step in path]


def _commit(members: int, rows: int, tree: bytes) -> str:
    return digest({"members": members, "rows": rows, "tree": _encode(tree)})


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()


def read_ownership(data: bytes, *, source: str = "proof") -> OwnershipProof:
    """Parse the canonical bytes of a proof; raise BadInput for anything else. `check` is what proves something."""
    loads(data, source=source)
    try:
        return OwnershipProof.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        raise BadInput(f"{source}: {'.'.join(map(str, first['loc']))}: {first['msg']}", value=first.get("input")) from error

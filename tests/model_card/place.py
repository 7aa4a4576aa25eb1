"""A village with a release that is out, and the place where its download site is made."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from governance_hooks.canonical import sha256
from governance_hooks.cooperative import Cooperative
from governance_hooks.register import Register
from governance_hooks.sshsig import PrivateKey
from governance_hooks.statement import now
from model_card.attestations import attest
from model_card.site.freshness import Freshness, freshness
from model_card.site.make import Made, make_site
from model_card.site.metadata import sign_root
from tests.model_card.attested import STEWARDS, made, read
from tests.model_card.conftest import RUN
from tests.village import Village, found

DAY = 86_400
ONE = "village-lm"


@dataclass
class Place:
    """A village with a release that is out, its bundles, and where its site is made."""

    village: Village
    bundles: dict[str, Path]
    root: Path

    @property
    def state(self) -> Path:
        return self.root / "state"

    @property
    def out(self) -> Path:
        return self.root / "site"

    @property
    def register(self) -> Register:
        return self.village.coop.register

    @property
    def release(self) -> str:
        return self.digest(ONE)

    def digest(self, name: str) -> str:
        return sha256((self.bundles[name] / "release.json").read_bytes())

    def key(self, number: int) -> PrivateKey:
        return self.village.keys[STEWARDS[number]]

    def sign(self, *keys: PrivateKey, at: str | None = None) -> Any:
        drafts = [sign_root(self.state, self.register, key, at or now()) for key in keys or (self.key(0), self.key(1))]
        return drafts[-1]

    def make(self, *, at: str | None = None, valid_s: int = 7 * DAY, **options: Any) -> Made:
        return make_site(self.village.coop, self.bundles, self.out, self.state, self.village.coop.proof(), at=at or now(), valid_s=valid_s, **options)

    def fresh(self, name: str = ONE, *, register: Register | None = None, remember: Path | None = None, site: Path | None = None) -> Freshness:
        return freshness(site or self.out, self.digest(name), register or self.register, now=now(), remember=remember)


def publish(village: Village, bundle: Path, *supersedes: str) -> None:
    release = sha256((bundle / "release.json").read_bytes())
    proposal = village.propose("release", release, supersedes=sorted(supersedes)).id
    village.carry(proposal)
    village.say("coop.release/v1", {"run": RUN, "release": release, "proposal": proposal}, "operator")


def publish_first(root: Path) -> dict[str, PrivateKey]:
    """Two bundles of one run; the first is voted, attested and out. Return who signs, the operator among them."""
    keys, operator = found(root, founders=6, stewards=STEWARDS, stewards_required=2)
    with Cooperative.open(root) as coop:
        case = made(root, coop, keys, operator)
        case.finished.assemble(root / "two", name="village-lm-2")
        village = case.village
        proposal = next(one.id for one in coop.register.proposals.values() if one.kind == "release")
        village.say("coop.release/v1", {"run": RUN, "release": case.release, "proposal": proposal}, "operator")
        files, digests = read(root / "bundle")
        for number in (0, 1):
            for path, data in attest(files, digests, coop.register, case.release, case.key(number)).items():
                (root / "bundle" / path).parent.mkdir(exist_ok=True)
                (root / "bundle" / path).write_bytes(data)
                files[path] = data
    return keys | {"operator": operator}


@contextmanager
def opened(published: Path, keys: dict[str, PrivateKey], folder: Path) -> Iterator[Place]:
    """A copy of that village in a folder, for one test."""
    root = shutil.copytree(published, folder / "village")
    with Cooperative.open(root) as coop:
        village = Village(root, coop, {name: key for name, key in keys.items() if name != "operator"}, keys["operator"])
        village.clock = coop.register.operator_clock
        yield Place(village, {ONE: root / "bundle", "village-lm-2": root / "two"}, folder)

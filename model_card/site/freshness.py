"""What a download site says of a release today, by its signed metadata: the status, and until when that may be believed.

The trust comes from the log: a root counts if as many stewards signed it as the bylaws in the bundle's log require, so nothing is trusted on
first use. The client is python-tuf's; with a folder to remember what it saw, a site that goes back is found out.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from governance_hooks.errors import BadInput
from governance_hooks.register import Register
from governance_hooks.report import StepFailed, StepUnknown
from governance_hooks.standing import ReleaseStatus, status_of
from governance_hooks.statement import timestamp
from model_card.attestations.signers import Signers

if TYPE_CHECKING:
    from tuf.api.metadata import TargetFile

__all__ = ["Freshness", "freshness"]

Status = Literal["current", "superseded", "withdrawn"]
_DISTRUST = "do not trust this copy of the site; fetch it again, from elsewhere"


@dataclass(frozen=True, slots=True)
class Freshness:
    """What a site says of a release; of one that is stale, what the log beside it says."""

    status: Status
    by: str | None
    reason: str | None
    since: str | None
    stale: bool
    expires: str | None
    """First instant at which the site's word may not be believed any more; None if it is over already."""
    log_size: int
    """Entries of the log behind it."""

    @property
    def line(self) -> str:
        """Say it in one sentence."""
        if self.stale:
            return "the site's metadata is out of date: whether this release is still current cannot be told from it"
        said = ReleaseStatus("", self.status, self.by, self.reason, self.since, None, "the cooperative's site")
        what = "current" if self.status == "current" else said.line
        return f"{what}, by the site's signed metadata, good until {self.expires} (log of {self.log_size} entries)"


def freshness(site: Path, release: str, register: Register, *, now: str, remember: Path | None = None) -> Freshness:
    """Return what a copy of the download site says of a release.

    Args:
        site: the site's folder, or its `metadata/`.
        release: digest of release.json.
        register: replayed from the bundle's proof: it says whose signatures the site's root needs.
        now: RFC 3339 UTC.
        remember: folder in which the client keeps what it saw, by cooperative; without it a rollback cannot be seen.

    Raises:
        StepFailed: forged, rolled back, or signed by others than the stewards.
        StepUnknown: no metadata there, this release is not in it, or tuf is not installed.
    """
    metadata = site / "metadata" if (site / "metadata").is_dir() else site
    if not (metadata / "timestamp.json").is_file():
        raise StepUnknown(f"{site} holds no metadata of a download site", todo="name the folder with index.html, or its metadata/")
    try:
        import tuf.api.exceptions as tuf
    except ImportError as error:
        raise StepUnknown("reading a site's metadata needs the package tuf", todo="pip install 'commonweights[release]'") from error
    with _folder(remember and remember / register.coop.removeprefix("sha256:")) as kept:
        try:
            target, expires = _ask(metadata, _anchor(metadata, register), kept, release)
        except tuf.ExpiredMetadataError:
            known = status_of(register, release, at=now)
            return Freshness(known.status, known.by, known.reason, known.since, True, None, register.size)
        except tuf.BadVersionNumberError as error:
            raise StepFailed(f"the site was rolled back: {error}", todo=_DISTRUST) from error
        except tuf.DownloadError as error:
            raise StepUnknown(f"the site's metadata is not whole: {error}", todo="fetch the site again, whole") from error
        except tuf.RepositoryError as error:
            raise StepFailed(f"the site's metadata does not hold: {error}", todo=_DISTRUST) from error
        except OSError as error:
            raise StepUnknown(f"cannot read the site, or remember it: {error}") from error
    if target is None:
        raise StepUnknown("the site does not know this release", todo="ask the cooperative whether this is its newest site")
    return _read(target, release, expires, now, register)


def _read(target: TargetFile, release: str, expires: str, now: str, register: Register) -> Freshness:
    custom = target.unrecognized_fields.get("custom")
    said: dict[str, Any] = custom if isinstance(custom, dict) else {}
    if target.hashes.get("sha256") != release.removeprefix("sha256:") or said.get("release") != release or said.get("status") not in get_args(Status):
        raise StepFailed("the site's metadata speaks of another release, or not as a site of ours does", todo=_DISTRUST)
    texts = {name: said.get(name) for name in ("by", "reason", "since")}
    size = said.get("log_size")
    if type(size) is not int or not all(text is None or isinstance(text, str) for text in texts.values()):
        raise StepFailed("the site's metadata is malformed", todo=_DISTRUST)
    known = status_of(register, release, at=now)
    if size < register.size and known.status != said["status"]:
        # The log beside the bundle is longer than the one behind the site, and signed by members: it goes first.
        return Freshness(known.status, known.by, known.reason, known.since, now >= expires, expires, register.size)
    return Freshness(said["status"], texts["by"], texts["reason"], texts["since"], now >= expires, expires, size)


def _anchor(metadata: Path, register: Register) -> bytes:
    """Return the newest root that as many stewards have signed as the log's bylaws require, each with a key of their own."""
    from model_card.site.metadata import read_root, root_files

    signers = Signers.of(register, None)
    owner_of = {raw.hex(): owner for owner, raw in signers.keys.values()}
    why = "there is no root"
    for path in reversed(root_files(metadata)[-256:]):
        try:
            root = read_root(path)
            result = root.signed.get_verification_result("root", root.signed_bytes, root.signatures)
        except (BadInput, ValueError) as error:
            raise StepFailed(f"the site's root does not hold: {error}", todo=_DISTRUST) from error
        owners = {owner_of.get(root.signed.keys[keyid].keyval["public"]) for keyid in result.signed} - {None}
        if result and len(owners) >= signers.required:
            return path.read_bytes()
        why = f"{len(owners)} of {signers.required} stewards whom this bundle's log names have signed {path.name}"
    raise StepFailed(f"the site is not the stewards': {why}", todo="ask the cooperative for a newer proof.jsonl.gz, if its stewards have changed since")


def _ask(metadata: Path, anchor: bytes, kept: Path, release: str) -> tuple[TargetFile | None, str]:
    """Run TUF's client over the folder; return the target of the release, and when the timestamp expires."""
    from tuf.api.exceptions import DownloadHTTPError
    from tuf.api.metadata import Metadata, Timestamp
    from tuf.ngclient import Updater
    from tuf.ngclient.fetcher import FetcherInterface

    from model_card.site.metadata import target_path

    class Folder(FetcherInterface):
        """Serves the metadata of a folder and nothing outside of it."""

        def _fetch(self, url: str) -> Iterator[bytes]:
            path = metadata / url.removeprefix("site:/")
            if "/" in url.removeprefix("site:/") or path.is_symlink() or not path.is_file():
                raise DownloadHTTPError(f"{path.name} is missing", 404)
            with path.open("rb") as file:
                while part := file.read(1 << 16):
                    yield part

    updater = Updater(str(kept), "site:/", fetcher=Folder(), bootstrap=anchor)
    updater.refresh()
    signed = Metadata[Timestamp].from_file(str(kept / "timestamp.json")).signed
    return updater.get_targetinfo(target_path(release)), timestamp(signed.expires)


@contextmanager
def _folder(remember: Path | None) -> Iterator[Path]:
    if remember is not None:
        remember.mkdir(parents=True, exist_ok=True)
        yield remember
        return
    with tempfile.TemporaryDirectory(prefix="coop-site-") as made:
        yield Path(made)

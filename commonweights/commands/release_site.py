"""`coop release site` and `coop release root`: the download site, and the stewards' signatures under its root."""

from __future__ import annotations

from pathlib import Path

import click

from commonweights.cli import Session
from commonweights.options import key_option
from commonweights.progress import progress
from commonweights.witnesses import witnessed_proof
from commonweights.workspace import Workspace, load_key, open_workspace
from governance_hooks.errors import BadInput
from governance_hooks.sshsig import load_private_key
from governance_hooks.statement import now

__all__ = ["SITE"]

_STATE = "download-site"
"""Folder of a cooperative with the keys, roots and versions of its site's metadata. Lose it, and clients that remember see a rollback."""


def _require_tuf() -> None:
    try:
        import tuf  # noqa: F401
    except ImportError as error:
        raise BadInput("the download site needs the package tuf", next="pip install 'commonweights[release]'") from error


@click.command()
@click.option("--show", is_flag=True, help="Only show what would be signed.")
@key_option
@click.pass_obj
def root(session: Session, show: bool, key: Path | None) -> None:
    """Sign the root of the download site as one of the stewards: who may sign its metadata, for a year.

    The next root is due when the stewards of the bylaws change, and three months before the old one ends. It takes as many stewards as the bylaws say, and
    as many of those before. ssh-ed25519 key files only: FIDO keys and passkeys cannot sign TUF metadata.

    \b
    coop release root --show
    """
    _require_tuf()
    from model_card.site.metadata import draft_root, sign_root

    with open_workspace(session.folder, read_only=True) as space:
        state, register, at = space.root / _STATE, space.coop.register, now()
        draft = draft_root(state, register, at) if show else sign_root(state, register, load_key(key), at)
        if draft is None:
            session.show({"root": None}, "the root in force is what the bylaws ask for: nothing to sign")
            return
        value = {"root": draft.made.signed.version, "signed": len(draft.made.signatures), "complete": draft.complete}
        session.show(value, "\n".join(draft.words))


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--url", "address", help="Address the site will have on the web (https://...), for its instructions and web seeds.")
@click.option("--torrents", is_flag=True, help="Also make a v2 torrent of each release (libtorrent).")
@click.option("--valid-days", type=click.IntRange(1, 90), default=7, show_default=True, help="How long its word may be believed: make it again before that.")
@click.pass_obj
def site(session: Session, folder: Path, address: str | None, torrents: bool, valid_days: int) -> None:
    """Make the download site in FOLDER (operator): pages, releases, log and signed metadata, as plain files for any web host.

    Run it again after each release, withdrawal and before its metadata ends; only what changed is written. Serve the folder as it is.

    \b
    coop release site public --url https://models.example.org
    """
    _require_tuf()
    from model_card.site.make import make_site

    if address is not None and not address.startswith(("https://", "http://localhost", "http://127.0.0.1")):
        raise BadInput("the address of a site begins with https://", value=address, allowed="https://HOST/PATH")
    if torrents:
        try:
            import libtorrent  # noqa: F401
        except ImportError as error:
            raise BadInput("torrents need the package libtorrent", next="pip install 'commonweights[release]', or leave --torrents out") from error
    with open_workspace(session.folder) as space, progress(quiet=session.json) as show:
        _root_of_operator(space)
        bundles = {path.parent.name: path.parent for path in sorted((space.root / "releases").glob("*/release.json"))}
        made = make_site(
            space.coop, bundles, folder, space.root / _STATE, witnessed_proof(space), at=now(), valid_s=valid_days * 86_400, address=address,
            torrents=torrents, progress=show,
        )  # fmt: skip
    lines = [f"  {one.name:<24} {one.status.status}" for one in made.releases] or ["  no release is out yet"]
    value = {"site": str(folder), "releases": [one.as_dict() for one in made.releases], "copied": made.copied, "until": made.until}
    session.show(
        value,
        "\n".join(
            [
                f"site {folder}, {made.copied} release file(s) copied, the others were there; pages, log and metadata are new",
                *lines,
                f"its word is good until {made.until}: make it again before",
            ]
        ),
    )


def _root_of_operator(space: Workspace) -> None:
    """Have the operator sign the root where the bylaws name no stewards; where they do, the operator cannot."""
    from model_card.site.metadata import draft_root, sign_root

    state, register = space.root / _STATE, space.coop.register
    if not register.bylaws.stewards and draft_root(state, register, now()) is not None:
        sign_root(state, register, load_private_key(space.coop.paths.operator_key), now())


SITE: tuple[click.Command, ...] = (site, root)
"""Commands of the group `coop release` about the site."""

"""A v2 torrent of a release: the files release.json lists and itself, which never change, with the site as web seed.

Sources: BEP 52 (v2), BEP 19 (web seeds). The per-file roots of BEP 52 are not SHA-256 of the files: `coop verify` checks those. Needs the extra
`release` (libtorrent).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Torrent", "make_torrent"]


@dataclass(frozen=True, slots=True)
class Torrent:
    """A torrent file and the SHA-256 of its info, by which it is found."""

    data: bytes
    infohash: str
    magnet: str


def make_torrent(folder: Path, paths: Collection[str], seed: str | None) -> Torrent:
    """Return the torrent of the given files of a release folder; the infohash depends on their names and bytes alone.

    Args:
        folder: the release folder; its name is the torrent's.
        paths: files in it.
        seed: address of the folder that holds the release folder on the web; None for no web seed.
    """
    import libtorrent

    wanted = {str(folder / path) for path in paths}
    folders = {str(parent) for path in wanted for parent in Path(path).parents}
    files = libtorrent.list_files(str(folder), lambda path: str(path) in wanted or str(path) in folders)
    made = libtorrent.create_torrent(files, 0, libtorrent.create_torrent.v2_only)
    made.set_creation_date(0)
    if seed is not None:
        made.add_url_seed(seed.rstrip("/") + "/")
    libtorrent.set_piece_hashes(made, str(folder.parent))
    data = libtorrent.bencode(made.generate())
    info = libtorrent.torrent_info(data)
    return Torrent(bytes(data), str(info.info_hashes().v2), str(libtorrent.make_magnet_uri(info)))

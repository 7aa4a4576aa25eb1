"""`coop portal`: serve the members' and the public's web pages on a cooperative's folder."""

from __future__ import annotations

import gc
import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from commonweights.cli import Session
from commonweights.commands.contribute import open_store, seal_batches
from commonweights.options import session as pass_session
from commonweights.progress import Progress, progress
from commonweights.workspace import Workspace, find_folder, open_workspace
from governance_hooks.atomic import write_bytes
from governance_hooks.errors import BadInput
from governance_hooks.paths import Paths

if TYPE_CHECKING:
    from portal.service import Service
    from portal.settings import Settings

__all__ = ["open_service", "portal", "serve"]


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8123, show_default=True, type=click.IntRange(1, 65_535), help="Port to listen on.")
@click.option("--origin", help="Where members reach the pages, https://coop.example [default: http://127.0.0.1:PORT].")
@click.option("--signing-origin", help="Where keys sign: another domain, https://sign.coop.example [default: http://localhost:PORT].")
@click.option("--mail-from", default="portal@localhost", show_default=True, help="Sender of the portal's mail.")
@click.option(
    "--smtp-url",
    envvar="COOP_SMTP_URL",
    help="Mail server: smtp://HOST:PORT or smtps://USER:PASSWORD@HOST; better in $COOP_SMTP_URL [default: print mails here].",
)
@pass_session
def portal(session: Session, host: str, port: int, origin: str | None, signing_origin: str | None, mail_from: str, smtp_url: str | None) -> None:
    """Serve the pages on which members contribute, consent and vote, and the public looks.

    Two sites on one port, told apart by their host: members sign in on --origin, and their passkeys belong to the domain of
    --signing-origin, which a page of the first cannot use. The bylaws must name the signing origin (passkey_origins), or passkeys are
    refused. Members without a passkey download each statement, sign it with ssh-keygen, and paste the signature.

    One such process writes a log at a time. Its own tables (addresses, sessions, drafts, mail) are in private/portal.sqlite, or where
    COOP_PORTAL_URL says.
    """
    from portal.mail.sender import sending
    from portal.mail.smtp import Smtp
    from portal.settings import Settings

    smtp = Smtp.of(smtp_url) if smtp_url else None
    settings = Settings(origin or f"http://127.0.0.1:{port}", signing_origin or f"http://localhost:{port}", mail_from)
    with ExitStack() as stack:
        with progress() as show:
            service = stack.enter_context(open_service(session.folder, settings, jobs=0, show=show))
        stack.enter_context(sending(service, smtp))
        click.echo(f"members: {settings.origin}   keys sign at: {settings.signing_origin}   stop with Ctrl-C", err=True)
        named = {one.origin for one in service.view.register.bylaws.passkey_origins}
        if settings.signing_origin not in named:
            click.echo(f"note: the bylaws do not name {settings.signing_origin} (passkey_origins): passkeys are refused until members add it", err=True)
        serve(service, host, port)


@contextmanager
def open_service(folder: Path | None, settings: Settings, *, jobs: int = 1, show: Progress | None = None) -> Iterator[Service]:
    """Open everything a portal works with; raise BadInput if this machine lacks the log's key.

    Args:
        folder: the cooperative's; None looks for it.
        settings: where the portal is reached.
        jobs, show: how the log is read, as `Cooperative.open`'s `jobs` and `progress`.
    """
    from itsdangerous import URLSafeSerializer

    from commonweights.portal_house import FolderHouse
    from governance_hooks.writer import Writer
    from portal.service import Service
    from portal.store.private import PRIVATE_URL, PrivateStore
    from portal.view import View

    root = find_folder(folder)
    if not Paths(root).log_key.is_file():
        raise BadInput("the log's key is not on this machine, so nothing can be appended here", value=str(Paths(root).log_key))
    place = os.environ.get(PRIVATE_URL) or root / "private" / "portal.sqlite"
    (root / "private").mkdir(mode=0o700, exist_ok=True)
    # The log is read once: the writer begins with the register that was folded beside the view's.
    with (
        View.open(root, read_only=True, jobs=jobs, progress=show) as view,
        open_workspace(root, folded=view.twin()) as space,
        open_store(space) as store,
        PrivateStore(place) as private,
        Writer(space.coop, vouched=view.vouch) as writer,
    ):
        seal_batches(Workspace(view), store)
        yield Service(settings, view, writer, FolderHouse(Workspace(view), store), private, URLSafeSerializer(_secret(space), salt="unsubscribe"))


def serve(service: Service, host: str, port: int) -> None:
    """Serve a portal until it is told to stop."""
    import uvicorn

    from portal.app import make_app

    gc.collect()
    gc.freeze()  # what was folded from the log stays: no collection walks it again while somebody waits for a page
    uvicorn.run(
        make_app(service),
        host=host,
        port=port,
        server_header=False,
        proxy_headers=True,  # of a proxy on this machine only, which is uvicorn's own rule
        access_log=False,  # addresses of people who vote are nobody's business
        limit_concurrency=1000,
        timeout_keep_alive=5,
        log_level="warning",
    )


def _secret(space: Workspace) -> bytes:
    """Return the key of links in mails, made at the first time."""
    path = space.root / "private" / "portal.key"
    if not path.is_file():
        write_bytes(path, secrets.token_bytes(32), mode=0o600)
    return path.read_bytes()

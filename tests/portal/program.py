"""A program at the portal: it asks, and hands in what somebody signed."""

from __future__ import annotations

from typing import Any

from starlette.testclient import TestClient

from governance_hooks.sshsig import PrivateKey
from governance_hooks.statement import body, sign
from portal.api.site import PREFIX
from tests.portal.conftest import Portal

NOBODY = "sha256:" + "0" * 64


def client_of(portal: Portal) -> TestClient:
    """A program: no cookies, no headers of a browser."""
    return portal.stranger().client


def get(client: TestClient, path: str) -> Any:
    answer = client.get(PREFIX + path)
    assert answer.status_code == 200, answer.text
    return answer.json()


def ballot(portal: Portal, proposal: str, key: PrivateKey, author: str, choice: str = "for", sequence: int = 1, **changes: Any) -> dict[str, Any]:
    payload = {"proposal": proposal, "choice": choice, "sequence": sequence, "reason": None} | changes
    made = body("coop.ballot/v1", payload, coop=portal.service.view.pin, author=author)
    return {"statement": made, "signatures": [sign(made, key)]}


def handed_in(client: TestClient, document: Any) -> Any:
    return client.post(f"{PREFIX}/statements", json=document)

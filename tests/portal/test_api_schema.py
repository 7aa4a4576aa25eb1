"""The API against its own description: schemathesis makes requests from openapi.json, right and wrong ones, and every answer is as described."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import schemathesis
from schemathesis import engine
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import Status, events
from schemathesis.engine.run import PhaseName
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.portal.conftest import Published
from tests.portal.people import MAIN
from tests.portal.test_public import Library, copied

ASKED = {
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "positive_data_acceptance",
    "unsupported_method",
    "allow_header_conformance",
    "ignored_auth",
}
"""Checks of which each is made at least once: a phase that was skipped would show."""


@dataclass
class Outcome:
    """What a run of schemathesis did and found."""

    made: Counter[str] = field(default_factory=Counter)
    """Checks that passed, by name."""
    operations: set[str] = field(default_factory=set)
    statuses: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


def by_name(app: ASGIApp) -> ASGIApp:
    """Ask an application by its own name: schemathesis asks for testserver."""

    async def asked(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            others = [(name, value) for name, value in scope["headers"] if name != b"host"]
            scope = dict(scope) | {"headers": [*others, (b"host", MAIN.removeprefix("https://").encode())]}
        await app(scope, receive, send)

    return asked


def written(value: Any) -> Any:
    """A body as every writer of canonical JSON writes it: 3, never 3.0 (RFC 8785). To a schema both are whole numbers, and a statement is signed in one form."""
    if isinstance(value, dict):
        return {name: written(one) for name, one in value.items()}
    if isinstance(value, list):
        return [written(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def examined(made: Library, examples: int) -> Outcome:
    """Have schemathesis ask everything, with every check and in every phase."""
    settings = {"seed": 1, "generation": {"max-examples": examples, "database": "none"}}
    schema = schemathesis.openapi.from_asgi("/api/v1/openapi.json", by_name(made.portal.app), config=SchemathesisConfig.from_dict(settings))
    with made.portal.service.view.reading() as register:
        here = {
            "release": made.release.digest,
            "proposal": next(iter(register.proposals)),
            "statement": register.coop,
            "dataset": next(iter(register.builds)),
            "version": 1,
        }
    for operations in schema.raw_schema["paths"].values():
        for parameter in operations.get("get", {}).get("parameters", []):
            if parameter["name"] in here:  # so that more than 404 is met
                parameter["example"] = here[parameter["name"]]

    # No generator holds a member's key, so nothing is appended here (test_api appends); but what is well-formed is refused by rules (409), not for its form (422).
    @schema.hook
    def map_body(_: object, body: Any) -> Any:
        return written(body)

    found = Outcome()
    for event in engine.from_schema(schema).execute():
        match event:
            case events.ScenarioFinished():
                if event.phase != PhaseName.STATEFUL_TESTING:
                    found.operations.add(event.recorder.label)
                for interaction in event.recorder.interactions.values():
                    if interaction.response is not None:
                        found.statuses[interaction.response.status_code] += 1
                for nodes in event.recorder.checks.values():
                    for node in nodes:
                        if node.status == Status.SUCCESS:
                            found.made[node.name] += 1
                        elif node.failure_info is not None:
                            found.wrong.append(f"{event.recorder.label} {node.name}: {node.failure_info.failure}\n{node.failure_info.code_sample}")
            case events.NonFatalError():
                found.wrong.append(f"{event.label}: {event.info}")
            case events.FatalError():
                raise event.exception
    return found


@pytest.fixture(scope="module")
def released(published: Published, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    with copied(published, tmp_path_factory.mktemp("api") / "village") as made:
        yield made


def test_every_answer_is_as_described(released: Library) -> None:
    found = examined(released, 2)
    assert not found.wrong, "\n".join(found.wrong[:20])
    assert len(found.operations) == 23
    assert set(found.made) >= ASKED, ASKED - set(found.made)
    assert {200, 404, 405, 422} <= set(found.statuses)


@pytest.mark.slow
def test_every_answer_is_as_described_whatever_is_asked(released: Library) -> None:
    found = examined(released, 100)
    assert not found.wrong, "\n".join(found.wrong[:20])

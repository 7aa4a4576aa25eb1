"""The page about the API, for people who write programs: what there is to ask, made from the description itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Response

from portal import markdown
from portal.api.site import PREFIX
from portal.public import public
from portal.visit import Here

__all__ = ["Operation", "operations", "router"]

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Operation:
    """Something a program can ask."""

    name: str
    method: str
    path: str
    told: Any
    parameters: list[tuple[str, Any]]
    statuses: str


def operations(document: dict[str, Any]) -> list[tuple[str, str, list[Operation]]]:
    """Return what an OpenAPI description says, as (group, what it is about, operations)."""
    found: dict[str, list[Operation]] = {tag["name"]: [] for tag in document["tags"]}
    for path, methods in document["paths"].items():
        for method, one in methods.items():
            parameters = [(parameter["name"], markdown.shown(parameter["description"])) for parameter in one.get("parameters", [])]
            made = Operation(one["operationId"], method.upper(), PREFIX + path, markdown.shown(one["description"]), parameters, ", ".join(one["responses"]))
            found[one["tags"][0]].append(made)
    return [(tag["name"], tag["description"], found[tag["name"]]) for tag in document["tags"]]


@router.get("/api")
def api(visit: Here) -> Response:
    """Show what programs can ask, with commands to try."""
    state = visit.request.app.state
    document = state.describe()
    if not hasattr(state, "operations"):
        state.operations = operations(document), markdown.shown(document["info"]["description"])
    groups, about = state.operations
    return public(visit, visit.page("api.html", groups=groups, about=about, prefix=PREFIX))

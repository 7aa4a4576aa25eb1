"""The API, put together: an application of its own below /api/v1, in English, with problems as JSON and reading open to every origin."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import Field
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from governance_hooks.errors import BadInput, CoopError
from portal import i18n
from portal.api import bylaws, datasets, log, members, proposals, releases, statements
from portal.api.asking import Program, Shape, answered, kept
from portal.problem import Problem, problem, problem_of
from portal.service import Service

__all__ = ["PREFIX", "ForPrograms", "make_api"]

PREFIX: Final = "/api/v1"

_ABOUT: Final = """\
What everybody may see of this cooperative, as JSON, and one way to hand something in.

**Nothing here needs an account.** Reading is open to every program and to pages of every site. A statement that is handed in carries its own
authority: its signatures.

**Nothing here has to be believed.** Whatever gives or takes a right is a signed entry of one log. Every answer follows from it, and `/log` has
it whole, with the proofs: of an entry (`/log/proofs/inclusion`), of growth (`/log/proofs/consistency`), or the tiles of
[C2SP tlog-tiles](https://c2sp.org/tlog-tiles) under this prefix. `coop audit` checks a copy of it offline.

**Lists** have at most 100 items a page; go on with `start` = `next`. What is listed is only ever added to, so no item is missed or doubled.
**Answers** carry an `ETag` and may be kept for a minute; ask again with `If-None-Match`. **Refusals** are problem details (RFC 9457): `detail`
says what is wrong, `value` what came, `allowed` what would have been accepted, `next` what to do.

Members are pseudonyms. No names, addresses, texts in private keeping or reasons of ballots are in any answer. What a member proposes is public, with the reasons for it.
"""
_TAGS: Final = [
    {"name": "log", "description": "Entries, checkpoint and proofs: all else follows from these."},
    {"name": "proposals", "description": "Votes, their results, who voted how, and the bylaws by which it is decided."},
    {"name": "releases", "description": "Models that members released, where each stands, and their files."},
    {"name": "datasets", "description": "What models were trained on: by language, with the manifest members voted on."},
    {"name": "members", "description": "The register of pseudonyms, and what members took back."},
    {"name": "statements", "description": "Handing in what was signed elsewhere."},
]


class Cooperative(Shape):
    """Who this is."""

    name: str
    coop: Annotated[log.Digest, Field(description="Digest of the founding statement: the `--pin` of `coop verify`. Compare it with one you got elsewhere.")]
    log_key: Annotated[str, Field(description="The key that signs checkpoints, as a C2SP verifier key.")]
    size: Annotated[int, Field(ge=0, description="Entries in the log now.")]
    members: Annotated[int, Field(ge=0, description="Members in good standing.")]
    signing_origin: Annotated[str, Field(description="Where keys sign in the browser.")]


def make_api(service: Service) -> FastAPI:
    """Return the application that answers below `PREFIX`; serve it through `ForPrograms`."""
    api = FastAPI(
        title="Commonweights portal",
        version="1",
        summary="A cooperative's log, votes, models and datasets",
        description=_ABOUT,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        openapi_tags=_TAGS,
        servers=[{"url": PREFIX}],
        root_path_in_servers=False,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    api.state.service = service

    @api.get("/", response_model=Cooperative, responses=answered(), tags=["log"])
    def cooperative(visit: Program) -> Response:
        """Return who this is: the name, and the digest everything is checked against."""
        with visit.register() as register:
            found = Cooperative(
                name=register.name,
                coop=register.coop,
                log_key=register.log_key.text,
                size=register.size,
                members=len(register.active()),
                signing_origin=service.settings.signing_origin,
            )
        return kept(visit, found)

    for part in (log, proposals, bylaws, releases, datasets, members, statements):
        api.include_router(part.router)
    api.exception_handler(CoopError)(_explain)
    api.exception_handler(RequestValidationError)(_invalid)
    api.exception_handler(HTTPException)(_http)
    made = api.openapi
    api.openapi = lambda: _with_shapes(made())  # type: ignore[method-assign]
    return api


def _with_shapes(document: dict[str, Any]) -> dict[str, Any]:
    """Return the description with the shape of problems, which no operation returns and every one may answer, and of what stands in a payload."""
    document["components"]["schemas"] |= {"Problem": Problem.model_json_schema(), "Value": statements.VALUE}
    return document


class ForPrograms:
    """Answers in English whatever a browser asks for, and lets pages of every origin read; to hand something in, none but ours."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        i18n.use("en")
        bare = scope["method"] == "HEAD"  # what GET would say, without its body (RFC 9110, 9.3.2)
        if bare:
            scope = dict(scope) | {"method": "GET"}

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.body" and bare:
                message = message | {"body": b""}  # type: ignore[operator]
            if message["type"] == "http.response.start" and scope["method"] == "GET":
                headers = MutableHeaders(scope=message)
                headers["access-control-allow-origin"] = "*"
                headers["access-control-expose-headers"] = "etag, retry-after"
                headers["cross-origin-resource-policy"] = "cross-origin"
            await send(message)

        await self._app(scope, receive, answer)


async def _explain(request: Request, error: Exception) -> Response:
    assert isinstance(error, CoopError)
    service: Service = request.app.state.service
    for name in ("what", "value", "allowed", "next"):
        said = getattr(error, name)
        setattr(error, name, None if said is None else service.shown(str(said)))
    return problem_of(error)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if request.method == "POST" and kind != "application/json":
        return problem(415, "this kind of body is not taken", value=kind or "none", allowed="application/json")
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return problem(400, "the body is no JSON", value=str(first["ctx"].get("error", ""))[:100])
    where = ".".join(str(part) for part in first["loc"])
    return await _explain(request, BadInput(f"{where}: {first['msg']}", value=_shortly(first.get("input"))))


def _shortly(value: object) -> str | None:
    return None if value is None else str(value)[:100] if isinstance(value, (str, int, float)) else type(value).__name__


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    words = {
        404: "there is nothing here",
        405: "this cannot be done here",
        429: "too many questions from one address; wait a minute",
    }
    known = error.detail if error.status_code == 404 and error.detail != "Not Found" else words.get(error.status_code, "this cannot be done")
    answer = problem(error.status_code, known)
    answer.headers.update(dict(error.headers or {}) | ({"retry-after": "60"} if error.status_code == 429 else {}))
    return answer

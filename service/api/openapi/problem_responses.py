"""The problems that a route may answer with, by status, with their codes."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Final

from service.api.access.rate_limits import RateLimited
from service.api.access.scopes import KeyRefused, MissingScope, find_scope
from service.api.openapi.operations import OF_USER, Credential, Operation
from service.api.openapi.schemas import refer_to
from service.api.origins.policy import ForeignOrigin
from service.api.problem_handlers import ProblemDetails
from service.problems import (
    HeadTooLarge,
    Invalid,
    MalformedRequest,
    NotFound,
    Problem,
    RequestTimeout,
    StorageMisconfigured,
    StorageUnreachable,
    TooLarge,
    TooManyConnections,
    Unauthenticated,
    Unavailable,
    UnknownHost,
    UnsupportedType,
)

_ALWAYS: Final = (
    *(UnknownHost, MalformedRequest, RequestTimeout, HeadTooLarge, TooLarge, Problem),
    *(Unavailable, TooManyConnections, StorageUnreachable, StorageMisconfigured),
)
"""Of every route: the server, the middleware and the handlers of errors raise them."""
REFERENCE: Final = "#/components/responses/"
_WITH_JSON: Final = (Invalid, UnsupportedType)
_SIGNED_IN: Final = OF_USER | {Credential.RUN}


def list_problems(operation: Operation, method: str, *, has_path_parameters: bool) -> list[type[Problem]]:
    """Return every problem that a route may answer with, its own first."""
    problems = list(operation.problems)
    if operation.credential in _SIGNED_IN:
        problems.append(Unauthenticated)
    if operation.credential in OF_USER:
        problems.append(KeyRefused if find_scope(operation, method) is None else MissingScope)
    if operation.credential is Credential.USER:
        problems.append(RateLimited)
    if operation.credential is Credential.USER and method != "get":
        problems.append(ForeignOrigin)
    if operation.body is not None and operation.body.model is not None:
        problems += _WITH_JSON
    if operation.query is not None:
        problems.append(Invalid)
    if has_path_parameters:
        problems.append(NotFound)
    return list(dict.fromkeys((*problems, *_ALWAYS)))


class ProblemResponses:
    """The responses of problems, each once: `components` holds them by the codes that they list."""

    def __init__(self) -> None:
        self.components: dict[str, dict[str, Any]] = {}

    def add(self, problems: Iterable[type[Problem]]) -> dict[str, dict[str, Any]]:
        """Return, for each status, a reference to the response that lists the codes of its problems."""
        by_status: dict[int, list[type[Problem]]] = defaultdict(list)
        for problem in problems:
            by_status[problem.status].append(problem)
        return {str(status): self._refer(by_status[status]) for status in sorted(by_status)}

    def _refer(self, problems: list[type[Problem]]) -> dict[str, Any]:
        codes = sorted({problem.code for problem in problems})
        name = f"{'Or'.join(code.title().replace('_', '') for code in codes)}{problems[0].status}"
        self.components.setdefault(name, _build_response(problems))
        return {"$ref": REFERENCE + name}

    def content_of(self, response: Mapping[str, Any]) -> dict[str, Any]:
        """Return the content of a response that `add` returned."""
        content: dict[str, Any] = self.components[response["$ref"].removeprefix(REFERENCE)]["content"]
        return content


def _build_response(problems: list[type[Problem]]) -> dict[str, Any]:
    """Return a response that lists the codes; a problem without a code of its own has those of failed exports."""
    titles = {problem.code: problem.title for problem in problems if not _takes_any_code(problem)}
    lines = [f"- `{code}`: {title}" for code, title in titles.items()]
    lines += [
        f"- other codes, as of a failed export: {problem.title}"
        for problem in problems
        if _takes_any_code(problem)
    ]
    code = {"type": "string"} if len(lines) > len(titles) else {"type": "string", "enum": list(titles)}
    schema = {**refer_to(ProblemDetails), "properties": {"code": code}}
    return {
        "description": "\n".join(lines),
        "content": {"application/problem+json": {"schema": schema, "example": _build_example(problems[0])}},
    }


def _takes_any_code(problem: type[Problem]) -> bool:
    return problem is not Problem and problem.code == Problem.code


def _build_example(problem: type[Problem]) -> ProblemDetails:
    code = "no_video" if _takes_any_code(problem) else problem.code
    return {
        "type": f"urn:framehook:problem:{code}",
        "title": problem.title,
        "status": problem.status,
        "code": code,
        "detail": problem.title,
        "instance": "/api/…",
    }

"""Declare what a route takes and answers, beside its handler: the source of the OpenAPI document."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, TypeVar, get_args

import pydantic

from service.keys.scopes import Scope
from service.problems import Problem

Handler = TypeVar("Handler", bound=Callable[..., Any])


class Tag(StrEnum):
    """The groups of operations, in the order of the document."""

    EXPORTS = "Exports"
    BATCHES = "Batches"
    STREAMS = "Streams"
    UPLOADS = "Uploads"
    WEBHOOKS = "Webhooks"
    DELIVERIES = "Deliveries"
    KEYS = "Keys"
    RUNS = "Runs"
    OPERATION = "Operation"
    DOCUMENTS = "Documents"


class Credential(StrEnum):
    """What a request carries: the token or key of a user, that or a stream ticket, a signature, a signed URL, nothing.

    METRICS is the token of the metrics, which need none on a port of their own.
    """

    USER = "user"
    STREAM = "stream"
    RUN = "run"
    URL = "url"
    METRICS = "metrics"
    ANYONE = "anyone"


OF_USER: Final = frozenset({Credential.USER, Credential.STREAM})
"""What the token or key of a user is good for."""


@dataclass(frozen=True)
class Answer:
    """A response: the type of its JSON, or the media type of its bytes, or both.

    `headers` describes its headers. `events` are the events of a stream by name, `messages` what a WebSocket sends,
    each with the type of its data; `close_codes` says why a WebSocket is closed.
    """

    description: str
    model: Any = None
    media_type: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    events: Mapping[str, Any] = field(default_factory=dict)
    messages: Mapping[str, Any] = field(default_factory=dict)
    close_codes: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RequestHeader:
    """A header that a route reads."""

    name: str
    description: str
    pattern: str | None = None
    max_length: int | None = None


@dataclass(frozen=True)
class Body:
    """The body of a request: the type of its JSON, or bytes of any type."""

    model: Any = None
    required: bool = True


@dataclass(frozen=True)
class Operation:
    """What a route takes and answers (see `declare_operation`)."""

    id: str
    tag: Tag
    answers: Mapping[int, Answer]
    credential: Credential
    body: Body | None
    query: type[pydantic.BaseModel] | None
    headers: tuple[RequestHeader, ...]
    problems: tuple[type[Problem], ...]
    scope: Scope | None


_OPERATIONS: dict[object, tuple[Operation, str]] = {}


def declare_operation(
    operation_id: str,
    tag: Tag,
    *,
    answers: Mapping[int, Answer | Any],
    credential: Credential = Credential.USER,
    body: Body | None = None,
    query: type[pydantic.BaseModel] | None = None,
    headers: tuple[RequestHeader, ...] = (),
    problems: tuple[type[Problem], ...] = (),
    scope: Scope | None = None,
) -> Callable[[Handler], Handler]:
    """Declare what the handler below takes and answers; its docstring says what it does.

    An answer that is a type is rendered as JSON and described by the docstring of the type. `problems` names those of
    this route alone: the document adds those of its credential, its body and its path. `scope` is what an API key
    needs where tag and method do not say it (`service.api.access.scopes`).
    """
    described = {status: to_answer(answer) for status, answer in answers.items()}
    operation = Operation(operation_id, tag, described, credential, body, query, headers, problems, scope)

    def declare(handler: Handler) -> Handler:
        _OPERATIONS[handler] = operation, handler.__doc__ or ""
        return handler

    return declare


def to_answer(answer: Answer | Any) -> Answer:
    """Return the answer of a type: its JSON, and the first line of its docstring."""
    if isinstance(answer, Answer):
        return answer
    docstrings = [member.__doc__ or "" for member in get_args(answer) or (answer,)]
    return Answer(" Or: ".join(docstring.partition("\n")[0] for docstring in docstrings), answer)


def find_operation(handler: object) -> tuple[Operation, str] | None:
    """Return the operation of a handler or of its class, and its docstring; None if none is declared."""
    return _OPERATIONS.get(handler) or _OPERATIONS.get(type(handler))

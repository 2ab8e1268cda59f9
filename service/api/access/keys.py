"""`/api/keys`: the API keys of the user. A key can't manage keys."""

from typing import Annotated, TypedDict

import pydantic
from starlette.requests import Request
from starlette.responses import Response

from service.api.openapi.operations import Answer, Body, Tag, declare_operation
from service.api.request_ids import Moment, Name
from service.api.requests import StrictModel, json_response, path_id, read_json
from service.api.state import State
from service.jobs.serializers import format_timestamp
from service.jobs.transitions import lock_user
from service.keys import store
from service.keys.models import ApiKey
from service.keys.scopes import Scope
from service.problems import Conflict, FieldError, Invalid, NotFound

Scopes = Annotated[list[Scope], pydantic.Field(min_length=1, max_length=len(Scope))]


class CreateKey(StrictModel):
    """The body of `POST /api/keys`: a name, what the key may do, and when it expires; null is never."""

    name: Annotated[Name, pydantic.Field(min_length=1)]
    scopes: Scopes
    expires_at: Moment | None = None


class Key(TypedDict):
    """An API key. `hint` is how it begins; `last_used_at` is right to a minute."""

    id: str
    name: str
    hint: str
    scopes: list[str]
    created_at: str
    expires_at: str | None
    last_used_at: str | None
    revoked_at: str | None


class KeyWithSecret(Key):
    """An API key with the text that programs send; it is shown once."""

    key: str


class KeyList(TypedDict):
    """API keys, oldest first; those that have ended stay for `TIMELINE_DAYS`."""

    keys: list[Key]


class KeyNotFound(NotFound):
    title = "The API key does not exist."


class NoAuthentication(Conflict):
    title = "The service has one local user and asks for no token, so it needs no API keys."
    code = "no_authentication"


@declare_operation(
    "create_key",
    Tag.KEYS,
    body=Body(CreateKey),
    answers={201: Answer("The key.", KeyWithSecret)},
    problems=(store.TooManyKeys, NoAuthentication),
)
async def create(request: Request[State]) -> Response:
    """Create an API key; only this response shows it."""
    user_id = await request.state["authenticator"].user(request)
    body, _ = await read_json(request, CreateKey)
    if not request.state["authenticator"].asks_for_tokens:
        raise NoAuthentication
    now = request.state["clock"].wall()
    expires_at = None if body.expires_at is None else body.expires_at.timestamp()
    if expires_at is not None and expires_at <= now:
        reason = "must be in the future"
        raise Invalid(f"expires_at: {reason}", errors=[FieldError(loc=["expires_at"], msg=reason)])
    async with request.state["database"].transaction() as session:
        await lock_user(session, user_id)
        row, key = await store.create(
            session, user_id, name=body.name, scopes=body.scopes, expires_at=expires_at, now=now
        )
    return json_response(KeyWithSecret(**to_dict(row), key=key), 201)


@declare_operation("list_keys", Tag.KEYS, answers={200: KeyList})
async def list_(request: Request[State]) -> Response:
    """List the user's API keys, oldest first."""
    user_id = await request.state["authenticator"].user(request)
    async with request.state["database"].reading() as session:
        rows = await store.list_by_user(session, user_id)
    return json_response(KeyList(keys=[to_dict(row) for row in rows]))


@declare_operation(
    "revoke_key", Tag.KEYS, answers={204: Answer("The key is revoked.")}, problems=(KeyNotFound,)
)
async def revoke(request: Request[State]) -> Response:
    """Revoke an API key: within seconds no replica takes it any more, and its streams end."""
    user_id = await request.state["authenticator"].user(request)
    key_id = path_id(request, "key_id", KeyNotFound.title)
    now = request.state["clock"].wall()
    async with request.state["database"].transaction() as session:
        if await store.revoke(session, key_id, user_id, now=now) is None:
            rows = await store.list_by_user(session, user_id)
            if all(row.key_id != key_id for row in rows):
                raise KeyNotFound
    request.state["keys"].revoke(key_id)
    return Response(status_code=204)


def to_dict(row: ApiKey) -> Key:
    """Return a key as clients see it."""
    return {
        "id": row.key_id,
        "name": row.name,
        "hint": row.hint,
        "scopes": row.scopes.split(","),
        "created_at": format_timestamp(row.created_at),
        "expires_at": format_timestamp(row.expires_at),
        "last_used_at": format_timestamp(row.last_used_at),
        "revoked_at": format_timestamp(row.revoked_at),
    }

"""`POST /api/webhooks/portal-link`: links to the portal."""

from typing import Annotated, Final, TypedDict

import pydantic
from starlette.requests import Request
from starlette.responses import Response

from gpu.config import WholeNumber
from service.api.access.scopes import require_scope
from service.api.openapi.operations import Body, Tag, declare_operation
from service.api.requests import StrictModel, json_response, read_optional_json
from service.api.state import State
from service.audit.actions import Action
from service.audit.log import record
from service.jobs.ids import new_id
from service.jobs.serializers import format_timestamp
from service.keys.scopes import Scope

MIN_LINK_SECONDS: Final = 60
MAX_LINK_SECONDS: Final = 24 * 3_600
LINK_PREFIX: Final = "link_"


class LinkBody(StrictModel):
    """The body of `POST /api/webhooks/portal-link`; `expires_in` is in seconds."""

    expires_in: Annotated[int, pydantic.Field(ge=MIN_LINK_SECONDS, le=MAX_LINK_SECONDS), WholeNumber] = 3_600


class PortalLink(TypedDict):
    """A link to the portal, with which the user's webhooks can be seen and changed until `expires_at`."""

    url: str
    expires_at: str


@declare_operation(
    "create_portal_link", Tag.WEBHOOKS, body=Body(LinkBody, required=False), answers={201: PortalLink}
)
async def create_link(request: Request[State]) -> Response:
    """Create a link to a page on which the user's webhooks are seen and managed.

    Its token is good for webhooks and nothing else, also after the caller's token has expired. It is in the fragment,
    so no log of a server or proxy has it. A key needs `webhooks:read`, too: the page shows what it changes.
    """
    authenticator = request.state["authenticator"]
    access = await authenticator.access(request)
    if access.key is not None:
        require_scope(access.key.scopes, Scope.WEBHOOKS_READ)
    body = await read_optional_json(request, LinkBody)
    now = request.state["clock"].wall()
    link_id = LINK_PREFIX + new_id(now)
    token, expires_at = authenticator.create_portal_token(access, link_id, seconds=body.expires_in, now=now)
    async with request.state["database"].transaction() as session:
        await record(session, Action.PORTAL_LINK_CREATED, access.user_id, [link_id], now=now)
    url = f"{request.state['webhook_serializer'].origin}/portal#token={token}"
    return json_response(PortalLink(url=url, expires_at=format_timestamp(expires_at)), 201)

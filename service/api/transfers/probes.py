"""What is in an uploaded file: its tracks, so that people can choose among them."""

from starlette.requests import Request
from starlette.responses import Response

from gpu.spec import LocalFile, RemoteObject
from infra.storage import InvalidKey
from service.api.requests import json_response
from service.api.state import State
from service.exports.checks import UPLOADS_PREFIX
from service.problems import NotFound

URL_SECONDS = 300


async def probe(request: Request[State]) -> Response:
    """Look at one of the caller's uploads."""
    user_id = await request.state["authenticator"].user(request)
    key = str(request.path_params["key"])
    storage = request.state["storage"]
    try:
        stored = await storage.find(user_id, key) if key.startswith(UPLOADS_PREFIX) else None
    except InvalidKey:
        stored = None
    if stored is None:
        raise NotFound("The upload does not exist.")
    path = storage.local_path(user_id, key)
    place: LocalFile | RemoteObject
    if path is not None:
        place = LocalFile(path=str(path))
    else:
        place = RemoteObject(url=(await storage.sign_read_url(user_id, key, expires_seconds=URL_SECONDS)).url)
    found = await request.state["source_prober"].probe(user_id, place)
    return json_response({"key": key, "size": stored.size} | found)

"""Inject faults into the emulator or a single call, over HTTP or from Python."""

import hmac
from collections.abc import Callable

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from infra.modal_local.calls import Calls, OpenCall
from infra.modal_local.faults import Faults
from infra.modal_local.scheduler import Scheduler
from infra.modal_local.state import Token


class FaultApi:
    """The faults of one control plane; read them from `faults`, change them with `set`."""

    def __init__(self, faults: Faults, calls: Calls, scheduler: Scheduler, token: Token) -> None:
        self.faults = faults
        self._calls = calls
        self._scheduler = scheduler
        self._token = token
        self._actions: dict[str, Callable[[str], None]] = {
            "crash": self.crash,
            "preempt": self.preempt,
            "lose": self.lose,
            "expire": self.expire,
        }
        self.routes = [
            Route("/faults", self._get_faults, methods=["GET"]),
            Route("/faults", self._put_faults, methods=["PUT"]),
            Route("/calls/{call_id}/{action}", self._apply_action, methods=["POST"]),
        ]

    def set(self, faults: Faults) -> None:
        """Replace all faults, and schedule the calls that former ones held back."""
        for name in Faults.__struct_fields__:
            setattr(self.faults, name, getattr(faults, name))
        self._scheduler.wake()

    def crash(self, call_id: str) -> None:
        """Kill the containers that run a call, which is then repeated."""
        for container in self._scheduler.find_containers(call_id):
            container.crash()

    def preempt(self, call_id: str) -> None:
        """Repeat a call while its first run continues unreachable."""
        self._scheduler.preempt(self._find_open(call_id))

    def lose(self, call_id: str) -> None:
        """Lose the output of a call, which then stays pending forever."""
        self._find_open(call_id).lost = True

    def expire(self, call_id: str) -> None:
        """Expire the output of an ended call."""
        self._calls.expire(call_id)

    def _find_open(self, call_id: str) -> OpenCall:
        open_call = self._calls.find_open(call_id)
        if open_call is None:
            raise LookupError(f"call {call_id} is not open")
        return open_call

    async def _get_faults(self, request: Request) -> Response:
        self._authorize(request)
        return Response(msgspec.json.encode(self.faults), media_type="application/json")

    async def _put_faults(self, request: Request) -> Response:
        self._authorize(request)
        try:
            self.set(msgspec.json.decode(await request.body(), type=Faults))
        except msgspec.DecodeError as error:
            raise HTTPException(422, str(error)) from None
        return Response(msgspec.json.encode(self.faults), media_type="application/json")

    async def _apply_action(self, request: Request) -> Response:
        self._authorize(request)
        action = self._actions.get(request.path_params["action"])
        if action is None:
            raise HTTPException(404)
        try:
            action(request.path_params["call_id"])
        except LookupError as error:
            raise HTTPException(404, str(error)) from None
        return Response(status_code=204)

    def _authorize(self, request: Request) -> None:
        # Any web page can post to a loopback port, but only clients of this control plane have the secret.
        authorization = request.headers.get("authorization", "")
        if not hmac.compare_digest(authorization.encode(), f"Bearer {self._token.secret}".encode()):
            raise HTTPException(401)

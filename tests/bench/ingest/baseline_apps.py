"""Baselines of the callback route: a bare ASGI application, and the usual code."""

import json
import os
import time
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlmodel import Field, SQLModel
from standardwebhooks import Webhook
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

_ANSWER = b'{"sequence":1}'
_START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/json"), (b"content-length", b"14")],
}


class Ceiling:
    """Reads the body and answers 200: what uvicorn itself can do."""

    def __init__(self) -> None:
        self.state = SimpleNamespace(close_streams=lambda: None)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        while (await receive()).get("more_body"):
            pass
        await send(_START)
        await send({"type": "http.response.body", "body": _ANSWER})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        for step in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{step}.complete"})


class UsualJob(SQLModel, table=True):
    """A job as a tutorial would have it."""

    __tablename__ = "usual_jobs"

    job_id: str = Field(primary_key=True)
    status: str = "processing"
    phase: str = "processing"
    progress: float = 0.0
    message: str = ""
    step: int = 0
    sequence: int = 0
    updated_at: float = 0.0


async def _usual_callback(request: Request[Any]) -> JSONResponse:
    body = await request.body()
    Webhook(os.environ["BENCH_KEY"]).verify(body, dict(request.headers))
    report = json.loads(body)["data"]
    async with AsyncSession(request.app.state.engine, expire_on_commit=False) as session:
        job = await session.get(UsualJob, request.path_params["job_id"])
        if job is None:
            job = UsualJob(job_id=request.path_params["job_id"])
            session.add(job)
        if report["step"] > job.step:
            job.step, job.progress, job.phase = report["step"], report["progress"], report["phase"]
            job.message, job.updated_at = report["message"], time.time()
            job.sequence += 1
        await session.commit()
        return JSONResponse({"sequence": job.sequence, "at": datetime.now(UTC).isoformat()})


def usual() -> Starlette:
    """Create an application with a route, a session, an object and a commit for each request."""
    app = Starlette(routes=[Route("/api/callbacks/{job_id}", _usual_callback, methods=["POST"])])
    # One connection: SQLite refuses at once to let two sessions that have both read go on to write.
    app.state.engine = create_async_engine(
        os.environ["BENCH_DATABASE"], pool_size=1, max_overflow=0, pool_timeout=120
    )
    return app

"""Do events arrive at once? A stream is opened through PUBLIC_URL, as a page would."""

import asyncio
import time

import httpx

from service.settings import Settings
from service.startup.findings import Finding, fail, ok, warn

FIRST_EVENT_SECONDS = 8.0


async def check_streams(
    settings: Settings, token: str | None, *, seconds: float = FIRST_EVENT_SECONDS
) -> Finding:
    """Check that the first event of a stream, which is sent at once, arrives while the stream stays open."""
    headers = {"accept": "text/event-stream"} | ({"authorization": f"Bearer {token}"} if token else {})
    started = time.perf_counter()
    try:
        async with (
            httpx.AsyncClient(timeout=seconds, trust_env=False, verify=httpx.create_ssl_context()) as http,
            asyncio.timeout(seconds),
            http.stream("GET", f"{settings.origin}/api/exports/events", headers=headers) as response,
        ):
            if response.status_code != httpx.codes.OK:
                return _describe_refusal(settings, response)
            async for chunk in response.aiter_bytes():
                if chunk:
                    waited = time.perf_counter() - started
                    return ok("streams", f"events arrive at once through {settings.origin} ({waited:.2f} s)")
            return fail("streams", f"{settings.origin} ends streams without an event; check the proxy")
    except (TimeoutError, httpx.ReadTimeout):
        return fail(
            "streams",
            f"{settings.origin} holds events back for {seconds:.0f} s; turn the proxy's buffering and compression off "
            "for text/event-stream",
        )
    except (httpx.HTTPError, OSError) as error:
        reason = str(error) or type(error).__name__
        advice = "start the service, check the address"
        if "CERTIFICATE_VERIFY_FAILED" in reason:
            advice = "set SSL_CERT_FILE to the certificate of your authority, or renew the one of the proxy"
        return fail(
            "streams", f"PUBLIC_URL: {settings.origin} can't be reached from here ({reason}); {advice}"
        )


def _describe_refusal(settings: Settings, response: httpx.Response) -> Finding:
    status = response.status_code
    if response.has_redirect_location:
        target = response.url.join(response.headers["location"]).copy_with(raw_path=b"/")
        address = str(target).rstrip("/")
        return fail(
            "streams", f"PUBLIC_URL: {settings.origin} redirects to {address}; set PUBLIC_URL to that address"
        )
    if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN) and not settings.auth_jwt_secret:
        return warn("streams", "not tried: set FRAMEHOOK_TOKEN to a token that the service accepts")
    return fail("streams", f"{settings.origin} answers a stream with status {status}; check proxy and path")

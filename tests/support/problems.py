"""What every error response has to be."""

from typing import Any

import httpx


def assert_problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """Assert that a response is an RFC 9457 problem without internals; return its body."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert (
        {"type", "title", "status", "code", "detail", "instance"}
        <= set(body)
        <= {*("type", "title", "status", "code", "detail", "instance", "errors")}
    )
    assert body["status"] == status
    assert body["type"] == f"urn:framehook:problem:{body['code']}"
    assert body["instance"] == answer.request.url.path
    for error in body.get("errors", []):
        assert set(error) == {"loc", "msg"}
    assert "/var" not in answer.text
    assert "Traceback" not in answer.text
    return body

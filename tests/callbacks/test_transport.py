"""Callbacks over TLS go only to a service whose certificate is trusted."""

import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from callbacks.transport import CallbackTransport, Outcome
from tests.callbacks.scripted_server import KEY
from tests.infra.egress.certificates import Authority


@pytest.mark.parametrize("scheme", ["https", "HTTPS"])
def test_a_service_whose_certificate_is_not_trusted_gets_no_callback(scheme: str, tmp_path: Path) -> None:
    requests: list[str] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            requests.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the base
            pass

    with HTTPServer(("127.0.0.1", 0), Receiver) as server:
        server.handle_error = lambda *_: None  # type: ignore[method-assign]  # the client ends the handshake
        context = Authority(tmp_path).server_context("127.0.0.1")
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.005,))
        thread.start()
        url = f"{scheme}://127.0.0.1:{server.server_port}/api/callbacks/job-1"
        with CallbackTransport(url, KEY, now=time.time) as transport:
            response = transport.post("msg_1", b"{}")
        server.shutdown()
        thread.join()
    assert (response.outcome, response.reason, requests) == (Outcome.UNAVAILABLE, "ConnectError", [])

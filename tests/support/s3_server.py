"""An S3 server for tests: moto behind a proxy that verifies requests as S3 and R2 do, and injects faults.

moto stores objects but accepts any signature. The proxy recomputes each signature from the received request, which
shows whether size and type are really signed. Like R2 it rejects checksums in Amazon's own headers and in trailers.
Pages of other origins are answered by the CORS rules of the bucket.
"""

import base64
import hashlib
import http.client
import re
import socket
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from moto.server import ThreadedMotoServer

from infra.storage.client import S3Config
from tests.support.browser.bucket_cors import CorsRule, answer_preflight, read_rules, response_headers
from tests.support.sigv4 import SECRET_KEY, find_signature_error

ACCESS_KEY = "AKIATESTTESTTESTTEST"
CHUNK_BYTES = 64 * 1024
_DIGEST_QUERIES = ("cors", "lifecycle")
_UNSUPPORTED_HEADERS = ("x-amz-sdk-checksum", "x-amz-checksum", "x-amz-trailer")
_HOP_HEADERS = {"connection", "keep-alive", "transfer-encoding", "host", "expect"}


@dataclass
class S3Faults:
    """The faults to inject; the counts decrease with each injection."""

    busy_responses: int = 0
    busy_part_responses: int = 0
    throttled_responses: int = 0
    expired_writes: int = 0  # rejected as if the URL had expired
    lost_writes: int = 0  # confirmed and not stored
    cut_responses: int = 0
    cut_requests: int = 0
    cut_after_bytes: int = 0
    supports_ranges: bool = True
    clock_ahead_seconds: float = 0.0
    forbidden: bool = False


class S3Server(ThreadingHTTPServer):
    """The proxy that tests connect to."""

    daemon_threads = True

    def __init__(self, upstream: tuple[str, int]) -> None:
        super().__init__(("127.0.0.1", 0), _RequestHandler)
        self.upstream = upstream
        self.faults = S3Faults()
        self.lock = threading.Lock()
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.uploads: dict[str, str] = {}  # id → path; moto accepts an upload id for any object

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def client_config(self, bucket: str | None = None, secret: str = SECRET_KEY) -> S3Config:
        """Return a client configuration, by default for a bucket with a new unique name."""
        return S3Config(self.url, ACCESS_KEY, secret, bucket or f"b-{uuid.uuid4().hex[:20]}")

    def consume_fault(self, fault: str) -> bool:
        """Return whether to inject this fault, and decrease its count."""
        with self.lock:
            count = getattr(self.faults, fault)
            setattr(self.faults, fault, max(0, count - 1))
            return bool(count)

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore errors: tests cut connections on purpose."""


class _RequestHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: S3Server

    def _serve(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.requests.append((self.command, self.path, headers))
        if self.headers.get("Expect", "").lower() == "100-continue":
            self.send_response_only(100)
            self.end_headers()
        if self.command == "OPTIONS":
            self._answer_preflight(headers)
            return
        length = int(headers.get("content-length", 0))
        if length and self.server.consume_fault("cut_requests"):
            self._read(min(length, self.server.faults.cut_after_bytes))
            self._close_abruptly()
            return
        body = self._read(length)
        error = self._find_error(headers, body)
        if error:
            self._respond(*error)
        elif self.command == "PUT" and self.server.consume_fault("lost_writes"):
            self._respond(200, "")
        else:
            self._forward(headers, body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_OPTIONS = _serve  # noqa: N815

    def _answer_preflight(self, headers: Mapping[str, str]) -> None:
        allowed = answer_preflight(self._read_cors_rules(), headers)
        self.send_response_only(403 if allowed is None else 200)
        for name, value in (allowed or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _read_cors_rules(self) -> list[CorsRule]:
        bucket = urlsplit(self.path).path.split("/")[1]
        connection = http.client.HTTPConnection(*self.server.upstream, timeout=30)
        try:
            connection.request("GET", f"/{bucket}?cors")
            response = connection.getresponse()
            return read_rules(response.read().decode()) if response.status == 200 else []
        finally:
            connection.close()

    def _find_error(self, headers: Mapping[str, str], body: bytes) -> tuple[int, str] | None:
        if self.server.consume_fault("busy_responses") or (
            "partNumber=" in self.path and self.server.consume_fault("busy_part_responses")
        ):
            return 503, "SlowDown"
        if self.server.consume_fault("throttled_responses"):
            return 429, "TooManyRequests"
        if self.server.faults.forbidden or (
            self.command == "PUT" and self.server.consume_fault("expired_writes")
        ):
            return 403, "AccessDenied"
        now = datetime.now(UTC) + timedelta(seconds=self.server.faults.clock_ahead_seconds)
        signature_error = find_signature_error(self.command, self.path, headers, body, now)
        if signature_error:
            return 403, signature_error
        upload = parse_qs(urlsplit(self.path).query).get("uploadId")
        if upload and self.server.uploads.get(upload[0]) != urlsplit(self.path).path:
            return 404, "NoSuchUpload"
        return _find_r2_error(self.command, urlsplit(self.path).query, headers, body)

    def _read(self, length: int) -> bytes:
        received = bytearray()
        while len(received) < length:
            chunk = self.rfile.read(min(CHUNK_BYTES, length - len(received)))
            if not chunk:
                raise ConnectionResetError
            received += chunk
        return bytes(received)

    def _forward(self, headers: dict[str, str], body: bytes) -> None:
        forwarded_headers = {name: value for name, value in headers.items() if name not in _HOP_HEADERS}
        if not self.server.faults.supports_ranges:
            forwarded_headers.pop("range", None)
        connection = http.client.HTTPConnection(*self.server.upstream, timeout=30)
        try:
            connection.request(self.command, self.path, body, forwarded_headers)
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        self._track_uploads(response.status, content)
        self.send_response_only(response.status)
        for name, value in response.getheaders():
            if (
                name.lower() not in (*_HOP_HEADERS, "content-length")
                and "access-control-" not in name.lower()
            ):
                self.send_header(name, value)
        self._send_cors_headers(headers)
        length = response.getheader("content-length", "0") if self.command == "HEAD" else str(len(content))
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command == "GET" and len(content) > 1 and self.server.consume_fault("cut_responses"):
            self.wfile.write(content[: min(self.server.faults.cut_after_bytes, len(content) - 1)])
            self._close_abruptly()
        elif self.command != "HEAD":
            self.wfile.write(content)

    def _send_cors_headers(self, headers: Mapping[str, str]) -> None:
        if "origin" in headers:
            for name, value in response_headers(self._read_cors_rules(), self.command, headers).items():
                self.send_header(name, value)

    def _track_uploads(self, status: int, content: bytes) -> None:
        """Record the paths of created and ended multipart uploads."""
        target = urlsplit(self.path)
        query = parse_qs(target.query, keep_blank_values=True)
        if self.command == "POST" and "uploads" in query:
            created = re.search(rb"<UploadId>(.+?)</UploadId>", content)
            if created:
                self.server.uploads[created[1].decode()] = target.path
        elif self.command in ("POST", "DELETE") and "uploadId" in query and status < 300:
            self.server.uploads.pop(query["uploadId"][0], None)

    def _respond(self, status: int, code: str) -> None:
        content = b"" if self.command == "HEAD" else f"<Error><Code>{code}</Code></Error>".encode()
        self.send_response_only(status)
        self._send_cors_headers({name.lower(): value for name, value in self.headers.items()})
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _close_abruptly(self) -> None:
        self.close_connection = True
        self.wfile.flush()
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Log nothing."""


@contextmanager
def run_s3_server() -> Iterator[S3Server]:
    """Run a server on a free port."""
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    s3_server = S3Server((host, port))
    thread = threading.Thread(target=s3_server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield s3_server
    finally:
        s3_server.shutdown()
        thread.join()
        s3_server.server_close()
        moto.stop()


def _find_r2_error(
    method: str, query: str, headers: Mapping[str, str], body: bytes
) -> tuple[int, str] | None:
    """Return the status and code with which R2 rejects a correctly signed request, or None."""
    conditions = "x-amz-copy-source-if" if "partNumber=" in query else "x-amz-sdk-checksum"
    if any(name.startswith((*_UNSUPPORTED_HEADERS, conditions)) for name in headers):
        return 501, "NotImplemented"
    if method == "PUT" and query in _DIGEST_QUERIES and "content-md5" not in headers:
        return 400, "InvalidRequest"
    digest = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
    if headers.get("content-md5", digest) != digest:
        return 400, "BadDigest"
    return None

"""Upgrades of a connection: to a WebSocket, if the request can be the handshake of one. Any other is ignored."""

from collections.abc import Sequence

import httptools

from service.http_server.direct import DirectHttpProtocol
from service.http_server.rejection import Expected
from service.http_server.websocket import CountedWebSocket
from service.problems import HeadTooLarge, MalformedRequest, TooManyConnections

Headers = Sequence[tuple[bytes, bytes]]


class UpgradingHttpProtocol(DirectHttpProtocol):
    """Connection that becomes that of a WebSocket, and reads other requests for an upgrade as if they had none."""

    _upgrades = False  # the request is the handshake of a WebSocket
    _ignores_upgrade = False  # it asks for another upgrade

    def _check_upgrade(self) -> None:
        """Find out what to do about the upgrade that a head asks for; raises MalformedRequest."""
        self._upgrades = self._ignores_upgrade = False
        if not self.parser.should_upgrade():
            return
        self._upgrades = (
            self.parser.get_method() == b"GET"
            and self.parser.get_http_version() == "1.1"
            and _wants_web_socket(self.headers)
        )
        self._ignores_upgrade = not self._upgrades
        if self._upgrades and self._is_answering():
            raise MalformedRequest(
                "The handshake of a WebSocket must wait for the responses to earlier requests."
            )

    def _should_upgrade(self) -> bool:
        return self._upgrades

    def _parse(self, data: bytes | memoryview) -> None:
        """Parse the data; the head of a request for an upgrade that is ignored is parsed again without it.

        The parser takes no body for part of such a request, but for the next one.
        """
        while data:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                if self._upgrades:
                    raise
                head = self._render_without_upgrade()
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
                self.parser.feed_data(head)
                data = data[upgrade.args[0] :]
            else:
                break

    def _render_without_upgrade(self) -> bytes:
        lines = [b"%b: %b\r\n" % field for field in self.headers if field[0] != b"upgrade"]
        version = self.parser.get_http_version().encode()
        first = b"%b %b HTTP/%b\r\n" % (self.parser.get_method(), self.url, version)
        return b"".join((first, *lines, b"\r\n"))

    def handle_websocket_upgrade(self) -> None:
        if self.app is self._overload_app:
            self._expected = Expected.NOTHING
            self._reject(TooManyConnections())
            return
        super().handle_websocket_upgrade()
        protocol = self.transport.get_protocol()
        assert isinstance(protocol, CountedWebSocket)
        self._connections.replace(self, protocol)
        protocol.open_connections = self._connections
        if not protocol.handshake_initiated:  # a line is longer than `websockets` reads
            self._write_problem(
                HeadTooLarge("A line in the handshake of a WebSocket is limited to 8192 bytes.")
            )
            self.transport.close()
        self.parser = None  # type: ignore[assignment]  # it refers to this object, which has ended


def _wants_web_socket(headers: Headers) -> bool:
    options = {
        option.strip().lower()
        for name, value in headers
        if name == b"connection"
        for option in value.split(b",")
    }
    upgrades = [value.strip().lower() for name, value in headers if name == b"upgrade"]
    return b"upgrade" in options and upgrades == [b"websocket"] and not _has_body(headers)


def _has_body(headers: Headers) -> bool:
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0"))
        for name, value in headers
    )

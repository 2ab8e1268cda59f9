"""Open the listener sockets before the service does anything else."""

import errno
import socket
from contextlib import suppress

from service.startup.errors import StartError
from service.startup.statuses import TRY_AGAIN_STATUS

BACKLOG = 2_048


def open_sockets(host: str, port: int, setting: str = "PORT") -> list[socket.socket]:
    """Listen on every address of a host; raises StartError with the name of the setting."""
    try:
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError):
        raise StartError(f"HOST: {host!r} can't be resolved; use an address of this machine") from None
    sockets: list[socket.socket] = []
    try:
        for family, _, _, _, address in dict.fromkeys(infos):
            sockets.append(_listen(family, address))
    except OSError as error:
        for listener in sockets:
            listener.close()
        raise _start_error_from(error, host, port, setting) from error
    return sockets


def _listen(family: int, address: tuple[object, ...]) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            with suppress(OSError):
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def _start_error_from(error: OSError, host: str, port: int, setting: str) -> StartError:
    if error.errno == errno.EADDRINUSE:
        sentence = f"{setting}: {port} is used by another program on {host}; stop it, or use another port"
        return StartError(sentence, TRY_AGAIN_STATUS)
    if error.errno in (errno.EACCES, errno.EPERM):
        return StartError(
            f"{setting}: this user may not listen on {port}; use one from 1024 on, or permit it"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return StartError(f"HOST: {host} is not an address of this machine; use one that is")
    return StartError(
        f"HOST, {setting}: can't listen on {host} port {port} ({error.strerror}); use another address or port"
    )

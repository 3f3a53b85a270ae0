"""A machine without a network, loopback excepted: what the tests run on, in this process and in every child.

A connection that leaves the machine fails as it does with the cable out, and is written down: code that swallows the
error is found all the same.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from typing import Any

LOG = "FOVEAL_TEST_CONNECTIONS"  # names the file where attempts are written down
LOOPBACK = ("127.", "localhost", "::1", "0.0.0.0")


def block() -> None:
    """From here on, sockets of this process reach this machine only."""
    socket.socket.connect = _guarded(socket.socket.connect)  # type: ignore[method-assign]
    socket.socket.connect_ex = _guarded(socket.socket.connect_ex)  # type: ignore[method-assign]
    look_up = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host is not None and not _here(host):
            _write_down(host)
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known (the tests run offline)")
        return look_up(host, *args, **kwargs)

    socket.getaddrinfo = getaddrinfo


def _guarded(connect: Callable[..., Any]) -> Callable[..., Any]:
    def guarded(self: socket.socket, address: Any) -> Any:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not _here(address[0]):
            _write_down(address)
            raise OSError(errno.ENETUNREACH, "Network is unreachable (the tests run offline)")
        return connect(self, address)

    return guarded


def _here(host: str | bytes) -> bool:
    return (host if isinstance(host, str) else host.decode()).startswith(LOOPBACK)


def _write_down(address: Any) -> None:
    if os.environ.get(LOG):
        with open(os.environ[LOG], "a", encoding="utf-8") as log:
            log.write(f"{address}\n")

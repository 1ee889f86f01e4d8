# SPDX-License-Identifier: GPL-2.0
"""A client of QEMU's machine protocol over a connected socket.

bookworm has no package of QEMU's own Python client, and the one of newer
suites is asyncio throughout; the protocol is a JSON object a line, which
the standard library reads.
"""

import json
import socket
import time
from typing import Any, Callable, Optional

from lab import LabError


class Silence(LabError):
    """The other side lives, but said nothing until the deadline."""


class Gone(LabError):
    """The other side has closed the connection."""


class LineReader:
    """Lines from a socket, each awaited until a deadline."""

    def __init__(self, sock: socket.socket, peer: str) -> None:
        self.sock, self.peer, self.buffer = sock, peer, b""

    def readline(self, deadline: float) -> str:
        """The next line without its end; Silence or Gone if none comes."""
        while b"\n" not in self.buffer:
            left = deadline - time.monotonic()
            if left <= 0:
                raise Silence(f"no answer from {self.peer}")
            self.sock.settimeout(left)
            try:
                data = self.sock.recv(65536)
            except TimeoutError:
                continue
            except ConnectionError:
                data = b""
            if not data:
                raise Gone(f"{self.peer} is gone")
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line.decode(errors="replace").rstrip("\r")


class QMP:
    """Commands to, and events from, one QEMU."""

    TIMEOUT = 30.0

    def __init__(self, sock: socket.socket, log: Callable[[str], None]) -> None:
        self.sock, self.log = sock, log
        self.lines = LineReader(sock, "QEMU's monitor")
        self.events: list[dict[str, Any]] = []
        json.loads(self.lines.readline(time.monotonic() + self.TIMEOUT))
        self.execute("qmp_capabilities")

    def _next(self, deadline: float) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self.lines.readline(deadline))
        if "event" in message:
            self.log(f"qmp event {message['event']} "
                     f"{json.dumps(message.get('data', {}))}")
            self.events.append(message)
        return message

    def execute(self, command: str, **arguments: Any) -> Any:
        """Send a command, return its result; LabError if QEMU refuses."""
        # The log tells what was done to the machine, not what was looked up
        if not command.startswith(("query-", "qmp_")):
            self.log(f"qmp {command} {json.dumps(arguments)}")
        request = {"execute": command, "arguments": arguments}
        try:
            self.sock.sendall(json.dumps(request).encode() + b"\n")
        except OSError as error:
            raise Gone(f"QEMU is gone: {error}") from None
        deadline = time.monotonic() + self.TIMEOUT
        while True:
            message = self._next(deadline)
            if "return" in message:
                return message["return"]
            if "error" in message:
                raise LabError(f"QEMU refuses {command} {arguments}: "
                               f"{message['error']['desc']}")

    def wait_event(self, names: tuple[str, ...],
                   match: Callable[[dict[str, Any]], bool],
                   timeout: float) -> Optional[dict[str, Any]]:
        """The first event of @names that @match accepts, None at @timeout."""
        deadline = time.monotonic() + timeout
        while True:
            for event in self.events:
                if event["event"] in names and match(event.get("data", {})):
                    self.events.remove(event)
                    return event
            try:
                self._next(deadline)
            except Silence:
                return None

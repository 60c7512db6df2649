"""``/health`` and ``/metrics`` over HTTP, for whoever watches the service."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from types import TracebackType
from typing import Any

from lvedge import __version__
from lvedge.errors import SourceError
from lvedge_runtime.service.health import UNWELL, WELL

MOST_CONNECTIONS = 16
LONGEST_S = 10.0
"""A connection that is older goes when another wants its place."""

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


Answer = tuple[int, str, bytes]
"""Status, type and content."""


class Page:
    """Serves inside ``with``, by threads of its own.

    Args:
        address: an address of this machine.
        port: where to serve; 0 takes a free one.
        health: gives the state.
        metrics: gives Prometheus' text.

    Raises:
        SourceError: on entering, if the port cannot be used.
    """

    def __init__(
        self, address: str, port: int, health: Callable[[], dict[str, Any]], metrics: Callable[[], bytes]
    ) -> None:
        self._place = address, port
        self._answers = {
            "/health": lambda: _of_health(health()),
            "/metrics": lambda: (200, METRICS_TYPE, metrics()),
        }
        self._server: _Server | None = None

    @property
    def port(self) -> int:
        """Where it is served."""
        return self._place[1] if self._server is None else int(self._server.server_address[1])

    def __enter__(self) -> Page:
        try:
            self._server = _Server(self._place, self._answers)
        except OSError as err:
            where, why = "{}:{}".format(*self._place), err.strerror or err
            raise SourceError(
                f"service: cannot serve on {where}: {why}; choose another port or free this one"
            ) from err
        threading.Thread(target=self._server.serve_forever, name="lvedge-page", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            server, self._server = self._server, None
            server.shutdown()
            server.server_close()


def _of_health(state: dict[str, Any]) -> Answer:
    code = 200 if state["status"] in (WELL, UNWELL) else 503
    content = json.dumps({**state, "version": __version__}, indent=1) + "\n"
    return code, "application/json", content.encode()


class _Server(ThreadingHTTPServer):
    """Holds a few connections; one that takes long makes room for the next."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, place: tuple[str, int], answers: dict[str, Callable[[], Answer]]) -> None:
        self.answers = answers
        self.address_family = socket.AF_INET6 if ip_address(place[0]).version == 6 else socket.AF_INET
        self._open: dict[Any, float] = {}
        self._lock = threading.Lock()
        super().__init__(place, _Handler)

    def verify_request(self, request: Any, _client_address: Any) -> bool:
        now = time.monotonic()
        with self._lock:
            if len(self._open) >= MOST_CONNECTIONS:
                oldest = min(self._open, key=self._open.__getitem__)
                if now - self._open[oldest] < LONGEST_S:
                    return False
                with suppress(OSError):
                    oldest.shutdown(socket.SHUT_RDWR)
                del self._open[oldest]
            self._open[request] = now
        return True

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, _request: Any, _client_address: Any) -> None:
        """A reader that goes away is its own affair."""


class _Handler(BaseHTTPRequestHandler):
    """Answers one request and closes; of what was asked nothing but the path counts."""

    server: _Server
    server_version, sys_version = "lvedge", ""
    timeout = 5.0

    def do_GET(self) -> None:
        answer = self.server.answers.get(self.path)
        code, kind, content = (404, "text/plain", b"/health, /metrics\n") if answer is None else answer()
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_arguments: Any) -> None:
        """Nothing: what was asked for is the asker's word."""

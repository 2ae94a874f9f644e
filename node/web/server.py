"""The web room's process: one HTTP server that tells its supervisor how it is and ends when asked."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Iterator

import structlog
import uvicorn
from starlette.applications import Starlette

from node.config import Settings
from node.domain.time import SystemClock
from node.errors import Misconfigured, Transient
from node.loop import Herald, Stop, stop_on_signals
from node.store.database import open_database
from node.web.feed import Feed
from node.web.pages import application

_TICK_S = 0.1
#: Requests that are still being answered get this long when the room ends.
_GRACE_S = 5

log = structlog.get_logger()


class _Server(uvicorn.Server):
    """uvicorn without its own treatment of signals, which would raise them again at the end."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the room."""
        yield


def main(settings: Settings) -> int:
    """Serve the pages until SIGTERM; return the exit code.

    Raises:
        Misconfigured: the address is not this machine's, the port needs privileges, or the token is none.
        Transient: the port is taken; its holder may be ending.
    """
    stop, herald = stop_on_signals(), Herald()
    with (
        contextlib.closing(_listen(settings)) as listening,
        contextlib.closing(open_database(settings.data.folder, "web")) as db,
    ):
        site = application(db, settings, SystemClock())
        asyncio.run(_serve(_Server(_config(site, settings.web.listeners)), site.state.feed, listening, stop, herald))
    return 0


def _config(site: Starlette, listeners: int) -> uvicorn.Config:
    return uvicorn.Config(
        site,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        ws="none",
        timeout_graceful_shutdown=_GRACE_S,
        # Streams hold one each.
        limit_concurrency=64 + listeners,
    )


async def _serve(server: uvicorn.Server, feed: Feed, listening: socket.socket, stop: Stop, herald: Herald) -> None:
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    announced = False
    while not serving.done():
        if server.started and not announced:
            announced = True
            host, port = listening.getsockname()[:2]
            herald.ready(f"http://{f'[{host}]' if ':' in host else host}:{port}/")
            log.info("pages_ready", address=host, port=port)
        if stop.is_set() and not server.should_exit:
            herald.stopping()
            # Streams end by themselves; the server waits for every answer that has begun.
            feed.close()
            server.should_exit = True
        # From the event loop itself: if that hangs, the watchdog hears nothing.
        herald.alive()
        await asyncio.wait([serving], timeout=_TICK_S)
    await serving


def _listen(settings: Settings) -> socket.socket:
    address, port = settings.web.address, settings.web.port
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        return socket.create_server((address, port), family=family)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise Transient(f"port {port} of {address} ([web] port) is taken by another program") from error
        problem = f"cannot listen on {address}:{port}: {error.strerror}"
        raise Misconfigured(
            "config.toml", "web", problem, "Name an address of this machine and a port above 1023"
        ) from error

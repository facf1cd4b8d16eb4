"""Starting the server: on a port of this machine, alone or beside a run."""

import importlib.util
import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from prune_env.cli.options import TableOptions
from prune_env.cli.watch.origin import Origin
from prune_env.cli.watch.run_log import RunLog
from prune_env.errors import SettingsError
from prune_env.utils import events

if TYPE_CHECKING:
    import uvicorn

LOOPBACK = "127.0.0.1"
GRACE_S = 1.0
"""After a run: pages get its last events."""

START_S = 60.0
"""A server that takes longer to start is given up."""


def require_server() -> None:
    """Raise unless the packages of the server are there.

    Raises:
        SettingsError: One is missing.
    """
    missing = [name for name in ("starlette", "uvicorn") if importlib.util.find_spec(name) is None]
    if missing:
        raise SettingsError(
            "The page needs a small web server",
            expected="the packages starlette and uvicorn",
            actual=f"no {' and no '.join(missing)}",
            remedy="pip install 'prune-env[watch]'",
        )


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that is bound to a port; port 0 takes any that is free.

    Raises:
        SettingsError: The port is taken, or the host is none of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.listen()
    except (OSError, OverflowError) as error:
        bound.close()
        raise SettingsError(
            f"The page cannot be served on port {port} of {host}",
            expected="a free port, 0 to 65535, of an interface of this machine",
            actual=getattr(error, "strerror", None) or error,
            remedy="give another --port (--port 0 takes any that is free), or another --host",
        ) from None
    return bound


def make_server(runs: Sequence[RunLog], given: Origin, token: str) -> "uvicorn.Server":
    """Return a server of the page, which is not yet running."""
    import uvicorn

    from prune_env.cli.watch.server import Watched, make_app

    def ending() -> bool:
        return server.should_exit

    config = uvicorn.Config(
        make_app([Watched(run, given) for run in runs], token, ending),
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=5,
        ws="none",
    )
    server = uvicorn.Server(config)
    return server


def address(bound: socket.socket, token: str) -> str:
    """Return where the page is."""
    host, port = bound.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/{token}/"


def new_token() -> str:
    """Return the secret part of an address."""
    return secrets.token_urlsafe(12)


@contextmanager
def beside(run: Path, wanted: bool, origin: Origin | None = None) -> Iterator[None]:
    """Keep what a run is of while the body runs it, and serve its page from a process of its own.

    Args:
        run: The run folder, which need not exist yet.
        wanted: Whether there is to be a page.
        origin: What it is of; None where the page cannot ask one model.
    """
    with events.origin(None if origin is None else origin.to_json()):
        if not wanted:
            yield
            return
        require_server()
        context = get_context("spawn")
        ours, theirs = context.Pipe()
        tables = TableOptions(allow_download=origin is not None and origin.tables.allow_download)
        arguments = (run, Origin(tables=tables), theirs)
        process = context.Process(target=_serve_beside, args=arguments, daemon=True)
        process.start()
        theirs.close()
        try:
            place = ours.recv() if ours.poll(START_S) else None
        except EOFError:
            place = None
        if place is None:
            process.kill()
            raise SettingsError("The page could not be served", remedy="leave --watch out")
        print(f"Watch it at {place}", file=sys.stderr, flush=True)
        try:
            yield
        finally:
            ours.close()
            process.join(GRACE_S + 5)
            if process.is_alive():
                process.kill()


def _serve_beside(run: Path, given: Origin, parent: Connection) -> None:
    """Serve a run until the process that runs it closes its end, or dies."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # Ctrl-C ends the run, and so this
    # The run comes first where there are fewer cores than work.
    if hasattr(os, "nice"):
        os.nice(5)
    token = new_token()
    bound = bind(LOOPBACK, 0)
    server = make_server([RunLog(run, wait=True)], given, token)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    parent.send(address(bound, token))
    try:
        parent.recv()
    except EOFError:
        time.sleep(GRACE_S)
    server.should_exit = True
    thread.join()

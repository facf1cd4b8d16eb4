"""The web application: the page, the events of each run as they come, and questions to its model.

Everything lives under a secret path, so that neither another user of the machine nor a page of
another site can read it. Nothing is asked of any other host.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from prune_env.cli.watch.examiner import Examiner
from prune_env.cli.watch.origin import Origin, find_origin
from prune_env.cli.watch.run_log import RunLog
from prune_env.errors import PruneEnvError

log = logging.getLogger(__name__)

PAGE = Path(__file__).parent / "page"
POLL_S = 0.25
BATCH = 400
"""Events in a message."""

BEAT_S = 15.0
"""Between two signs of life, so that a proxy keeps a quiet stream open."""

MOST_BYTES = 1 << 16
"""Of a question."""

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class Watched:
    """A run on the page: its events, and its model once somebody asks it.

    Args:
        run: Its events.
        given: Model and data that the user gives.
    """

    def __init__(self, run: RunLog, given: Origin) -> None:
        self.run = run
        self._given = given
        self._examiner: Examiner | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="examiner")

    @property
    def missing(self) -> str:
        """What is missing before its model can be asked; a run that has not begun says later."""
        try:
            return "" if self._find() or self.run.state == "waiting" else GIVE
        except PruneEnvError as error:
            return str(error)

    async def ask(self, question: str, body: dict[str, Any]) -> Any:
        """Answer a question about the model, one after the other."""
        origin = self._find()
        if origin is None:
            raise PruneEnvError(GIVE)
        if self._examiner is None:
            self._examiner = Examiner(self.run.path, origin)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, partial(self._examiner.ask, question, body))

    def close(self) -> None:
        """Let go of the file; a question that is being answered is not waited for."""
        self.run.close()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _find(self) -> Origin | None:
        return find_origin(self.run.folder, self._given)


GIVE = (
    "This run does not say which model and data it is of: start the page with "
    "prune-env watch RUN --model MODEL --data DATA to ask the model itself"
)


def make_app(runs: list[Watched], token: str, ending: Callable[[], bool]) -> ASGIApp:
    """Return the application.

    Args:
        runs: What is shown, side by side.
        token: The secret first part of every path.
        ending: Whether the server is to end, and so the streams that it holds.
    """

    async def listing(request: Request) -> Response:
        return JSONResponse([{"name": each.run.name} for each in runs])

    async def events(request: Request) -> Response:
        watched = runs[_index(request, runs)]
        after = request.headers.get("last-event-id", "")
        sent = int(after) if after.isdecimal() and len(after) < 12 else 0
        return StreamingResponse(stream(watched, sent, ending), media_type="text/event-stream")

    async def ask(request: Request) -> Response:
        watched = runs[_index(request, runs)]
        try:
            body = await _body(request)
            return JSONResponse(await watched.ask(request.path_params["question"], body))
        except PruneEnvError as error:
            return JSONResponse({"error": str(error)}, status_code=422)
        except Exception as error:  # a model or a text that a library chokes on ends no page
            log.exception("A question of the page failed")
            told = f"The model could not answer: {type(error).__name__}"
            return JSONResponse({"error": told}, status_code=500)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        reading = asyncio.create_task(_keep_reading([each.run for each in runs]))
        yield
        reading.cancel()
        for each in runs:
            each.close()

    routes = [
        Route("/runs", listing),
        Route("/runs/{run}/events", events),
        Route("/runs/{run}/ask/{question}", ask, methods=["POST"]),
        Mount("/", StaticFiles(directory=PAGE, html=True)),
    ]
    return _with_headers(Starlette(routes=[Mount(f"/{token}", routes=routes)], lifespan=lifespan))


async def stream(watched: Watched, sent: int, ending: Callable[[], bool]) -> AsyncIterator[str]:
    """Yield the events of a run from the given one on, and how the run is whenever that changes.

    Args:
        watched: The run, read by another task.
        sent: Events that the page has.
        ending: Whether the stream is to end.
    """
    run = watched.run
    told: tuple[str, str] | None = None
    quiet = 0.0
    while not ending():
        state = run.state, str(run.problem or "")
        while sent < len(run.events):
            batch = run.events[sent : sent + BATCH]
            sent += len(batch)
            yield f"id: {sent}\nevent: events\ndata: {json.dumps(batch, allow_nan=False)}\n\n"
            quiet = 0.0
        if state != told:
            told = state
            about = {"state": state[0], "problem": state[1], "missing": watched.missing}
            yield f"event: state\ndata: {json.dumps(about)}\n\n"
        await asyncio.sleep(POLL_S)
        quiet += POLL_S
        if quiet >= BEAT_S:
            yield ": still here\n\n"
            quiet = 0.0


async def _keep_reading(runs: list[RunLog]) -> None:
    while True:
        for run in runs:
            await asyncio.to_thread(run.poll)
        await asyncio.sleep(POLL_S)


def _index(request: Request, runs: list[Watched]) -> int:
    number = request.path_params["run"]
    if number not in map(str, range(len(runs))):  # not read as a number: it may be of any length
        raise HTTPException(404)
    return int(number)


async def _body(request: Request) -> dict[str, Any]:
    content = b""
    async for piece in request.stream():
        content += piece
        if len(content) > MOST_BYTES:
            raise PruneEnvError("The question is too long", expected=f"{MOST_BYTES} bytes at most")
    try:
        body = json.loads(content or b"{}")
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise PruneEnvError("The question is no JSON object")
    return body


def _with_headers(app: ASGIApp) -> ASGIApp:
    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        async def adding(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message = {**message, "headers": [*message["headers"], *added]}
            await send(message)

        await app(scope, receive, adding)

    return wrapped

"""The HTTP application: TensorFlow Serving's REST paths for the model, the web page, health and metrics."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import h11
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from t2t_lite.serving import rest
from t2t_lite.serving.batching import Batcher, BatchPlan
from t2t_lite.serving.input_checks import check_input
from t2t_lite.serving.limits import Limits, RequestError
from t2t_lite.serving.model import ExportedModel
from t2t_lite.serving.server_metrics import ServerMetrics

_PAGE = Path(__file__).parent / "page"
_MEDIA_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
_DISCARD_FACTOR = 8  # A body of up to this many times the limit is read and dropped, so that its sender gets the 413.
_HEADERS = {
    # Only the page's own files; pictures and sounds that the user chooses are blobs.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' blob: data:; media-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def make_app(model: ExportedModel, limits: Limits, plan: BatchPlan) -> "App":
    """Returns the ASGI application that serves a model."""
    handlers = _Handlers(model, limits, plan)
    models = "/v1/models/{name}"
    versions = models + "/versions/{version}"
    routes = [Route(path, handlers.page) for path in ("/", *(f"/{name}" for name in handlers.page_files))]
    routes += [
        Route("/healthz", handlers.health),
        Route("/metrics", handlers.metrics),
        Route("/about", handlers.about),
        *(Route(path + ":{method}", handlers.method, methods=["GET", "POST"]) for path in (versions, models)),
        *(Route(path + "/metadata", handlers.metadata) for path in (versions, models)),
        *(Route(path, handlers.status) for path in (versions, models)),
    ]
    errors: dict[Any, Any] = {RequestError: _request_error, HTTPException: _http_error, Exception: _unexpected_error}
    app = Starlette(routes=routes, exception_handlers=errors, lifespan=handlers.lifespan)
    app.router.redirect_slashes = False
    return App(app)


class _Handlers:
    """The request handlers, one method for each path."""

    def __init__(self, model: ExportedModel, limits: Limits, plan: BatchPlan):
        self._model, self._limits, self._plan = model, limits, plan
        self._metrics = ServerMetrics()
        self.page_files = {path.name: path.read_bytes() for path in _PAGE.iterdir() if path.suffix in _MEDIA_TYPES}

    @contextlib.asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        """Starts the batcher; at shutdown, waits for its running batches."""
        self._batcher = Batcher(self._model.predict, self._plan, self._limits, self._metrics)
        yield
        await self._batcher.close()

    async def page(self, request: Request) -> Response:
        """GET / and the page's other files."""
        name = request.url.path[1:] or "index.html"
        headers = {"Cache-Control": "no-cache"}
        return Response(self.page_files[name], media_type=_MEDIA_TYPES[Path(name).suffix], headers=headers)

    async def health(self, request: Request) -> Response:
        """GET /healthz. Always ok: the server listens only after it has loaded the model."""
        return _json({"status": "ok"})

    async def metrics(self, request: Request) -> Response:
        """GET /metrics, for Prometheus."""
        return Response(self._metrics.render(), headers={"Content-Type": ServerMetrics.content_type})

    async def about(self, request: Request) -> Response:
        """GET /about, for the page: export.json, the signatures and the limits."""
        return _json({**self._model.about, "signatures": list(self._model.signatures), "limits": vars(self._limits)})

    async def status(self, request: Request) -> Response:
        """GET /v1/models/NAME."""
        self._check_model(request)
        state = {"state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
        return _json({"model_version_status": [{"version": self._model.version, **state}]})

    async def metadata(self, request: Request) -> Response:
        """GET /v1/models/NAME/metadata."""
        self._check_model(request)
        return _json(self._model.metadata())

    async def method(self, request: Request) -> Response:
        """POST /v1/models/NAME:predict."""
        method = request.path_params["method"]
        if method != "predict":
            raise RequestError(404, f"no method ':{method[:100]}'; this server has ':predict'")
        if request.method != "POST":
            raise RequestError(405, "':predict' takes POST", {"Allow": "POST"})
        start, status = time.perf_counter(), 500
        request.state.signature = "unknown"
        try:
            response = await self._predict(request)
            status = response.status_code
            return response
        except RequestError as e:
            status = e.status
            raise
        finally:
            signature = request.state.signature
            self._metrics.requests.labels(signature, str(status)).inc()
            self._metrics.request_seconds.labels(signature).observe(time.perf_counter() - start)

    async def _predict(self, request: Request) -> Response:
        self._check_model(request)
        parsed = rest.parse(await self._body(request), self._model.signatures)
        request.state.signature = parsed.signature
        self._check_rows(parsed)
        result = await self._batcher.answer(parsed.signature, parsed.rows)
        wait, model = 1000 * result.wait_seconds, 1000 * result.batch_seconds
        timing = {"Server-Timing": f"wait;dur={wait:.1f}, model;dur={model:.1f}"}
        content = await asyncio.to_thread(rest.render, parsed, result.answers)  # attention may be megabytes
        return Response(content, media_type="application/json", headers=timing)

    def _check_model(self, request: Request) -> None:
        name, version = request.path_params["name"], request.path_params.get("version", self._model.version)
        if name != self._model.name:
            raise RequestError(404, f"no model '{name[:100]}'; this server has '{self._model.name}'")
        if version != self._model.version:
            raise RequestError(404, f"no version '{version[:100]}'; this server has {self._model.version}")

    def _check_rows(self, parsed: rest.PredictRequest) -> None:
        most = min(self._limits.instances, self._limits.queue)  # a request larger than the queue would never fit
        if len(parsed.rows) > most:
            raise RequestError(413, f"{len(parsed.rows):,} inputs in one request; at most {most}")
        for i, row in enumerate(parsed.rows):
            try:
                for argument, value in row.items():
                    check_input(self._model.kind(parsed.signature, argument), value, self._limits)
            except RequestError as e:
                raise e.for_input(i, len(parsed.rows)) from e

    async def _body(self, request: Request) -> bytes:
        """Reads the request's body, within the limits of size and time."""
        limit, seconds = self._limits.body_bytes, self._limits.answer_seconds
        encoding = request.headers.get("content-encoding", "identity")
        if encoding != "identity":
            raise RequestError(415, f"content-encoding '{encoding[:100]}' is not supported; send the body uncompressed")
        try:
            return await asyncio.wait_for(_read(request, limit), seconds)
        except asyncio.TimeoutError as e:
            raise RequestError(408, f"the request's body did not arrive within {seconds:g} seconds") from e
        except ClientDisconnect as e:
            raise RequestError(400, "the request's body ended early") from e


async def _read(request: Request, limit: int) -> bytes:
    declared = int(request.headers.get("content-length", 0))
    too_large = RequestError(413, f"the request is larger than {limit / 2**20:g} MiB", {"Connection": "close"})
    if declared > _DISCARD_FACTOR * limit or (declared > limit and "expect" in request.headers):
        raise too_large
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size <= limit:
            chunks.append(chunk)
        elif size > _DISCARD_FACTOR * limit:
            break
    if size > limit:
        raise too_large
    return b"".join(chunks)


class App:
    """Adds security headers to every response, and answers 503 to requests that a forced shutdown cuts off.

    Attributes:
      cut_off: the number of these requests.
    """

    def __init__(self, app: ASGIApp):
        self._app = app
        self.cut_off = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles a connection of ASGI."""
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                more = [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()]
                message["headers"] = [*message["headers"], *more]
            # If garbage follows a request, uvicorn has sent a 400 already and takes no other response.
            with contextlib.suppress(h11.LocalProtocolError):
                await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except asyncio.CancelledError:
            if scope["type"] != "http":
                raise
            self.cut_off += 1
            if not started:
                response = _json({"error": "the server was stopped before it had the answer"}, 503)
                await response(scope, receive, send_with_headers)


async def _request_error(request: Request, error: RequestError) -> Response:
    return _json({"error": str(error)}, error.status, error.headers)


async def _http_error(request: Request, error: HTTPException) -> Response:
    texts = {
        404: "no such path; POST /v1/models/NAME:predict makes predictions",
        405: f"this path does not take {request.method}",
    }
    return _json({"error": texts.get(error.status_code, error.detail)}, error.status_code, error.headers)


async def _unexpected_error(request: Request, error: Exception) -> Response:
    return _json({"error": "the server failed; see its log"}, 500)


def _json(value: Any, status: int = 200, headers: Any = None) -> Response:
    # Lone surrogates, as in the name of a file that is not UTF-8, become JSON's own escapes.
    content = json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf8", "backslashreplace")
    return Response(content, status, headers, media_type="application/json")

"""The server's paths: the model in TensorFlow Serving's REST format, the page, health and metrics."""

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
from t2t_lite.serving.batching import Batching, BatchPlan
from t2t_lite.serving.input_checks import check_input
from t2t_lite.serving.limits import Limits, RequestError
from t2t_lite.serving.model import ExportedModel
from t2t_lite.serving.server_metrics import ServerMetrics

_PAGE = Path(__file__).parent / "page"
_MEDIA_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
_DISCARDED = 8  # times the limit: what is read of a body that is too large, so that its sender hears why
_HEADERS = {
    # The page's own files and nothing else; pictures and sounds that it was given are blobs.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' blob: data:; media-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def make_app(model: ExportedModel, limits: Limits, plan: BatchPlan) -> "App":
    """The ASGI application that serves a model."""
    server = _Server(model, limits, plan)
    models = "/v1/models/{name}"
    versions = models + "/versions/{version}"
    routes = [Route(path, server.page) for path in ("/", *(f"/{name}" for name in server.files))]
    routes += [
        Route("/healthz", server.health),
        Route("/metrics", server.metrics),
        Route("/about", server.about),
        *(Route(path + ":{method}", server.method, methods=["GET", "POST"]) for path in (versions, models)),
        *(Route(path + "/metadata", server.metadata) for path in (versions, models)),
        *(Route(path, server.status) for path in (versions, models)),
    ]
    handlers: dict[Any, Any] = {RequestError: _refused, HTTPException: _http_error, Exception: _broken}
    app = Starlette(routes=routes, exception_handlers=handlers, lifespan=server.lifespan)
    app.router.redirect_slashes = False
    return App(app)


class _Server:
    """What answers each path."""

    def __init__(self, model: ExportedModel, limits: Limits, plan: BatchPlan):
        self._model, self._limits, self._plan = model, limits, plan
        self._measures = ServerMetrics()
        self.files = {path.name: path.read_bytes() for path in _PAGE.iterdir() if path.suffix in _MEDIA_TYPES}

    @contextlib.asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        """Sets the queues up; on leaving, waits for what is being computed."""
        self._batching = Batching(self._model.predict, self._plan, self._limits, self._measures)
        yield
        await self._batching.close()

    async def page(self, request: Request) -> Response:
        """A file of the page."""
        name = request.url.path[1:] or "index.html"
        headers = {"Cache-Control": "no-cache"}
        return Response(self.files[name], media_type=_MEDIA_TYPES[Path(name).suffix], headers=headers)

    async def health(self, request: Request) -> Response:
        """Whether requests are answered: the model is loaded before the server listens."""
        return _json({"status": "ok"})

    async def metrics(self, request: Request) -> Response:
        """Prometheus's metrics."""
        return Response(self._measures.render(), headers={"Content-Type": ServerMetrics.content_type})

    async def about(self, request: Request) -> Response:
        """What the page has to know: the export's problems, its signatures, and the limits."""
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
            raise RequestError(404, f"no method ':{method[:100]}'; ':predict' is what this server has")
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
            self._measures.requests.labels(signature, str(status)).inc()
            self._measures.request_seconds.labels(signature).observe(time.perf_counter() - start)

    async def _predict(self, request: Request) -> Response:
        self._check_model(request)
        question = rest.parse(await self._body(request), self._model.signatures)
        request.state.signature = question.signature
        self._check_rows(question)
        answered = await self._batching.answer(question.signature, question.rows)
        wait, model = 1000 * answered.wait_seconds, 1000 * answered.batch_seconds
        timing = {"Server-Timing": f"wait;dur={wait:.1f}, model;dur={model:.1f}"}
        content = await asyncio.to_thread(rest.render, question, answered.answers)  # attention may be megabytes
        return Response(content, media_type="application/json", headers=timing)

    def _check_model(self, request: Request) -> None:
        name, version = request.path_params["name"], request.path_params.get("version", self._model.version)
        if name != self._model.name:
            raise RequestError(404, f"no model '{name[:100]}'; this server has '{self._model.name}'")
        if version != self._model.version:
            raise RequestError(404, f"no version '{version[:100]}'; this server has {self._model.version}")

    def _check_rows(self, question: rest.PredictRequest) -> None:
        most = min(self._limits.instances, self._limits.queue)  # more than the queue ever holds can only wait for ever
        if len(question.rows) > most:
            raise RequestError(413, f"{len(question.rows):,} inputs in one request; at most {most}")
        for i, row in enumerate(question.rows):
            try:
                check_input(self._model.kind(question.signature), row["inputs"], self._limits)
                if "outputs" in row:
                    check_input("text", row["outputs"], self._limits)
            except RequestError as e:
                raise e.of_input(i, len(question.rows)) from e

    async def _body(self, request: Request) -> bytes:
        """The request's body, no larger than the limit and within the time."""
        limit, seconds = self._limits.body_bytes, self._limits.answer_seconds
        encoding = request.headers.get("content-encoding", "identity")
        if encoding != "identity":
            raise RequestError(415, f"content-encoding '{encoding[:100]}' is not read; send the body as it is")
        try:
            return await asyncio.wait_for(_read(request, limit), seconds)
        except asyncio.TimeoutError as e:
            raise RequestError(408, f"the request's body did not arrive within {seconds:g} seconds") from e
        except ClientDisconnect as e:
            raise RequestError(400, "the request's body ended early") from e


async def _read(request: Request, limit: int) -> bytes:
    declared = int(request.headers.get("content-length", 0))
    refusal = RequestError(413, f"the request is larger than {limit / 2**20:g} MiB", {"Connection": "close"})
    if declared > _DISCARDED * limit or (declared > limit and "expect" in request.headers):
        raise refusal
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size <= limit:
            chunks.append(chunk)
        elif size > _DISCARDED * limit:
            break
    if size > limit:
        raise refusal
    return b"".join(chunks)


class App:
    """Adds the headers that every response has, and answers requests that are cut off when the server ends.

    Attributes:
      cut_off: how many these were.
    """

    def __init__(self, app: ASGIApp):
        self._app = app
        self.cut_off = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on."""
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                more = [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()]
                message["headers"] = [*message["headers"], *more]
            # Where garbage came behind a request, uvicorn has said 400 already and takes no other answer.
            with contextlib.suppress(h11.LocalProtocolError):
                await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except asyncio.CancelledError:
            if scope["type"] != "http":
                raise
            self.cut_off += 1
            if not started:
                refusal = _json({"error": "the server was ended before it had the answer"}, 503)
                await refusal(scope, receive, send_with_headers)


async def _refused(request: Request, error: RequestError) -> Response:
    return _json({"error": str(error)}, error.status, error.headers)


async def _http_error(request: Request, error: HTTPException) -> Response:
    texts = {404: "no such path; /v1/models/NAME:predict answers", 405: f"{request.method} is not for this path"}
    return _json({"error": texts.get(error.status_code, error.detail)}, error.status_code, error.headers)


async def _broken(request: Request, error: Exception) -> Response:
    return _json({"error": "the server failed; its log tells how"}, 500)


def _json(value: Any, status: int = 200, headers: Any = None) -> Response:
    content = json.dumps(value, ensure_ascii=False).encode("utf8", "replace")
    return Response(content, status, headers, media_type="application/json")

"""Runs the HTTP server: loads the model, warms it up, listens, and shuts down gracefully."""

import asyncio
import contextlib
import io
import signal
import socket
import sys
import wave
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import uvicorn

from t2t_lite.errors import UserError
from t2t_lite.quiet import suppress_stderr
from t2t_lite.serving.app import make_app
from t2t_lite.serving.batching import BatchPlan
from t2t_lite.serving.limits import Limits, RequestError
from t2t_lite.serving.model import ExportedModel

_BACKLOG = 2048  # connections waiting to be accepted
_MAX_CONNECTIONS = 512  # Further ones get 503. The usual limit is 1024 open files for a process.


@dataclass(frozen=True)
class Address:
    """The address to listen on; port 0 means any free port."""

    host: str = "127.0.0.1"
    port: int = 8501


def serve(export_dir: Path, address: Address, limits: Limits, plan: BatchPlan) -> None:
    """Serves an export until SIGTERM or Ctrl-C, then answers the requests that it has accepted and returns.

    Raises:
      UserError: the folder is not an export, the address is not available, or accepted requests were not answered.
    """
    with _bind(address) as listening:
        model = ExportedModel(export_dir)
        _print(f"{model.name}, step {model.version}: {len(model.about['problems'])} problems; warming up ...")
        warm_up(model, plan.threads)
        app = make_app(model, limits, plan)
        config = uvicorn.Config(
            app,
            http="h11",
            log_level="error",  # warnings are about malformed HTTP of clients
            access_log=False,
            server_header=False,
            ws="none",
            lifespan="on",
            backlog=_BACKLOG,
            limit_concurrency=_MAX_CONNECTIONS,
            timeout_graceful_shutdown=int(2 * limits.answer_seconds) + 5,  # receiving a body and answering it
        )
        server = _Uvicorn(config)
        # For signals before uvicorn starts and installs its own handlers. It shuts down gracefully at the first signal,
        # then raises it again for these handlers, which change nothing any more.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: setattr(server, "should_exit", True))
        listening.listen(_BACKLOG)
        host, port = listening.getsockname()[:2]
        _print(f"http://{f'[{host}]' if ':' in host else host}:{port}/ is ready; Ctrl-C stops it")
        server.run(sockets=[listening])
    if count := app.cut_off + server.unsent:
        raise UserError(f"stopped; {count} accepted {'request was' if count == 1 else 'requests were'} cut off")
    _print("stopped; every accepted request was answered")


class _Uvicorn(uvicorn.Server):
    """uvicorn's server, whose forced shutdown (a second Ctrl-C) leaves no traceback.

    Attributes:
      unsent: the number of connections whose answers were not fully sent at the end.
    """

    unsent = 0

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Handles a signal; the second one cancels the running requests."""
        super().handle_exit(sig, frame)
        if self.force_exit:
            for task in list(self.server_state.tasks):
                task.get_loop().call_soon_threadsafe(task.cancel)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Closes all connections."""
        await super().shutdown(sockets)
        if self.force_exit:  # otherwise uvicorn cancels the application, which prints a traceback
            await self.lifespan.shutdown()
            await asyncio.sleep(0.1)  # as long as uvicorn waits for connections to close
        self.unsent = len(self.server_state.connections)


def warm_up(model: ExportedModel, threads: int) -> None:
    """Runs each signature once: the first run takes seconds."""
    examples = {"text": b"a", "image": _picture(), "audio": _silence()}

    def run(name: str) -> None:
        # An export may refuse the example; its graph has run nevertheless.
        with contextlib.suppress(RequestError):
            model.predict(
                name, {argument: [examples[model.kind(name, argument)]] for argument in model.signatures[name]}
            )

    with ThreadPoolExecutor(threads) as pool, suppress_stderr():
        list(pool.map(run, model.signatures))


def _bind(address: Address) -> socket.socket:
    try:
        family, kind, protocol, _, socket_address = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM
        )[0]
        with contextlib.ExitStack() as undo:
            listening = undo.enter_context(socket.socket(family, kind, protocol))
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(socket_address)
            undo.pop_all()
    except (OSError, UnicodeError) as e:  # UnicodeError: a host name that DNS does not allow
        reason = getattr(e, "strerror", None) or e
        raise UserError(f"--host={address.host} --port={address.port}: cannot listen on it: {reason}") from e
    return listening


def _picture() -> bytes:
    import tensorflow as tf

    return tf.io.encode_png(tf.zeros([32, 32, 3], tf.uint8)).numpy()


def _silence() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(16_000)
        sound.writeframes(bytes(16_000))
    return file.getvalue()


def _print(text: str) -> None:
    print(f"t2t-server: {text}", file=sys.stderr, flush=True)

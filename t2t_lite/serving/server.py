"""Runs the server: loads the model, listens, and ends in good order."""

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

_BACKLOG = 2048  # connections that wait to be accepted
_CONNECTIONS = 512  # at once; requests on more are 503. Systems allow a process 1024 open files


@dataclass(frozen=True)
class Address:
    """Where to listen; port 0: any that is free."""

    host: str = "127.0.0.1"
    port: int = 8501


def serve(export_dir: Path, address: Address, limits: Limits, plan: BatchPlan) -> None:
    """Serves an export until SIGTERM or Ctrl-C, then answers what it has taken in and returns.

    Raises:
      UserError: the folder is no export, the address cannot be had, or not every request was answered in the end.
    """
    with _bind(address) as listening:
        model = ExportedModel(export_dir)
        _say(f"{model.name}, step {model.version}: {len(model.about['problems'])} problems; first answers ...")
        warm_up(model, plan.threads)
        app = make_app(model, limits, plan)
        config = uvicorn.Config(
            app,
            http="h11",
            log_level="error",  # warnings tell of clients' broken HTTP
            access_log=False,
            server_header=False,
            ws="none",
            lifespan="on",
            backlog=_BACKLOG,
            limit_concurrency=_CONNECTIONS,
            timeout_graceful_shutdown=int(2 * limits.answer_seconds) + 5,  # a body may take as long as its answer
        )
        # uvicorn ends in good order at the first signal and then raises it again, for these handlers.
        for one in (signal.SIGTERM, signal.SIGINT):
            signal.signal(one, lambda *_: None)
        listening.listen(_BACKLOG)
        host, port = listening.getsockname()[:2]
        _say(f"http://{f'[{host}]' if ':' in host else host}:{port}/ is ready; Ctrl-C ends it")
        server = _Uvicorn(config)
        server.run(sockets=[listening])
    if count := app.cut_off + server.unsent:
        raise UserError(f"ended; of the requests taken in, {count} {'was' if count == 1 else 'were'} cut off")
    _say("ended; every request was answered")


class _Uvicorn(uvicorn.Server):
    """Ends in good order also where a second Ctrl-C cuts off what is being answered.

    Attributes:
      unsent: connections whose answers nobody took until the end.
    """

    unsent = 0

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Takes a signal."""
        super().handle_exit(sig, frame)
        if self.force_exit:
            for task in list(self.server_state.tasks):
                task.get_loop().call_soon_threadsafe(task.cancel)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Ends what there is."""
        await super().shutdown(sockets)
        if self.force_exit:  # uvicorn would let the application be cancelled, which tells so with a traceback
            await self.lifespan.shutdown()
            await asyncio.sleep(0.1)  # as uvicorn waits for connections to close
        self.unsent = len(self.server_state.connections)


def warm_up(model: ExportedModel, threads: int) -> None:
    """Has each signature answer once, since the first answer takes seconds."""
    examples = {"text": b"a", "image": _picture(), "audio": _silence()}

    def answer(name: str) -> None:
        values = {"inputs": examples[model.kind(name)], "outputs": b"a"}
        # An export may refuse the example: that it was tried is enough.
        with contextlib.suppress(RequestError):
            model.predict(name, {argument: [values[argument]] for argument in model.signatures[name]})

    with ThreadPoolExecutor(threads) as pool, suppress_stderr():
        list(pool.map(answer, model.signatures))


def _bind(address: Address) -> socket.socket:
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, place = found[0]
        with contextlib.ExitStack() as undo:
            listening = undo.enter_context(socket.socket(family, kind, protocol))
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(place)
            undo.pop_all()
    except OSError as e:
        raise UserError(f"--host={address.host} --port={address.port}: cannot listen there: {e.strerror or e}") from e
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


def _say(text: str) -> None:
    print(f"t2t-server: {text}", file=sys.stderr, flush=True)

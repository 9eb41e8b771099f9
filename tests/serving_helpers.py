"""Helpers for the server's tests: a server in this process, requests to it, and sample inputs."""

import base64
import contextlib
import http.client
import io
import json
import threading
import time
import wave

import numpy as np
import uvicorn

from t2t_lite.serving.app import make_app
from t2t_lite.serving.batching import BatchPlan
from t2t_lite.serving.limits import Limits

MODEL = "/v1/models/multi_model"
PREDICT = f"{MODEL}:predict"


@contextlib.contextmanager
def running(model, limits=None, plan=None, port=0):
    """Runs a server of this model in a thread. Yields its port."""
    app = make_app(model, limits or Limits(), plan or BatchPlan())
    server = uvicorn.Server(
        uvicorn.Config(app, port=port, log_config=None, log_level="error", lifespan="on", ws="none")
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(30)


def ask(port, method, path, body=None, headers=None):
    """Sends a request. Returns the status, the parsed JSON (or the bytes) and the headers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body.encode() if isinstance(body, str) else body, headers or {})
        response = connection.getresponse()
        content = response.read()
        if response.headers.get("content-type") == "application/json":
            content = json.loads(content)
        return response.status, content, response.headers
    finally:
        connection.close()


def predict(port, signature, *instances):
    """Sends a predict request by rows. Returns the status and the parsed JSON."""
    body = json.dumps({"signature_name": signature, "instances": instances})
    return ask(port, "POST", PREDICT, body)[:2]


def b64(content):
    return {"b64": base64.b64encode(content).decode()}


def png(colour, rows=8, columns=8):
    """Returns a PNG picture of one colour."""
    import PIL.Image

    file = io.BytesIO()
    PIL.Image.new("RGB", (columns, rows), colour).save(file, "PNG")
    return file.getvalue()


def jpeg(colour, rows=8, columns=8):
    import PIL.Image

    file = io.BytesIO()
    PIL.Image.new("RGB", (columns, rows), colour).save(file, "JPEG")
    return file.getvalue()


def wav(samples, rate=8000, pitch=440.0):
    """Returns a WAV file of one tone."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        tone = 8000 * np.sin(2 * np.pi * pitch * np.arange(samples) / rate)
        sound.writeframes(tone.astype("<i2").tobytes())
    return file.getvalue()

"""Load test of t2t-server: many concurrent clients; each answer is compared with that given without other load.

    python benchmarks/serving.py [--export_dir=export] [--clients=64] [--seconds=20] [--port=N]

Takes an export of any of microworld's problems; by default the packaged demo model, or if there is none an untrained
multimodel_tiny, whose answers are cut after 12 tokens. Starts a server and sends it each input once with no other load.
Then all clients send inputs at once, each its next request when it has the answer to the last. Exits with status 1 if
an answer was wrong or a request was refused or lost.
"""

import argparse
import base64
import collections
import concurrent.futures
import http.client
import io
import itertools
import json
import random
import re
import signal
import subprocess
import sys
import threading
import time
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from first_step import command, make_data, trained_run
from measure import Result, Row, add_flags, product, product_name, report, shared_folder

SCORE_TOLERANCE = 1e-3  # nats: float sums depend on the batch


def dev_inputs(name: str, count: int) -> list[object]:
    """The first inputs of a problem's dev split, as values of the REST format."""
    from t2t_lite.problems.problem import get_problem

    problem = get_problem(name)
    items = itertools.islice(problem.examples("dev", Path()), count)
    return [_value(problem.convert(item)["inputs"]) for item in items]


def _value(raw: object) -> object:
    """A text as it is; an image or a sound as a base64-encoded file."""
    if isinstance(raw, str):
        return raw
    array = raw()
    content = _png(array) if array.ndim == 3 else _wav(array)
    return {"b64": base64.b64encode(content).decode()}


def _png(pixels: np.ndarray) -> bytes:
    import PIL.Image

    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def _wav(samples: np.ndarray, rate: int = 8000) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes((samples * 32767).astype("<i2").tobytes())
    return file.getvalue()


class Client:
    """A client with one persistent connection."""

    def __init__(self, port: int, model: str):
        self._path = f"/v1/models/{model}:predict"
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)

    def predict(self, request: tuple[str, object]) -> tuple[int, dict]:
        signature, value = request
        self._connection.request(
            "POST", self._path, json.dumps({"signature_name": signature, "instances": [value]}).encode()
        )
        response = self._connection.getresponse()
        return response.status, json.loads(response.read())


def same(one: dict, other: dict) -> bool:
    """Whether two answers are equal; scores may differ by SCORE_TOLERANCE."""
    scores = zip(one["scores"], other["scores"], strict=True)
    near = all(a == b or (a is not None and b is not None and abs(a - b) < SCORE_TOLERANCE) for a, b in scores)
    return near and all(one[key] == other[key] for key in ("outputs", "cut", "too_long"))


class Load:
    """The state shared by all clients: requests, expected answers, latencies and errors."""

    def __init__(self, port: int, model: str, requests: list[tuple[str, object]], expected: list[dict]):
        self.port, self.model, self.requests, self.expected = port, model, requests, expected
        self.end = float("inf")
        self.seconds: dict[str, list[float]] = collections.defaultdict(list)
        self.errors: list[str] = []
        self._lock = threading.Lock()

    def client(self, seed: int) -> None:
        """Sends one request after the other until `end`."""
        rng, client = random.Random(seed), Client(self.port, self.model)
        while time.perf_counter() < self.end:
            i = rng.randrange(len(self.requests))
            name = self.requests[i][0]
            start = time.perf_counter()
            try:
                status, answer = client.predict(self.requests[i])
            except (OSError, http.client.HTTPException) as e:
                self._add_error(f"lost: {name}: {type(e).__name__}: {e}")
                client = Client(self.port, self.model)
                continue
            latency = time.perf_counter() - start
            if status != 200:
                self._add_error(f"refused: {name}: {status} {answer}")
            elif not same(answer["predictions"][0], self.expected[i]):
                self._add_error(
                    f"wrong: {self.requests[i]}: {answer['predictions'][0]}, expected {self.expected[i]}"[:2000]
                )
            with self._lock:
                self.seconds[name].append(latency)

    def _add_error(self, text: str) -> None:
        with self._lock:
            self.errors.append(text)


def percentiles(seconds: list[float]) -> str:
    """The 50th, 90th, 95th, 99th and 100th percentile in milliseconds."""
    return " ".join(f"{1000 * value:8.0f}" for value in np.percentile(seconds, [50, 90, 95, 99, 100]))


def start(export_dir: str, port: int) -> tuple[subprocess.Popen, int]:
    """Starts a server; returns its process and port."""
    command = [sys.executable, "-m", "t2t_lite.bin.server", f"--export_dir={export_dir}", f"--port={port}"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        print(line, end="")
        if ready := re.search(r":(\d+)/ is ready", line):
            threading.Thread(target=lambda: [print(line, end="") for line in process.stderr], daemon=True).start()
            return process, int(ready[1])
    sys.exit("the server did not start")


def metric(port: int, name: str) -> float:
    """A Prometheus metric of the server, summed over its labels."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    return sum(map(float, re.findall(rf"^{name}(?:{{.*}})? (.*)$", text, re.MULTILINE)))


def predict_alone(client: Client, requests: list[tuple[str, object]]) -> tuple[list[dict], dict[str, list[float]]]:
    """The answer to each request without other load, and each problem's latencies in seconds."""
    expected, seconds = [], collections.defaultdict(list)
    for request in requests:
        start_time = time.perf_counter()
        status, answer = client.predict(request)
        seconds[request[0]].append(time.perf_counter() - start_time)
        assert status == 200, answer
        expected.append(answer["predictions"][0])
    return expected, seconds


def load_test(export_dir: Path, clients: int, duration: float, inputs: int, port: int = 0) -> tuple[float, Load]:
    """Prints the figures; returns answers a second, and the load with its errors."""
    about = json.loads((export_dir / "export.json").read_text())
    requests = [(name, value) for name in about["problems"] for value in dev_inputs(name, inputs)]
    process, port = start(str(export_dir), port)
    try:
        expected, seconds_alone = predict_alone(Client(port, about["name"]), requests)
        names = ("t2t_batch_rows_sum", "t2t_batch_rows_count", "process_cpu_seconds_total")
        before = [metric(port, name) for name in names]
        load = Load(port, about["name"], requests, expected)
        with concurrent.futures.ThreadPoolExecutor(clients) as pool:
            start_time = time.perf_counter()
            load.end = start_time + duration
            list(pool.map(load.client, range(clients)))
            elapsed = time.perf_counter() - start_time
        rows, batches, cpu = (metric(port, name) - value for name, value in zip(names, before, strict=True))
        memory = metric(port, "process_resident_memory_bytes")
        process.send_signal(signal.SIGTERM)
        status = process.wait(60)
    finally:
        process.kill()
    if status:
        load.errors.append(f"the server ended with status {status}")
    everything = [latency for latencies in load.seconds.values() for latency in latencies]
    rate = len(everything) / elapsed
    print(f"{len(everything):,} answers to {clients} clients in {elapsed:.0f} s: {rate:.0f} per second")
    print(f"{rows / batches:.1f} inputs per batch, {1000 * cpu / rows:.0f} ms of CPU time per input, ", end="")
    print(f"{memory / 2**20:,.0f} MiB; the server ended with status {status}")
    print("milliseconds             alone 50%  |     50%      90%      95%      99%      all")
    for name, seconds in load.seconds.items():
        print(f"{name:24} {1000 * np.median(seconds_alone[name]):9.0f}  | {percentiles(seconds)}")
    print(f"{'all':24} {'':9}  | {percentiles(everything)}")
    print(f"wrong, refused or lost: {len(load.errors)}")
    print("\n".join(load.errors[:5]))
    return rate, load


def untrained_export(folder: Path, size: str) -> Path:
    """Exports the run of first_step.py, which it makes unless the folder has it."""
    if not (folder / "run").exists():
        make_data(folder, size)
        trained_run(folder, size)
    export = folder / "export"
    flags = [f"--output_dir={folder / 'run'}", f"--export_dir={export}", "--decode_hparams=max_length=12"]
    subprocess.run(command("exporter", folder, *flags), check=True, capture_output=True)
    return export


def rows(size: str) -> Iterator[Result]:
    from t2t_lite import api
    from t2t_lite.errors import UserError

    clients, duration, inputs = (64, 20.0, 10) if size == "full" else (4, 1.0, 2)
    try:
        export, model = api.demo_dir(), "the packaged demo model"
        yield from _rows(size, export, model, clients, duration, inputs)
    except UserError:
        with shared_folder() as folder:
            export, model = untrained_export(folder, size), "an untrained multimodel_tiny, answers of 12 tokens"
            yield from _rows(size, export, model, clients, duration, inputs)


def _rows(size: str, export: Path, model: str, clients: int, duration: float, inputs: int) -> Iterator[Result]:
    speed = product(size)  # before there is any load
    rate, load = load_test(export, clients, duration, inputs)
    if load.errors:
        sys.exit(f"{len(load.errors)} answers were wrong, refused or lost")
    yield Row(
        f"served answers, {clients} clients, all eight problems, {model}",
        rate,
        "answers/s",
        f"answers in the time of a {product_name(size)}",
        rate * speed.best,
        speed.spread,
        250,
        more_is_better=True,
        target_unit="answers/s",
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser()
    add_flags(parser)
    parser.add_argument("--export_dir", type=Path)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--inputs", type=int, default=10, help="different inputs of each problem")
    parser.add_argument("--port", type=int, default=0)
    flags = parser.parse_args(arguments)
    if flags.export_dir:
        _, load = load_test(flags.export_dir, flags.clients, flags.seconds, flags.inputs, flags.port)
        return 1 if load.errors else 0
    report(rows("tiny" if flags.tiny else "full"), flags.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())

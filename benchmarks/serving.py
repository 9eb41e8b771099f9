"""Load on t2t-server: many clients at once for a minute, each answer checked against the one computed beforehand.

    python benchmarks/serving.py --export_dir=export [--clients=64] [--seconds=60] [--port=N]

Takes an export of any of microworld's problems. Starts a server of its own, asks it each question once and alone, then
from all clients together, each of which asks the next when it has its answer. Exit status 1 if an answer was wrong or a
request refused or lost."""

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
from pathlib import Path

import numpy as np

QUESTIONS = 20  # a problem
CLOSE = 1e-3  # nats: sums of floats depend on the batch


def questions(name: str, count: int) -> list[object]:
    """Inputs of a problem's dev split, as values of the REST format."""
    from t2t_lite.problems.problem import get_problem

    problem = get_problem(name)
    items = itertools.islice(problem.examples("dev", Path()), count)
    return [_value(problem.convert(item)["inputs"]) for item in items]


def _value(raw: object) -> object:
    """A text as it is; what draws a picture or says a sentence as a file in base64."""
    if isinstance(raw, str):
        return raw
    made = raw()
    content = _png(made) if made.ndim == 3 else _wav(made)
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
    """One connection that is kept."""

    def __init__(self, port: int, model: str):
        self._path = f"/v1/models/{model}:predict"
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)

    def ask(self, question: tuple[str, object]) -> tuple[int, dict]:
        signature, value = question
        self._connection.request(
            "POST", self._path, json.dumps({"signature_name": signature, "instances": [value]}).encode()
        )
        response = self._connection.getresponse()
        return response.status, json.loads(response.read())


def same(one: dict, other: dict) -> bool:
    """Whether two answers agree: texts exactly, scores nearly."""
    scores = zip(one["scores"], other["scores"], strict=True)
    near = all(a == b or (a is not None and b is not None and abs(a - b) < CLOSE) for a, b in scores)
    return near and all(one[key] == other[key] for key in ("outputs", "cut", "too_long"))


class Load:
    """What the clients share."""

    def __init__(self, port: int, model: str, asked: list[tuple[str, object]], expected: list[dict]):
        self.port, self.model, self.asked, self.expected = port, model, asked, expected
        self.end = float("inf")
        self.seconds: dict[str, list[float]] = collections.defaultdict(list)
        self.troubles: list[str] = []
        self._lock = threading.Lock()

    def client(self, seed: int) -> None:
        """Asks one question after the other until the time is over."""
        rng, client = random.Random(seed), Client(self.port, self.model)
        while time.perf_counter() < self.end:
            i = rng.randrange(len(self.asked))
            start = time.perf_counter()
            try:
                status, answer = client.ask(self.asked[i])
            except (OSError, http.client.HTTPException) as e:
                self._note(f"lost: {self.asked[i][0]}: {type(e).__name__}: {e}")
                client = Client(self.port, self.model)
                continue
            took = time.perf_counter() - start
            if status != 200:
                self._note(f"refused: {self.asked[i][0]}: {status} {answer}")
            elif not same(answer["predictions"][0], self.expected[i]):
                self._note(f"wrong: {self.asked[i]}: {answer['predictions'][0]} for {self.expected[i]}"[:2000])
            with self._lock:
                self.seconds[self.asked[i][0]].append(took)

    def _note(self, text: str) -> None:
        with self._lock:
            self.troubles.append(text)


def percentiles(seconds: list[float]) -> str:
    """Milliseconds."""
    return " ".join(f"{1000 * value:8.0f}" for value in np.percentile(seconds, [50, 90, 95, 99, 100]))


def start(export_dir: str, port: int) -> tuple[subprocess.Popen, int]:
    """A server's process and its port."""
    command = [sys.executable, "-m", "t2t_lite.bin.server", f"--export_dir={export_dir}", f"--port={port}"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        print(line, end="")
        if found := re.search(r":(\d+)/ is ready", line):
            threading.Thread(target=lambda: [print(line, end="") for line in process.stderr], daemon=True).start()
            return process, int(found[1])
    sys.exit("the server did not start")


def metric(port: int, name: str) -> float:
    """A figure of the server's own, summed over its labels."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    return sum(map(float, re.findall(rf"^{name}(?:{{.*}})? (.*)$", text, re.MULTILINE)))


def lock_folder(client: Client, asked: list[tuple[str, object]]) -> tuple[list[dict], dict[str, list[float]]]:
    """The answer to each question while nobody else asks, and the seconds of each problem's."""
    expected, seconds = [], collections.defaultdict(list)
    for question in asked:
        began = time.perf_counter()
        status, answer = client.ask(question)
        seconds[question[0]].append(time.perf_counter() - began)
        assert status == 200, answer
        expected.append(answer["predictions"][0])
    return expected, seconds


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--export_dir", required=True)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--port", type=int, default=0)
    flags = parser.parse_args()
    about = json.loads((Path(flags.export_dir) / "export.json").read_text())
    asked = [(name, value) for name in about["problems"] for value in questions(name, QUESTIONS)]
    process, port = start(flags.export_dir, flags.port)
    try:
        expected, seconds_alone = lock_folder(Client(port, about["name"]), asked)
        names = ("t2t_batch_rows_sum", "t2t_batch_rows_count", "process_cpu_seconds_total")
        before = [metric(port, name) for name in names]
        load = Load(port, about["name"], asked, expected)
        with concurrent.futures.ThreadPoolExecutor(flags.clients) as pool:
            began = time.perf_counter()
            load.end = began + flags.seconds
            list(pool.map(load.client, range(flags.clients)))
            took = time.perf_counter() - began
        rows, batches, cpu = (metric(port, name) - value for name, value in zip(names, before, strict=True))
        memory = metric(port, "process_resident_memory_bytes")
        process.send_signal(signal.SIGTERM)
        status = process.wait(60)
    finally:
        process.kill()
    everything = [second for some in load.seconds.values() for second in some]
    print(
        f"{len(everything):,} answers to {flags.clients} clients in {took:.0f} s: {len(everything) / took:.0f} a second"
    )
    print(f"{rows / batches:.1f} inputs a batch, {1000 * cpu / rows:.0f} ms of processor time an input, ", end="")
    print(f"{memory / 2**20:,.0f} MiB; the server ended with status {status}")
    print("milliseconds             alone 50%  |     50%      90%      95%      99%      all")
    for name, seconds in load.seconds.items():
        print(f"{name:24} {1000 * np.median(seconds_alone[name]):9.0f}  | {percentiles(seconds)}")
    print(f"{'all':24} {'':9}  | {percentiles(everything)}")
    print(f"wrong, refused or lost: {len(load.troubles)}")
    print("\n".join(load.troubles[:5]))
    return 1 if load.troubles or status else 0


if __name__ == "__main__":
    sys.exit(main())

"""Sends random bad requests to a server of an export with microworld's signatures.

    python tests/bad_requests.py PORT [COUNT] [SEED]

Every response must be a 4xx with one line of JSON, or a prediction if the random request happens to be valid."""

import base64
import collections
import contextlib
import http.client
import json
import random
import socket
import string
import sys

from serving_helpers import MODEL, PREDICT, ask, b64, jpeg, png, wav

TEXT, IMAGE, AUDIO = "microworld_ende", "microworld_image", "microworld_speech"
SIGNATURES = [TEXT, IMAGE, AUDIO, "microworld_caption", "microworld_parsing", f"{TEXT}/attention", f"{AUDIO}/attention"]
KEYS = ["signature_name", "instances", "inputs", "outputs", "b64", "signature_def", "", "__class__", "ü"]
NUMBERS = [0, -1, 1.5, 10**30, -0.0, 1e308, True, False, None]
ALPHABET = string.printable + "äß€𝄞\u0000\u202e\ufeff\u2028"
PATHS = [
    *("/", "/page.js", "/about", "/healthz", "/metrics", "/..%2f..%2fetc/passwd", "/%00", "//", "/page.js/", "/%ff%fe"),
    *(MODEL, f"{MODEL}/metadata", f"{MODEL}/versions/0", f"{MODEL}/labels/x", PREDICT, f"{MODEL}:regress", f"{MODEL}:"),
    *("/v1/models", "/v1/models/", "/v1/models/:predict", "/v2/models/multi_model/infer", f"{MODEL}/versions/:predict"),
]
METHODS = ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "CONNECT", "NONSENSE", "get"]
HEADERS = {
    "Content-Type": ["application/json", "text/html", "multipart/form-data; boundary=x", "é", ""],
    "Content-Encoding": ["gzip", "identity", "br", "x" * 500],
    "Range": ["bytes=0-1", "bytes=9-1", "x"],
    "Host": ["", "evil.example", "x" * 1000],
    "Accept-Encoding": ["*", "gzip"],
    "Upgrade": ["websocket", "h2c"],
    "X-Long": ["y" * 10_000],
}
BROKEN = [
    b"",
    b"\r\n\r\n",
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 3000 + b"\r\n",
    b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST " + PREDICT.encode() + b" HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    b"POST " + PREDICT.encode() + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nContent-Length: 8\r\n\r\n{}",
    b"POST " + PREDICT.encode() + b" HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    b"POST " + PREDICT.encode() + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{",  # then hangs up
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
]


class Wrong(AssertionError):
    """A response that a server must not give."""


def attack(port: int, count: int, seed: int) -> collections.Counter:
    """Sends bad requests, one after the other.

    Returns:
      {status: the number of responses with it}.

    Raises:
      Wrong: a response is a 5xx, an error that is not one line of JSON, or shows the server's internals.
    """
    rng = random.Random(seed)
    statuses: collections.Counter = collections.Counter()
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        for i in range(count):
            if rng.random() < 0.05:
                statuses[_send_raw(port, _broken(rng))] += 1
                continue
            method, path, body, headers = _request(rng)
            try:
                connection.request(method, path, body, headers)
                response = connection.getresponse()
                content = response.read()
            except (http.client.HTTPException, OSError) as e:
                connection.close()
                if ask(port, "GET", "/healthz")[0] != 200:
                    raise Wrong(f"request {i}: the server is down after {method} {path} {body!r:.500}: {e}") from e
                statuses[type(e).__name__] += 1
                continue
            statuses[response.status] += 1
            _check(method, response.status, content, f"request {i}: {method} {path} {headers} {body!r:.2000}")
    return statuses


def _check(method, status, content, what):
    if status >= 500 or b"Traceback" in content or b'File "' in content:
        raise Wrong(f"{status} {content!r:.500} for {what}")
    if status >= 400 and method != "HEAD" and content != b"Invalid HTTP request received.":
        error = json.loads(content)["error"]
        if not isinstance(error, str) or "\n" in error or len(error) > 1000:
            raise Wrong(f"{status} {content!r:.500} for {what}")
    if status == 200 and b'"predictions"' in content:
        json.loads(content)


def _request(rng):
    kind = rng.randrange(6)
    headers = {name: rng.choice(values) for name, values in HEADERS.items() if rng.random() < 0.05}
    headers = {name: value.encode("utf8") for name, value in headers.items()}
    if kind == 0:
        return rng.choice(METHODS), rng.choice(PATHS), rng.choice([None, b"", b"{}", rng.randbytes(20)]), headers
    if kind == 1:
        body = json.dumps(_value(rng, 4)).encode()
    elif kind == 2:
        body = json.dumps(_mutated(rng, _good(rng))).encode()
    elif kind == 3:
        body = _flipped(rng, json.dumps(_good(rng)).encode())
    elif kind == 4:
        content = _flipped(rng, rng.choice([png("red"), jpeg("blue", 30, 20), wav(200)]))
        body = json.dumps({"signature_name": rng.choice(SIGNATURES), "instances": [b64(content)]}).encode()
    else:
        body = rng.choice(
            [b"[" * rng.randrange(100_000), b'{"a":' * 5000, rng.randbytes(rng.randrange(300)), b"9" * 5000]
        )
    return "POST", PREDICT, body, headers


def _good(rng):
    signature = rng.choice(SIGNATURES)
    kinds = {"image": png("red"), "caption": jpeg("lime"), "speech": wav(300)}
    content = kinds.get(signature.removeprefix("microworld_").removesuffix("/attention"))
    value = _text(rng) if content is None else b64(content)
    row = {"inputs": value, "outputs": _text(rng)} if signature.endswith("/attention") else {"inputs": value}
    if rng.random() < 0.5:
        return {"signature_name": signature, "instances": [row] * rng.randint(1, 3)}
    return {"signature_name": signature, "inputs": {name: [value] for name, value in row.items()}}


def _text(rng):
    return "".join(rng.choices(ALPHABET, k=int(10 ** rng.uniform(0, 3.5))))


def _value(rng, depth):
    kind = rng.randrange(6 if depth else 3)
    if kind < 2:
        return rng.choice(NUMBERS)
    if kind == 2:
        return rng.choice([_text(rng), "", "\ud800", base64.b64encode(rng.randbytes(9)).decode(), "microworld_ende"])
    if kind == 3:
        return [_value(rng, depth - 1) for _ in range(rng.choice([0, 1, 2, 100]))]
    return {rng.choice(KEYS): _value(rng, depth - 1) for _ in range(rng.randrange(4))}


def _mutated(rng, value):
    """Returns the value with one part replaced, removed or renamed."""
    if not isinstance(value, dict | list) or not value or rng.random() < 0.3:
        return _value(rng, 2)
    if isinstance(value, list):
        i = rng.randrange(len(value))
        return [*value[:i], _mutated(rng, value[i]), *value[i + 1 :]]
    key = rng.choice(list(value))
    rest = {name: item for name, item in value.items() if name != key}
    if rng.random() < 0.2:
        return rest
    return {**rest, rng.choice(KEYS) if rng.random() < 0.3 else key: _mutated(rng, value[key])}


def _flipped(rng, content):
    """Returns the bytes with some changed, and perhaps truncated."""
    changed = bytearray(content)
    for _ in range(rng.randrange(5)):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed[: rng.randrange(len(changed))] if rng.random() < 0.4 else changed)


def _broken(rng):
    return _flipped(rng, content) if (content := rng.choice(BROKEN)) and rng.random() < 0.3 else content


def _send_raw(port, content):
    """Sends bytes that are not a complete request. Returns the status, or "none" if there is no response."""
    with socket.create_connection(("127.0.0.1", port), 10) as raw:
        raw.settimeout(0.2)
        try:
            raw.sendall(content)
            raw.shutdown(socket.SHUT_WR)
            answer = raw.recv(65536)
        except OSError:
            return "none"
    if not answer:
        return "none"
    status = int(answer.split(b" ", 2)[1])
    _check("HEAD", status, answer, content[:200])
    return status


if __name__ == "__main__":
    port, count, seed = (int(text) for text in [*sys.argv[1:], "5000", "0"][:3])
    for status, times in sorted(attack(port, count, seed).items(), key=str):
        print(f"{status}: {times}")

"""t2t-server: its responses, its errors, its limits, batching and shutdown."""

import concurrent.futures
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.request

import pytest
from serving_helpers import MODEL, PREDICT, ask, b64, jpeg, png, predict, running, wav

from t2t_lite.bin import server
from t2t_lite.errors import UserError
from t2t_lite.serving.batching import BatchPlan
from t2t_lite.serving.input_checks import check_input
from t2t_lite.serving.limits import Limits, RequestError
from t2t_lite.serving.model import ExportedModel
from t2t_lite.serving.server import Address, serve

SLOW = "slow 20000"  # computing it takes more than a second

# Runs the server in a process that lacks the packages which only the other commands need.
BARE = """
import sys
for name in "sentencepiece PIL soundfile gin sacrebleu jiwer tensorflow_datasets".split():
    sys.modules[name] = None
from t2t_lite.bin.server import main
sys.exit(main())
"""


@pytest.fixture(scope="module")
def model(fake_export):
    return ExportedModel(fake_export)


@pytest.fixture(scope="module")
def port(model):
    with running(model) as port:
        yield port


def test_rows_are_answered_by_rows(port):
    status, answer = predict(port, "microworld_ende", "A cat.", {"inputs": "Zwölf"}, b64(b"x"), {"inputs": b64(b"y")})
    assert status == 200
    rows = answer["predictions"]
    assert [row["outputs"] for row in rows] == [
        ["de: A CAT.", "de: a cat."], ["de: ZWÖLF", "de: zwölf"], ["de: X", "de: x"], ["de: Y", "de: y"]
    ]  # fmt: skip
    scores, no = [-4 - 6 / 64, -5 - 6 / 64], [False, False]
    assert rows[0] == {"outputs": ["de: A CAT.", "de: a cat."], "scores": scores, "cut": no, "too_long": False}


def test_columns_are_answered_by_columns(port):
    for inputs in (["a", "b"], {"inputs": ["a", b64(b"b")]}):
        body = json.dumps({"signature_name": "microworld_enfr", "inputs": inputs})
        status, answer, headers = ask(port, "POST", f"{MODEL}/versions/7:predict", body)
        assert status == 200
        assert answer["outputs"]["outputs"] == [["fr: A", "fr: a"], ["fr: B", "fr: b"]]
        assert answer["outputs"]["too_long"] == [False, False]
        assert re.fullmatch(r"wait;dur=[\d.]+, model;dur=[\d.]+", headers["server-timing"])


def test_pictures_and_sounds(port):
    status, answer = predict(port, "microworld_image", b64(png("red")), b64(jpeg("blue")))
    assert status == 200
    assert [row["outputs"][0] for row in answer["predictions"]] == ["red", "blue"]
    assert predict(port, "microworld_caption", b64(png("lime")))[1]["predictions"][0]["outputs"][0] == "mean 0 255 0"
    status, answer = predict(port, "microworld_speech", b64(wav(1234)))
    assert (status, answer["predictions"][0]["outputs"][0]) == (200, "1234 samples were heard")


def test_attention_of_each_row_has_its_own_shape(port):
    rows = [{"inputs": "a b", "outputs": "A B C"}, {"inputs": "a", "outputs": "A"}]
    status, answer = predict(port, "microworld_ende/attention", *rows)
    assert status == 200
    first, second = answer["predictions"]
    assert (first["input_pieces"], first["output_pieces"]) == (["a", "b"], ["A", "B", "C"])
    assert [len(row) for row in first["weights"]] == [2, 2, 2]
    assert second == {"input_pieces": ["a"], "output_pieces": ["A"], "weights": [[1.0]]}
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    body = json.dumps({"signature_name": "microworld_ende/attention", "inputs": columns})
    padded = ask(port, "POST", PREDICT, body)[1]["outputs"]
    assert padded["output_pieces"] == [["A", "B", "C"], ["A", "", ""]]
    assert padded["weights"][1] == [[1, 0], [0, 0], [0, 0]]


def test_status_and_metadata_are_those_of_tensorflow_serving(port):
    available = {"version": "7", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    for path in (MODEL, f"{MODEL}/versions/7"):
        assert ask(port, "GET", path)[:2] == (200, {"model_version_status": [available]})
        status, answer, _ = ask(port, "GET", f"{path}/metadata")
        assert status == 200
        assert answer["model_spec"] == {"name": "multi_model", "signature_name": "", "version": "7"}
        signature = answer["metadata"]["signature_def"]["signature_def"]["microworld_ende"]
        assert signature["method_name"] == "tensorflow/serving/predict"
        assert signature["inputs"]["inputs"]["dtype"] == "DT_STRING"
        assert signature["inputs"]["inputs"]["tensor_shape"] == {
            "dim": [{"size": "-1", "name": ""}],
            "unknown_rank": False,
        }
        assert set(signature["outputs"]) == {"outputs", "scores", "cut", "too_long"}


def test_health_page_and_about(port):
    assert ask(port, "GET", "/healthz")[:2] == (200, {"status": "ok"})
    status, page, headers = ask(port, "GET", "/")
    assert status == 200 and page.startswith(b"<!doctype html>")
    assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
    about = ask(port, "GET", "/about")[1]
    assert about["problems"]["microworld_speech"]["sample_rate"] == 8000
    assert about["limits"]["body_bytes"] == 8 << 20


@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [
        ("GET", "/v1/models/other", 404, "no model 'other'; this server has 'multi_model'"),
        ("POST", "/v1/models/other:predict", 404, "no model 'other'"),
        ("GET", f"{MODEL}/versions/8", 404, "no version '8'; this server has 7"),
        ("POST", f"{MODEL}/versions/8:predict", 404, "no version '8'"),
        ("GET", PREDICT, 405, "':predict' takes POST"),
        ("POST", f"{MODEL}:classify", 404, "no method ':classify'"),
        ("POST", MODEL, 405, "this path does not take POST"),
        ("GET", "/v1/models/multi_model/", 404, "no such path"),
        ("GET", "/../setup.py", 404, "no such path"),
        ("GET", "/%00", 404, "no such path"),
    ],
)
def test_unknown_paths_and_methods(port, method, path, status, text):
    got, answer, headers = ask(port, method, path, b"{}" if method == "POST" else None)
    assert got == status
    assert text in answer["error"]
    assert headers["x-content-type-options"] == "nosniff"
    if status == 405:
        assert headers["allow"]


ENDE = '"signature_name": "microworld_ende"'


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("", "not JSON"),
        ("{", "not JSON: "),
        (b"\xff\xfe\x00", "not JSON"),
        ("[" * 100_000, "nested too deeply"),
        ("[1]", "must be a JSON object"),
        ("{}", "give either 'instances' (rows) or 'inputs' (columns)"),
        ('{"instances": ["a"], "inputs": ["a"]}', "give either"),
        ('{"instances": ["a"]}', "'signature_name' is required"),
        ('{"signature": "x", "instances": ["a"]}', "unknown key 'signature'; did you mean 'signature_name'?"),
        ('{"signature_name": "microworld_end", "instances": ["a"]}', "did you mean 'microworld_ende'?"),
        ('{"signature_name": ["x"], "instances": ["a"]}', "unknown signature_name ['x']"),
        (f'{{{ENDE}, "instances": []}}', "a list of at least one"),
        (f'{{{ENDE}, "instances": "a"}}', "a list of at least one"),
        (f'{{{ENDE}, "instances": [1]}}', 'instances[0] must be a string or {"b64": "..."}'),
        (f'{{{ENDE}, "instances": ["a", null]}}', "instances[1] must be a string"),
        (
            f'{{{ENDE}, "instances": [{{"b64": "a?"}}]}}',
            "instances[0]: not base64: '?' at position 2 is not in its alphabet",
        ),
        (f'{{{ENDE}, "instances": [{{"b64": 1}}]}}', "instances[0] must be a string"),
        (f'{{{ENDE}, "instances": [{{"input": "a"}}]}}', "unknown key 'input'; did you mean 'inputs'?"),
        (f'{{{ENDE}, "instances": [{{}}]}}', "instances[0]: 'inputs' is missing"),
        (f'{{{ENDE}, "instances": ["\\ud800"]}}', "a lone surrogate is not a character"),
        (f'{{{ENDE}, "inputs": "a"}}', "inputs.inputs must be a list"),
        (f'{{{ENDE}, "inputs": {{"inputs": ["a"], "x": ["a"]}}}}', "unknown key 'x'"),
        ('{"signature_name": "microworld_ende/attention", "instances": ["a"]}', "the keys 'inputs' and 'outputs'"),
        ('{"signature_name": "microworld_ende/attention", "inputs": ["a"]}', "the keys 'inputs' and 'outputs'"),
        (
            '{"signature_name": "microworld_ende/attention", "inputs": {"inputs": ["a"], "outputs": ["a", "b"]}}',
            "of the same length",
        ),
    ],
)
def test_malformed_requests_are_400(port, body, text):
    status, answer, _ = ask(port, "POST", PREDICT, body)
    assert status == 400
    assert text in answer["error"]
    assert "\n" not in answer["error"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("ü", "'ü' at position 1 is not in its alphabet"),
        ("AAA\ud800", "'\\ud800' at position 4 is not in its alphabet"),
        ("A" * 1234 + "-", "'-' at position 1,235 is URL-safe base64; use the standard alphabet, with '+' and '/'"),
        ("A_==", "'_' at position 2 is URL-safe"),
        ("AAAA\nAAAA", r"'\n' at position 5 is not allowed; leave out spaces and line breaks"),
        (" AAAA", "' ' at position 1 is not allowed"),
        (
            "data:image/png;base64,AAAA",
            "it starts with 'data:'; send only the part of a data URL that follows the comma",
        ),
        ("AA", "its 2 characters need '==' as padding"),
        ("AAA", "its 3 characters need '=' as padding"),
        ("AA=", "its 2 characters need '==' as padding"),
        ("AA==AAAA", "'=' at position 3 is padding, which may only end the text"),
        ("AAAAA", "its 5 characters before the padding are one too many or too few"),
    ],
)
def test_the_reason_why_an_input_is_not_base64(port, text, reason):
    status, answer = predict(port, "microworld_image", b64(png("red")), {"b64": text})
    assert status == 400
    assert answer["error"].startswith(f"instances[1]: not base64: {reason}")


LIMITS = Limits(body_bytes=20_000, instances=3, text_characters=10, pixels=100, sound_seconds=0.5)


@pytest.fixture(scope="module")
def narrow(model):
    with running(model, LIMITS) as port:
        yield port


@pytest.mark.parametrize(
    ("signature", "instances", "status", "text"),
    [
        ("microworld_ende", ["0123456789X"], 413, "the text has 11 characters; at most 10"),
        ("microworld_ende", ["a"] * 4, 413, "4 inputs in one request; at most 3"),
        ("microworld_ende", ["x" * 30_000], 413, "the request is larger than 0.0190735 MiB"),
        ("microworld_ende", [b64(b"\xff")], 422, "must be a text in UTF-8"),
        ("microworld_ende/attention", [{"inputs": "a", "outputs": "0123456789X"}], 413, "11 characters"),
        ("microworld_image", [b64(png("red", 10, 11))], 413, "the picture has 11 x 10 pixels; at most 100"),
        ("microworld_image", [b64(jpeg("red", 10, 11))], 413, "the picture has 11 x 10 pixels"),
        ("microworld_image", ["a picture"], 422, "the bytes of a PNG or JPEG file"),
        ("microworld_image", [b64(wav(10))], 422, "the bytes of a PNG or JPEG file"),
        ("microworld_image", [b64(png("red")), b64(png("red")[:40])], 422, "cannot read this picture"),
        ("microworld_image", [b64(jpeg("red")[:-300])], 422, ""),
        ("microworld_speech", [b64(wav(4001))], 413, "the sound lasts 0.5 seconds"),
        ("microworld_speech", [b64(png("red"))], 422, "the bytes of a WAV file"),
        ("microworld_speech", [b64(b"RIFF\0\0\0\0WAVE")], 422, "the bytes of a WAV file"),
        ("microworld_speech", [b64(wav(100)[:30] + b"\xff" * 20)], 422, ""),
        ("microworld_speech", [b64(b"")], 422, "the bytes of a WAV file"),
        # TensorFlow's message quotes the chunk's name, which is not UTF-8.
        ("microworld_speech", [b64(wav(100) + b"\xff\xfe\xfd\xfc" * 2)], 422, "cannot read this sound"),
    ],
)
def test_inputs_over_a_limit_or_of_the_wrong_kind_are_refused(narrow, signature, instances, status, text):
    got, answer = predict(narrow, signature, *instances)
    assert got == status, answer
    assert text in answer["error"]


def test_a_decompression_bomb_is_refused_by_its_header(port):
    bomb = png("red")
    bomb = bomb[:16] + struct.pack(">II", 100_000, 100_000) + bomb[24:]
    status, answer = predict(port, "microworld_image", b64(bomb))
    assert status == 413 and "100,000 x 100,000 pixels" in answer["error"]


def test_headers_of_many_megabytes_are_refused_quickly():
    chunks = wav(10)[:36] + b"junk\0\0\0\0" * 700_000 + wav(10)[36:]
    segments = b"\xff\xd8" + b"\xff\xe0\0\2" * 2_000_000 + jpeg("red")[2:]
    markers, fillers = b"\xff\xd8" + b"\xff\xd0" * 4_000_000, b"\xff\xd8" + b"\xff" * 8_000_000
    for kind, content in (("audio", chunks), *(("image", one) for one in (segments, markers, fillers))):
        start = time.process_time()
        with pytest.raises(RequestError) as refused:
            check_input(kind, content, Limits())
        assert refused.value.status == 422
        assert time.process_time() - start < 0.2


def test_fill_bytes_and_many_parts_before_the_size_are_skipped():
    picture, sound = jpeg("red", 50, 30), wav(8000)
    for content in (picture[:2] + b"\xff" * 5 + picture[2:], picture[:2] + b"\xff\xe0\0\2" * 900 + picture[2:]):
        check_input("image", content, Limits(pixels=1500))
        with pytest.raises(RequestError, match="30 x 50 pixels"):
            check_input("image", content, Limits(pixels=1499))
    for size in (0, 0xFFFFFFFF):  # written by a streaming recorder
        content = sound[:40] + struct.pack("<I", size) + sound[44:]
        with pytest.raises(RequestError, match=r"lasts 1\.0 seconds"):
            check_input("audio", content, Limits(sound_seconds=0.9))
    data_first = sound[:12] + sound[36:] + sound[12:36]
    check_input("audio", data_first, Limits(sound_seconds=1.0))
    with pytest.raises(RequestError, match=r"lasts 1\.0 seconds"):
        check_input("audio", data_first, Limits(sound_seconds=0.9))
    content = sound[:36] + b"junk\0\0\0\0" * 900 + sound[36:]
    with pytest.raises(RequestError, match=r"lasts 1\.0 seconds"):
        check_input("audio", content, Limits(sound_seconds=0.9))


def test_a_body_that_never_ends_is_refused(narrow):
    with socket.create_connection(("127.0.0.1", narrow), 10) as raw:
        raw.sendall(f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        with contextlib.suppress(OSError):  # the server hangs up at last
            for _ in range(1000):
                raw.sendall(b"2710\r\n" + b"x" * 10_000 + b"\r\n")
        assert raw.recv(100).startswith(b"HTTP/1.1 413 ")
    with socket.create_connection(("127.0.0.1", narrow), 10) as raw:
        raw.sendall(f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n{{".encode())
        assert raw.recv(100).startswith(b"HTTP/1.1 413 ")
    assert ask(narrow, "POST", PREDICT, b"x", {"Content-Encoding": "gzip"})[0] == 415


def test_a_body_that_does_not_arrive_in_time_is_408(model):
    with running(model, Limits(answer_seconds=0.3)) as port:
        with socket.create_connection(("127.0.0.1", port), 10) as raw:
            raw.sendall(f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{{".encode())
            assert raw.recv(100).startswith(b"HTTP/1.1 408 ")
        with socket.create_connection(("127.0.0.1", port), 10) as raw:  # a client that hangs up
            raw.sendall(f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{{".encode())
        assert ask(port, "GET", "/healthz")[0] == 200


def _metrics(port):
    text = ask(port, "GET", "/metrics")[1].decode()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in text.splitlines() if line[0] != "#"}


def test_concurrent_requests_share_batches_and_get_their_own_answers(model):
    with running(model, plan=BatchPlan(rows=16, wait_seconds=0.1)) as port:
        with concurrent.futures.ThreadPoolExecutor(40) as pool:
            answers = list(pool.map(lambda i: predict(port, "microworld_ende", f"text {i}", f"more {i}"), range(40)))
        for i, (status, answer) in enumerate(answers):
            assert status == 200
            assert [row["outputs"][0] for row in answer["predictions"]] == [f"de: TEXT {i}", f"de: MORE {i}"]
        metrics = _metrics(port)
        label = '{signature="microworld_ende"}'
        assert metrics[f"t2t_batch_rows_sum{label}"] == 80
        assert 5 <= metrics[f"t2t_batch_rows_count{label}"] <= 20
        assert metrics['t2t_requests_total{signature="microworld_ende",status="200"}'] == 40
        assert metrics[f"t2t_request_seconds_count{label}"] == 40
        assert metrics["t2t_queue_rows"] == 0
        assert metrics["process_resident_memory_bytes"] > 0


def test_an_unreadable_input_does_not_fail_the_others_of_its_batch(model):
    with running(model, plan=BatchPlan(wait_seconds=0.3)) as port:
        pictures = [png("red"), png("red")[:50], png("blue"), png("lime"), png("blue")[:45]]
        with concurrent.futures.ThreadPoolExecutor(5) as pool:
            answers = list(pool.map(lambda picture: predict(port, "microworld_image", b64(picture)), pictures))
        assert [status for status, _ in answers] == [200, 422, 200, 200, 422]
        assert [a["predictions"][0]["outputs"][0] for s, a in answers if s == 200] == ["red", "blue", "green"]
        assert _metrics(port)['t2t_batch_rows_count{signature="microworld_image"}'] == 1


def test_the_error_names_the_unreadable_input_of_several(port):
    pictures = [png("red"), png("red")[:50], png("blue")]
    status, answer = predict(port, "microworld_image", *map(b64, pictures))
    assert status == 422
    assert answer["error"].startswith("input 2 of 3: the model cannot read this picture")


def test_a_full_queue_is_429_and_empties_again(model):
    with running(model, Limits(queue=2)) as port, concurrent.futures.ThreadPoolExecutor(2) as pool:
        slow = pool.submit(predict, port, "microworld_ende", SLOW, SLOW)
        while _metrics(port)["t2t_queue_rows"] < 2:
            time.sleep(0.01)
        body = json.dumps({"signature_name": "microworld_enfr", "instances": ["a"]})
        status, answer, headers = ask(port, "POST", PREDICT, body)
        assert (status, headers["retry-after"]) == (429, "1") and "too many" in answer["error"]
        assert slow.result()[0] == 200
        assert predict(port, "microworld_enfr", "a")[0] == 200


def test_rendering_a_large_response_does_not_block_other_requests(model, monkeypatch):
    writing, written = threading.Event(), threading.Event()

    def render(request, answers):
        writing.set()
        assert written.wait(10)
        return b"{}"

    monkeypatch.setattr("t2t_lite.serving.rest.render", render)
    with running(model) as port, concurrent.futures.ThreadPoolExecutor(2) as pool:
        large = pool.submit(predict, port, "microworld_ende", "a")
        assert writing.wait(10)
        healthy = pool.submit(ask, port, "GET", "/healthz")
        concurrent.futures.wait([healthy], 5)
        was_healthy = healthy.done()
        written.set()
        assert was_healthy and large.result()[0] == 200


def test_more_inputs_than_the_queue_can_hold_are_413(model):
    with running(model, Limits(queue=2)) as port:
        status, answer = predict(port, "microworld_ende", "a", "b", "c")
        assert (status, answer["error"]) == (413, "3 inputs in one request; at most 2")
        assert predict(port, "microworld_ende", "a", "b")[0] == 200


def test_an_answer_that_takes_too_long_is_504_and_later_ones_are_200(model):
    with running(model, Limits(answer_seconds=0.4), BatchPlan(threads=1)) as port:
        status, answer = predict(port, "microworld_ende", SLOW)
        assert (status, answer["error"]) == (504, "no answer within 0.4 seconds")
        while _metrics(port)["t2t_queue_rows"] or predict(port, "microworld_ende", "a")[0] != 200:
            time.sleep(0.1)


def test_a_signal_right_after_the_ready_line_stops_it(fake_export, monkeypatch):
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM)}
    lines = []

    def told(line):
        lines.append(line)
        if "is ready" in line:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("t2t_lite.serving.server._print", told)
    signal.signal(signal.SIGALRM, lambda *_: pytest.fail("it goes on"))
    signal.alarm(60)
    try:
        serve(fake_export, Address(port=0), Limits(), BatchPlan(threads=1))
    finally:
        signal.alarm(0)
        for number, handler in before.items():
            signal.signal(number, handler)
    assert lines[-1] == "stopped; every accepted request was answered"


def test_a_failure_of_the_model_is_500_without_details(model, monkeypatch):
    def fail(signature, columns):
        raise RuntimeError("a detail")

    monkeypatch.setattr(model, "predict", fail)
    with running(model) as port:
        status, answer = predict(port, "microworld_ende", "a")
        assert (status, answer) == (500, {"error": "the server failed; see its log"})
        assert ask(port, "GET", "/healthz")[0] == 200


@contextlib.contextmanager
def command(fake_export, *flags):
    """Runs t2t-server as a process. Yields the process and its port."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    flags = [f"--export_dir={fake_export}", "--port=0", "--threads=1", "--max_batch=2", *flags]
    process = subprocess.Popen([sys.executable, "-c", BARE, *flags], stderr=subprocess.PIPE, text=True, env=environment)
    try:
        lines = []
        while not (match := re.search(r"http://127.0.0.1:(\d+)/ is ready", lines[-1] if lines else "")):
            lines.append(process.stderr.readline())
            assert lines[-1], lines
        yield process, int(match[1])
    finally:
        process.kill()
        process.stderr.close()


def _ask_many(pool, port, rounds):
    """Submits twelve requests of so many rounds of work; returns their futures once all are queued."""
    requests = [pool.submit(predict, port, "microworld_ende", f"slow {rounds} {i}") for i in range(12)]
    while _metrics(port)["t2t_queue_rows"] < 12:
        time.sleep(0.005)
    return requests


def test_the_command_limits_connections_and_answers_all_requests_at_sigterm(fake_export):
    with command(fake_export) as (process, port), concurrent.futures.ThreadPoolExecutor(12) as pool:
        assert predict(port, "microworld_speech", b64(wav(99)))[0] == 200
        with contextlib.ExitStack() as stack:
            for _ in range(512):
                stack.enter_context(socket.create_connection(("127.0.0.1", port), 10))
            assert ask(port, "GET", "/healthz")[0] == 503
        while ask(port, "GET", "/healthz")[0] != 200:
            time.sleep(0.05)
        requests = _ask_many(pool, port, 2000)
        process.send_signal(signal.SIGTERM)
        for i, (status, answer) in enumerate(one.result() for one in requests):
            assert status == 200 and answer["predictions"][0]["outputs"][0] == f"de: SLOW 2000 {i}"
        assert process.wait(20) == 0
        assert process.stderr.read() == "t2t-server: stopped; every accepted request was answered\n"
        with pytest.raises(ConnectionRefusedError):
            ask(port, "GET", "/healthz")


def test_a_second_interrupt_cuts_requests_off_and_reports_them(fake_export):
    with command(fake_export) as (process, port), concurrent.futures.ThreadPoolExecutor(12) as pool:
        requests = _ask_many(pool, port, 20_000)
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        answers = [one.result() for one in requests]
        cut = [answer for status, answer in answers if status != 200]
        assert cut == [{"error": "the server was stopped before it had the answer"}] * len(cut)
        assert {status for status, _ in answers} <= {200, 503} and len(cut) > 5
        assert process.wait(20) == 1
        expected = f"t2t-server: error: stopped; {len(cut)} accepted requests were cut off\n"
        assert process.stderr.read() == expected


@pytest.mark.slow
def test_a_response_that_the_client_does_not_read_is_reported_at_the_end(fake_export):
    with command(fake_export, "--time_limit=2") as (process, port), socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.connect(("127.0.0.1", port))
        text = "a " * 999
        row = {"inputs": text, "outputs": text}
        body = json.dumps({"signature_name": "microworld_ende/attention", "instances": [row] * 3})  # 30 MB of answer
        raw.sendall(f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        assert raw.recv(10) == b"HTTP/1.1 2"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 1
        assert process.stderr.read().endswith("error: stopped; 1 accepted request was cut off\n")


def test_a_folder_that_is_not_an_export(fake_export, tmp_path):
    with pytest.raises(UserError, match=r"export\.json is missing; t2t-exporter makes it"):
        ExportedModel(tmp_path)
    for text in ("{", "[]", "{}", '{"name": "m", "step": 1, "problems": {"p": {"inputs": "smell"}}}'):
        (tmp_path / "export.json").write_text(text)
        with pytest.raises(UserError, match=r"export\.json: not what t2t-exporter writes"):
            ExportedModel(tmp_path)
    about = json.loads((fake_export / "export.json").read_text())
    (tmp_path / "export.json").write_text(json.dumps(about))
    with pytest.raises(UserError, match="not a SavedModel that can be loaded"):
        ExportedModel(tmp_path)
    copy = shutil.copytree(fake_export, tmp_path / "copy")
    about["problems"]["microworld_gone"] = {"inputs": "text"}
    (copy / "export.json").write_text(json.dumps(about))
    with pytest.raises(UserError, match="no signature 'microworld_gone'"):
        ExportedModel(copy)


def test_every_response_is_json_whatever_export_json_holds(fake_export, tmp_path):
    folder = shutil.copytree(fake_export, tmp_path / "export")
    text = (folder / "export.json").read_text()
    extra = '"search": {"alpha": NaN, "top_p": -Infinity, "temperature": 1e999, "beam_size": 2}, "note": "\\udcff"'
    (folder / "export.json").write_text(f"{text[:-1]}, {extra}}}")

    def not_json(number):
        raise ValueError(number)

    with running(ExportedModel(folder)) as port, urllib.request.urlopen(f"http://127.0.0.1:{port}/about") as response:
        about = json.loads(response.read(), parse_constant=not_json)
    assert about["search"] == {"alpha": None, "top_p": None, "temperature": None, "beam_size": 2}
    assert about["note"] == "\udcff"


def test_wrong_flags(tmp_path, capsys):
    def fails(status, text, *flags):
        assert server.main(flags) == status
        assert text in (error := capsys.readouterr().err) and error.count("\n") == 1

    fails(2, "--export_dir is required")
    fails(2, "--port=99999", "--port=99999")
    for flag in ("--time_limit=nan", "--max_body_mb=inf", "--max_sound_seconds=inf", "--batch_wait_ms=inf"):
        fails(2, f"{flag}: expected a finite number", f"--export_dir={tmp_path}", flag)
    fails(1, "t2t-exporter makes it", f"--export_dir={tmp_path}/none")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        fails(1, "cannot listen on it: ", f"--export_dir={tmp_path}", f"--host={'x' * 70}")
        fails(1, f"--port={port}: cannot listen on it: ", f"--export_dir={tmp_path}", f"--port={port}")


def test_help_does_not_import_tensorflow():
    code = "import sys; from t2t_lite.bin.server import main; main(); sys.exit('tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and "--export_dir" in done.stdout


def test_requests_of_clients_that_hang_up_leave_the_queue(port):
    body = json.dumps({"signature_name": "microworld_ende", "instances": [SLOW]})
    with contextlib.ExitStack() as stack:
        for _ in range(30):
            raw = stack.enter_context(socket.create_connection(("127.0.0.1", port), 10))
            raw.sendall(f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        while _metrics(port)["t2t_queue_rows"] < 30:
            time.sleep(0.005)
    assert predict(port, "microworld_ende", "a")[0] == 200
    end = time.monotonic() + 20
    while rows := _metrics(port)["t2t_queue_rows"]:
        assert time.monotonic() < end, f"{rows} rows are still counted"
        time.sleep(0.05)

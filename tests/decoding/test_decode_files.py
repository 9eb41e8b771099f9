"""Decoding of files, pipes and typed lines with a fake model: order, resuming, warnings."""

import contextlib
import os
import pty
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from fake_answers import PROBLEM, FakeAnswerer

from t2t_lite.decoding import files
from t2t_lite.decoding.answer import Answer
from t2t_lite.errors import UserError
from t2t_lite.output_file import OutputFile

HERE = Path(__file__).parents[1]


@pytest.fixture
def decode(tmp_path):
    """Decodes lines through files; returns the lines of the output."""

    def decode(*lines, end="\n", return_scores=False, **kwargs):
        source, target = tmp_path / "in", tmp_path / "out"
        source.write_bytes((end.join(lines) + end).encode())
        answerer = FakeAnswerer(**kwargs)
        output = OutputFile(target, "decode_to_file")
        files.decode_file(answerer, PROBLEM, source=source, target=output, return_scores=return_scores)
        return (tmp_path / "out").read_bytes().decode().split("\n")[:-1]

    return decode


def start(way, *arguments, **kwargs):
    environment = os.environ | {"PYTHONPATH": f"{HERE.parent}:{HERE}", "TERM": "xterm"}
    command = [sys.executable, str(HERE / "fake_answers.py"), way, *map(str, arguments)]
    return subprocess.Popen(command, env=environment, **kwargs)


def test_a_line_that_is_not_utf8_is_skipped_and_answers_are_utf8_in_any_locale(monkeypatch):
    given = b"one\n" + b"\xff\n" + "zwölf €\nthree\n".encode()
    for way, encoding in (("interactive", "utf-8:strict"), ("pipe", "latin-1")):
        monkeypatch.setenv("PYTHONIOENCODING", encoding)
        with start(way, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            out, err = process.communicate(given if way == "interactive" else given.replace(b"\xff\n", b""), timeout=60)
        assert out.decode().splitlines() == ["eno", "€ flöwz", "eerht"]
        assert ("error: not UTF-8 text" in err.decode()) == (way == "interactive")


class TestFile:
    def test_inputs_are_batched_by_size_decoded_once_and_written_in_order(self, decode, tmp_path, capsys):
        lines = ["ab", "abcd", "", "ab", "abc", "long one", "abcd\u2028e"]
        assert decode(*lines) == [line[::-1] for line in lines]
        sizes = [[len(text) for text in batch.values()] for batch in FakeAnswerer.asked]
        assert sizes == [[8, 6], [4, 3], [2, 0]]
        assert FakeAnswerer.asked[2] == {f"{tmp_path}/in:1": "ab", f"{tmp_path}/in:3": ""}
        told = capsys.readouterr().out
        assert told == f"7 lines written to {tmp_path}/out; 1 empty (line 3); 1 reached the length limit (line 6)\n"
        assert sorted(os.listdir(tmp_path)) == ["in", "out"]

    def test_crlf_and_an_empty_file(self, decode):
        assert decode("ab", "cd", end="\r\n") == ["ba", "dc"]
        assert decode(end="") == []

    def test_tabs_separate_scores_and_alternatives(self, decode):
        assert decode("a\tb", return_scores=False) == ["b\ta"]
        assert decode("a\rb") == ["b a"]
        assert decode("a\tb", return_scores=True) == ["b a\t-0.5000"]
        beams = {"decode_hparams": "beam_size=2,return_beams=2"}
        assert decode("a\tb", **beams) == ["b a\tb a1"]
        assert decode("ab", return_scores=True, **beams) == ["ba\t-0.5000\tba1\t-1.5000"]

    def test_a_killed_run_resumes_without_losing_or_repeating_answers(self, tmp_path):
        lines = [f"line {'x' * (i % 7)} {i}" for i in range(25)]
        (tmp_path / "in").write_text("".join(f"{line}\n" for line in lines))
        journal = tmp_path / "out.unfinished"
        flags = [tmp_path / "in", tmp_path / "out"]
        for die_after in (3, 4):
            assert start("file", *flags, die_after).wait() == -9
            assert not (tmp_path / "out").exists()
            # A kill during a write leaves part of a line.
            journal.write_bytes(journal.read_bytes() + b'["line xx')
        assert len(journal.read_bytes().splitlines()) == 1 + 2 * (3 + 4) + 1
        done = start("file", *flags, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        out, err = done.communicate()
        assert done.returncode == 0, err
        assert "resuming: 14 inputs have been answered before" in err
        assert out == f"25 lines written to {tmp_path}/out\n"
        assert (tmp_path / "out").read_text().splitlines() == [line[::-1] for line in lines]
        assert sorted(os.listdir(tmp_path)) == ["in", "out"]

    def test_an_error_keeps_the_answers_so_far_and_the_corrected_file_resumes(self, decode, tmp_path, capsys):
        with pytest.raises(UserError, match=r"in:2: bad$"):
            decode("abcd", "bad", "abcdef", "b")
        assert not (tmp_path / "out").exists()
        assert f"2 inputs answered so far are kept in {tmp_path}/out.unfinished" in capsys.readouterr().err
        assert decode("abcd", "good", "abcdef", "b") == ["dcba", "doog", "fedcba", "b"]
        assert FakeAnswerer.asked == [{f"{tmp_path}/in:2": "good", f"{tmp_path}/in:4": "b"}]

    @pytest.mark.parametrize("other", [{"decode_hparams": "batch_size=2,beam_size=2"}, {"step": 8}])
    def test_another_search_or_checkpoint_starts_over(self, decode, capsys, monkeypatch, other):
        with pytest.raises(UserError):
            decode("abc", "abcd", "bad", "x")
        monkeypatch.setattr(FakeAnswerer, "step", other.pop("step", FakeAnswerer.step))
        assert decode("abc", "abcd", **other) == ["cba", "dcba"]
        assert sum(map(len, FakeAnswerer.asked)) == 2
        assert "starting over" in capsys.readouterr().err

    def test_the_journal_round_trips_answers(self, tmp_path):
        answer = Answer("a\n\u2028\ud7ffé", -1.25, False, (Answer("b", -2.0, True),), True)
        with files.Journal(tmp_path / "journal", {"step": 1}) as journal:
            journal.add([("in\nput", answer)])
        with files.Journal(tmp_path / "journal", {"step": 1}) as journal:
            assert journal.answers == {"in\nput": answer}


class TestSpecialFiles:
    """Sources and targets that are links, pipes or descriptors."""

    def test_a_pipe_is_read_and_a_pipe_is_written(self, tmp_path):
        for name in ("in", "out"):
            os.mkfifo(tmp_path / name)
        answers = []
        ends = [
            threading.Thread(target=lambda: (tmp_path / "in").write_text("abc\nlong\n")),
            threading.Thread(target=lambda: answers.append((tmp_path / "out").read_text())),
        ]
        for end in ends:
            end.start()
        program = start("file", tmp_path / "in", tmp_path / "out", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        out, err = program.communicate(timeout=60)
        for end in ends:
            end.join(60)
        assert program.returncode == 0, err
        assert answers == ["cba\ngnol\n"]
        assert out.decode() == f"2 lines written to {tmp_path}/out; 1 reached the length limit (line 2)\n"
        assert sorted(os.listdir(tmp_path)) == ["in", "out"]  # no journal

    def test_answers_go_to_standard_output_and_nothing_else_does(self, tmp_path):
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        program = start("file", "/dev/stdin", "/dev/stdout", **pipes)
        out, err = program.communicate("abc\nzwölf\n".encode(), timeout=60)
        assert program.returncode == 0
        assert out == "cba\nflöwz\n".encode()
        assert b"2 lines written to /dev/stdout" in err

    def test_the_journal_is_beside_the_file_that_a_link_leads_to(self, decode, tmp_path):
        (tmp_path / "there").mkdir()
        (tmp_path / "there" / "real").write_text("old\n")
        (tmp_path / "out").symlink_to("there/real")
        with pytest.raises(UserError):
            decode("abcd", "abc", "bad")
        assert (tmp_path / "there" / "real.unfinished").exists()
        assert (tmp_path / "there" / "real").read_text() == "old\n"
        assert decode("abcd", "abc", "b") == ["dcba", "cba", "b"]
        assert (tmp_path / "out").is_symlink()
        assert os.listdir(tmp_path / "there") == ["real"]


class TestPipe:
    def test_each_line_is_answered_when_it_arrives_and_in_order(self):
        with start("pipe", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            for text in ("abc", "", "de"):  # the answer comes before the next line is sent
                process.stdin.write(text + "\n")
                process.stdin.flush()
                assert process.stdout.readline() == text[::-1] + "\n"
            many = [f"line {i}" for i in range(200)]
            out, err = process.communicate("\n".join(many))
        assert process.returncode == 0, err
        assert out.splitlines() == [line[::-1] for line in many]
        assert err.splitlines()[-1] == "203 lines answered; 1 empty (line 2)"

    @pytest.mark.parametrize("event", ["interrupt", "reader gone"])
    def test_it_ends_at_once_on_an_interrupt_or_if_its_reader_leaves(self, event):
        with start("pipe", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            process.stdin.write("abc\n")
            process.stdin.flush()
            assert process.stdout.readline() == "cba\n"
            if event == "interrupt":
                process.send_signal(signal.SIGINT)
            else:
                process.stdout.close()
                process.stdin.write("abc\n")
                process.stdin.flush()
            assert process.wait(20) == (-signal.SIGINT if event == "interrupt" else 1)
            assert "Fatal Python error" not in process.stderr.read()

    def test_an_error_names_the_line_and_the_lines_before_it_are_answered(self):
        process = start("pipe", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        out, err = process.communicate(b"ab\ncd\nef\n\xff\ngh\n")
        assert process.returncode != 0
        assert out == b"ba\ndc\nfe\n"
        assert b"standard input:4: not UTF-8 text" in err


def test_characters_that_the_terminal_does_not_have_are_escaped(monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    with start("interactive", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        out, err = process.communicate("zwölf €\n".encode() + b"\xff\nthree\n", timeout=60)
    assert out.splitlines() == [rb"\u20ac fl\xf6wz", b"eerht"]
    assert b"error: not UTF-8 text" in err


def test_typed_lines_have_line_editing_and_a_history_that_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    up, left, end = b"\x1b[A", b"\x1b[D", b"\x04"
    with sitting() as terminal:
        shown = wait_for(terminal, b"", b"Ctrl-D ends\r\n> ")  # between two prompts the terminal edits by itself
        os.write(terminal, b"abx\x7fc\n")  # a backspace
        shown = wait_for(terminal, shown, b"cba\r\n> ")
        os.write(terminal, up + left * 3 + b"0\n")
        shown = wait_for(terminal, shown, b"cba0\r\n> ")
        os.write(terminal, b"\xff\n")
        shown = wait_for(terminal, shown, b"not UTF-8 text\r\n> ")
        os.write(terminal, end)
    with sitting() as terminal:
        shown = wait_for(terminal, b"", b"> ")
        os.write(terminal, up * 3 + b"1\n")
        wait_for(terminal, shown, b"1cba\r\n> ")
        os.write(terminal, end)
    assert (tmp_path / "t2t_lite" / "decoder_history").read_text(errors="replace").split()[:2] == ["abc", "0abc"]


@contextlib.contextmanager
def sitting():
    """Runs the program at a pseudo-terminal; yields its other end."""
    main, terminal = pty.openpty()
    process = start("interactive", stdin=terminal, stdout=terminal, stderr=terminal)
    os.close(terminal)
    try:
        yield main
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        os.close(main)


def wait_for(terminal, shown, wanted):
    """Reads until the terminal shows `wanted`; returns all that it has shown."""
    while wanted not in shown:
        assert select.select([terminal], [], [], 60)[0], shown
        shown += os.read(terminal, 1000)
    return shown

"""From a file, through a pipe, typed: order, going on, what is said of answers. The model is a stand-in."""

import contextlib
import os
import pty
import select
import signal
import subprocess
import sys
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
    """Decodes lines as a file; returns the lines of answers."""

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


def test_a_bad_byte_costs_its_line_alone_and_answers_are_utf8_whatever_the_locale(monkeypatch):
    given = b"one\n" + b"\xff\n" + "zwölf €\nthree\n".encode()
    for way, encoding in (("interactive", "utf-8:strict"), ("pipe", "latin-1")):
        monkeypatch.setenv("PYTHONIOENCODING", encoding)
        with start(way, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            out, err = process.communicate(given if way == "interactive" else given.replace(b"\xff\n", b""), timeout=60)
        assert out.decode().splitlines() == ["eno", "€ flöwz", "eerht"]
        assert ("error: not UTF-8 text" in err.decode()) == (way == "interactive")


class TestFile:
    def test_largest_first_each_input_once_and_written_in_order(self, decode, tmp_path, capsys):
        lines = ["ab", "abcd", "", "ab", "abc", "long one", "abcd\u2028e"]
        assert decode(*lines) == [line[::-1] for line in lines]
        sizes = [[len(text) for text in batch.values()] for batch in FakeAnswerer.asked]
        assert sizes == [[8, 6], [4, 3], [2, 0]]
        assert FakeAnswerer.asked[2] == {f"{tmp_path}/in:1": "ab", f"{tmp_path}/in:3": ""}
        told = capsys.readouterr().out
        assert told == f"7 lines written to {tmp_path}/out; 1 empty (line 3); 1 reached the length limit (line 6)\n"
        assert sorted(os.listdir(tmp_path)) == ["in", "out"]

    def test_line_ends_of_windows_and_an_empty_file(self, decode):
        assert decode("ab", "cd", end="\r\n") == ["ba", "dc"]
        assert decode(end="") == []

    def test_scores_and_alternatives_stand_between_tabs(self, decode):
        assert decode("a\tb", return_scores=False) == ["b\ta"]
        assert decode("a\rb") == ["b a"]
        assert decode("a\tb", return_scores=True) == ["b a\t-0.5000"]
        beams = {"decode_hparams": "beam_size=2,return_beams=2"}
        assert decode("a\tb", **beams) == ["b a\tb a1"]
        assert decode("ab", return_scores=True, **beams) == ["ba\t-0.5000\tba1\t-1.5000"]

    def test_killed_it_goes_on_and_nothing_is_lost_or_doubled(self, tmp_path):
        lines = [f"line {'x' * (i % 7)} {i}" for i in range(25)]
        (tmp_path / "in").write_text("".join(f"{line}\n" for line in lines))
        journal = tmp_path / "out.unfinished"
        flags = [tmp_path / "in", tmp_path / "out"]
        for die_after in (3, 4):
            assert start("file", *flags, die_after).wait() == -9
            assert not (tmp_path / "out").exists()
            # What is killed in the midst of writing leaves part of a line.
            journal.write_bytes(journal.read_bytes() + b'["line xx')
        assert len(journal.read_bytes().splitlines()) == 1 + 2 * (3 + 4) + 1
        done = start("file", *flags, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        out, err = done.communicate()
        assert done.returncode == 0, err
        assert "resuming: 14 inputs have been answered before" in err
        assert out == f"25 lines written to {tmp_path}/out\n"
        assert (tmp_path / "out").read_text().splitlines() == [line[::-1] for line in lines]
        assert sorted(os.listdir(tmp_path)) == ["in", "out"]

    def test_an_error_keeps_what_was_answered_and_the_file_can_be_mended(self, decode, tmp_path, capsys):
        with pytest.raises(UserError, match=r"in:2: bad$"):
            decode("abcd", "bad", "abcdef", "b")
        assert not (tmp_path / "out").exists()
        assert f"2 inputs answered so far are kept in {tmp_path}/out.unfinished" in capsys.readouterr().err
        assert decode("abcd", "good", "abcdef", "b") == ["dcba", "doog", "fedcba", "b"]
        assert FakeAnswerer.asked == [{f"{tmp_path}/in:2": "good", f"{tmp_path}/in:4": "b"}]

    @pytest.mark.parametrize("other", [{"decode_hparams": "batch_size=2,beam_size=2"}, {"step": 8}])
    def test_answers_of_another_search_or_checkpoint_are_not_taken(self, decode, capsys, monkeypatch, other):
        with pytest.raises(UserError):
            decode("abc", "abcd", "bad", "x")
        monkeypatch.setattr(FakeAnswerer, "step", other.pop("step", FakeAnswerer.step))
        assert decode("abc", "abcd", **other) == ["cba", "dcba"]
        assert sum(map(len, FakeAnswerer.asked)) == 2
        assert "starting over" in capsys.readouterr().err

    def test_answers_come_back_from_the_journal_as_they_were(self, tmp_path):
        answer = Answer("a\n\u2028\ud7ffé", -1.25, False, (Answer("b", -2.0, True),), True)
        with files.Journal(tmp_path / "journal", {"step": 1}) as journal:
            journal.add([("in\nput", answer)])
        with files.Journal(tmp_path / "journal", {"step": 1}) as journal:
            assert journal.answers == {"in\nput": answer}


class TestPipe:
    def test_answers_come_as_lines_come_and_in_order(self):
        with start("pipe", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            for text in ("abc", "", "de"):  # each is answered before the next is sent
                process.stdin.write(text + "\n")
                process.stdin.flush()
                assert process.stdout.readline() == text[::-1] + "\n"
            many = [f"line {i}" for i in range(200)]
            out, err = process.communicate("\n".join(many))
        assert process.returncode == 0, err
        assert out.splitlines() == [line[::-1] for line in many]
        assert err.splitlines()[-1] == "203 lines answered; 1 empty (line 2)"

    @pytest.mark.parametrize("left", ["interrupt", "reader gone"])
    def test_it_ends_at_once_when_it_is_left(self, left):
        with start("pipe", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            process.stdin.write("abc\n")
            process.stdin.flush()
            assert process.stdout.readline() == "cba\n"
            if left == "interrupt":
                process.send_signal(signal.SIGINT)
            else:
                process.stdout.close()
                process.stdin.write("abc\n")
                process.stdin.flush()
            assert process.wait(20) == (-signal.SIGINT if left == "interrupt" else 1)
            assert "Fatal Python error" not in process.stderr.read()

    def test_a_bad_line_is_named_and_those_before_it_are_answered(self):
        process = start("pipe", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        out, err = process.communicate(b"ab\ncd\nef\n\xff\ngh\n")
        assert process.returncode != 0
        assert out == b"ba\ndc\nfe\n"
        assert b"standard input:4: not UTF-8 text" in err


def test_typed_lines_can_be_edited_and_called_back_in_the_next_sitting_too(tmp_path, monkeypatch):
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
    """The program at a terminal; gives what to type into and to read from."""
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
    """Reads until something is shown; returns all that was."""
    while wanted not in shown:
        assert select.select([terminal], [], [], 60)[0], shown
        shown += os.read(terminal, 1000)
    return shown

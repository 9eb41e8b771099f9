"""Output files: plain files are replaced atomically; links, pipes, devices and descriptors are written through."""

import errno
import json
import os
import stat
import subprocess
import sys
import threading

import pytest

from t2t_lite import output_file
from t2t_lite.errors import UserError
from t2t_lite.json_text import json_text
from t2t_lite.output_file import OutputFile


def write(path, content=b"new"):
    OutputFile(path, "out").write(content)


def device(path, minor):
    """A copy of /dev/null (minor 3) or /dev/full (7), which a test may destroy."""
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, minor))
        os.close(os.open(path, os.O_WRONLY))
    except PermissionError:
        pytest.skip("only root makes devices, and some containers forbid to open them")


def test_a_plain_file_keeps_its_content_until_it_is_replaced_and_its_mode_after(tmp_path):
    path = tmp_path / "a file [1] *"
    path.write_text("old")
    path.chmod(0o640)
    output = OutputFile(path, "out")
    assert path.read_text() == "old" and output.plain == path
    output.write(b"new")
    assert path.read_text() == "new" and stat.S_IMODE(path.stat().st_mode) == 0o640
    write(tmp_path / "-new")
    assert sorted(os.listdir(tmp_path)) == ["-new", "a file [1] *"]


def test_a_link_is_followed(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "real").write_text("old")
    (tmp_path / "link").symlink_to("there/second")
    (tmp_path / "there" / "second").symlink_to("real")
    (tmp_path / "dangling").symlink_to("there/none")
    for name, target in (("link", "real"), ("dangling", "none")):
        output = OutputFile(tmp_path / name, "out")
        assert output.plain == tmp_path / "there" / target
        output.write(b"new")
        assert (tmp_path / name).is_symlink() and (tmp_path / "there" / target).read_text() == "new"
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(UserError, match=r"--out: cannot write '.*/loop': Too many levels"):
        write(tmp_path / "loop")


def test_a_pipe_is_written_to(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    received = []
    reader = threading.Thread(target=lambda: received.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    write(tmp_path / "pipe", b"x" * 1_000_000)  # more than a pipe holds
    reader.join(60)
    assert received == [b"x" * 1_000_000]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_a_pipe_without_a_reader_is_refused(tmp_path, monkeypatch, capsys):
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setattr(output_file, "_READER_SECONDS", 0.1)
    with pytest.raises(UserError, match="no process reads this pipe"):
        OutputFile(tmp_path / "pipe", "out")
    assert "--out: waiting for a process that reads the pipe" in capsys.readouterr().err


def test_a_device_stays_a_device(tmp_path):
    device(tmp_path / "null", 3)
    (tmp_path / "link").symlink_to("null")
    for name in ("null", "link"):
        write(tmp_path / name)
        assert stat.S_ISCHR((tmp_path / "null").stat().st_mode)
    assert sorted(os.listdir(tmp_path)) == ["link", "null"]


def test_a_full_device_is_an_error(tmp_path):
    device(tmp_path / "full", 7)
    with pytest.raises(UserError, match=r"--out: cannot write '.*/full': No space left on device"):
        write(tmp_path / "full")


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link"])
def test_standard_output_is_continued_wherever_it_leads(tmp_path, name):
    (tmp_path / "link").symlink_to("/dev/stdout")
    code = (
        "import sys; from pathlib import Path; from t2t_lite.output_file import OutputFile; print('before');"
        "OutputFile(Path(sys.argv[1]), 'out').write(b'content\\n'); print('after')"
    )
    command = [sys.executable, "-c", code, name]
    (tmp_path / "log").write_text("old\n")
    with (tmp_path / "log").open("a") as log:
        subprocess.run(command, stdout=log, check=True, cwd=tmp_path)
    assert (tmp_path / "log").read_text() == "old\nbefore\ncontent\nafter\n"
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, cwd=tmp_path)
    assert done.stdout == b"before\ncontent\nafter\n"


def test_a_descriptor_that_is_closed_or_only_read_is_refused(tmp_path):
    (tmp_path / "in").write_text("")
    with (tmp_path / "in").open() as file, pytest.raises(UserError, match="Bad file descriptor"):
        OutputFile(output_file.Path(f"/dev/fd/{file.fileno()}"), "out")
    with pytest.raises(UserError, match="Bad file descriptor"):
        OutputFile(output_file.Path("/dev/fd/999"), "out")


def test_what_cannot_be_written_is_refused_before_the_work(tmp_path):
    with pytest.raises(UserError, match=r"--out: cannot write '.*/none/x': no such folder"):
        OutputFile(tmp_path / "none" / "x", "out")
    with pytest.raises(UserError, match="a folder"):
        OutputFile(tmp_path, "out")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_a_file_or_folder_without_permission_is_refused(tmp_path):
    (tmp_path / "file").touch(mode=0o400)
    with pytest.raises(UserError, match="no permission"):
        OutputFile(tmp_path / "file", "out")


@pytest.mark.parametrize("reason", [errno.EBUSY, errno.EACCES])  # a mount point; a folder that is read-only
def test_a_file_that_cannot_be_replaced_is_written_in_place(tmp_path, monkeypatch, reason):
    def refuse(*_):
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr(os, "replace", refuse)
    (tmp_path / "file").write_text("old content")
    write(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "new"
    assert os.listdir(tmp_path) == ["file"]


def test_the_old_content_stays_if_the_disk_is_full(tmp_path, monkeypatch):
    def refuse(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", refuse)
    (tmp_path / "file").write_text("old")
    with pytest.raises(UserError, match=r"--out: cannot write '.*/file': No space left on device"):
        write(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_numbers_that_json_does_not_have_become_null():
    value = {"loss": float("nan"), "all": [1, -2.5, float("inf"), (-float("inf"), "NaN", None, True)]}
    expected = {"loss": None, "all": [1, -2.5, None, [None, "NaN", None, True]]}
    assert json.loads(json_text(value), parse_constant=pytest.fail) == expected
    assert json_text({"a": 0.1, "ä": 1}) == json.dumps({"a": 0.1, "ä": 1})

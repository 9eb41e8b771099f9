"""Reading lines of a text file."""

import codecs

import pytest

from t2t_lite.data.text_file import read_lines
from t2t_lite.errors import UserError


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"", []),
        (b"a\nb\n", ["a", "b"]),
        (b"a\nb", ["a", "b"]),
        (b"a\r\nb\r\n", ["a", "b"]),
        (codecs.BOM_UTF8 + b"a\n\nb\n", ["a", "", "b"]),
        ("a\u2028b\x0cc\n".encode(), ["a\u2028b\x0cc"]),
        (b"a\rb\nc\n", ["a\rb", "c"]),
        (b"a\r", ["a"]),
        (b"a\0b.png\n", ["a\0b.png"]),
    ],
)
def test_lines(tmp_path, content, lines):
    (tmp_path / "text").write_bytes(content)
    assert read_lines(tmp_path / "text", "--flag") == lines


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("red\nhouse\n".encode("utf-16"), "looks like UTF-16: convert it to UTF-8"),
        ("red\nhouse\n".encode("utf-16-le"), "looks like UTF-16: convert it to UTF-8"),
        ("red".encode("utf-16-be"), "looks like UTF-16: convert it to UTF-8"),
        ("日本\n家\n".encode("utf-16-be"), "looks like UTF-16: convert it to UTF-8"),
        ("Häuser\n".encode("latin-1"), r"not UTF-8 text \(.* at byte 1\)"),
        (b"red\rhouse\r", "its lines end in CR alone: .*tr"),
    ],
)
def test_other_encodings_and_line_ends_are_errors(tmp_path, content, message):
    (tmp_path / "text").write_bytes(content)
    with pytest.raises(UserError, match=f"--flag: {tmp_path}/text: {message}"):
        read_lines(tmp_path / "text", "--flag")

"""What a file is, by its bytes, and what it is called."""

import io
import zipfile
from pathlib import Path

import pytest

from app.files.names import is_stored_name, shown_name, stored_name
from app.files.sniff import sniffed


def archive(*names: str, mimetype: str = "") -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as writer:
        if mimetype:
            writer.writestr("mimetype", mimetype)
        for name in names:
            writer.writestr(name, "<x/>")
    return made.getvalue()


PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + b"\0" * 60
EXE = b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff\0\0" + b"\0" * 100


@pytest.mark.parametrize(
    ("data", "name", "claimed", "expected"),
    [
        (b"just words", "a.png", "image/png", "text/plain"),
        ("Grüße, 你好".encode(), "a.txt", "", "text/plain"),
        (b"\xef\xbb\xbfmarked", "a.txt", "", "text/plain"),
        ("UTF-16".encode("utf-16"), "a.txt", "", "text/plain"),
        (b"", "empty.pdf", "application/pdf", "text/plain"),
        (b"<script>alert(1)</script>", "a.html", "text/html", "text/plain"),
        (b'<svg onload="x()"/>', "a.svg", "image/svg+xml", "text/plain"),
        (b'{"a": [1, "x"]}', "a.json", "", "application/json"),
        (b'{"a": [1, "x"]}', "a", "application/json; charset=utf-8", "application/json"),
        (b'{"a": [1, "x"]}', "a.txt", "text/plain", "text/plain"),
        (b'{"a": [1, "x"', "a.json", "application/json", "text/plain"),
        (b"[" * 100_000, "a.json", "", "text/plain"),
        (b"a,b\r\n1,2\r\n", "a.csv", "", "text/csv"),
        (b'a,b\n"1,2\n', "a.csv", "text/csv", "text/plain"),
        (b"one column", "a.csv", "text/csv", "text/plain"),
        (b"%PDF-1.7\n1 0 obj", "a.txt", "text/plain", "application/pdf"),
        (b"%PDF-1.7\n\xff\xfe\0 1 0 obj", "a.txt", "", "application/pdf"),
        (PNG, "a.txt", "text/plain", "image/png"),
        (EXE, "holiday.jpg", "image/jpeg", "application/vnd.microsoft.portable-executable"),
        (b"\x7fELF\x02\x01\x01" + b"\0" * 60, "a.pdf", "", "application/x-executable"),
        (archive("a.txt"), "a.docx", "", "application/zip"),
        (archive("[Content_Types].xml", "xl/workbook.xml"), "a.zip", "", "spreadsheetml.sheet"),
        (
            archive("content.xml", mimetype="application/vnd.oasis.opendocument.text"),
            "a",
            "",
            "opendocument.text",
        ),
        (b"\0\1\2\3" * 40, "a.txt", "text/plain", "application/octet-stream"),
        (b"text with \0 in it", "a.txt", "text/plain", "application/octet-stream"),
        (b"\xff\xfe\0", "half.txt", "", "application/octet-stream"),
        ("中文".encode("gb18030"), "a.txt", "text/plain", "application/octet-stream"),
    ],
)
def test_bytes_decide_and_not_what_the_sender_says(
    tmp_path: Path, data: bytes, name: str, claimed: str, expected: str
) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    assert sniffed(path, name, claimed).endswith(expected)


def test_text_is_judged_to_its_end(tmp_path: Path) -> None:
    """Guard: a look at the beginning alone takes this for text."""
    path = tmp_path / "file"
    path.write_bytes(b"words " * 200_000 + b"\0")
    assert sniffed(path, "a.txt", "text/plain") == "application/octet-stream"


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\ana\\report.pdf", "report.pdf"),
        ("a\0b\r\nSet-Cookie: x.txt", "abSet-Cookie: x.txt"),
        ("..", "file"),
        ("", "file"),
        ("/", "file"),
        (" . ", "file"),
        ("报告.pdf", "报告.pdf"),
        ("x" * 300 + ".csv", "x" * 196 + ".csv"),
    ],
)
def test_names_lose_what_could_do_harm(given: str, shown: str) -> None:
    assert shown_name(given) == shown


@pytest.mark.parametrize(
    ("name", "extension"),
    [("a.PDF", ".PDF"), ("a.tar.gz", ".gz"), ("a.p/d", ""), ("a.<x>", ""), ("a", ""), ("a." + "x" * 11, "")],
)
def test_a_stored_name_has_a_harmless_extension_or_none(name: str, extension: str) -> None:
    made = stored_name("0" * 32, name)
    assert made == "0" * 32 + extension
    assert is_stored_name(made)
    assert not is_stored_name(f"../{made}")

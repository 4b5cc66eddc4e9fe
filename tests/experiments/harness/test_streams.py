"""What is printed where nobody reads it, where there is no room, and where letters are missing."""

import io
import os
import sys

import pytest

from experiments.harness.streams import make_streams_usable
from experiments.harness.usage import UsageError


def stream(descriptor, encoding="utf-8"):
    return io.TextIOWrapper(io.BufferedWriter(io.FileIO(descriptor, "w", closefd=False)), encoding)


def test_a_reader_that_has_gone_is_no_fault(monkeypatch):
    for name in ("stdout", "stderr"):
        reader, writer = os.pipe()
        os.close(reader)
        monkeypatch.setattr(sys, name, stream(writer))
    make_streams_usable()
    for _ in range(3):
        print("to nobody", flush=True)
        print("to nobody", file=sys.stderr)


def test_a_closed_stream_is_no_fault(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    make_streams_usable()
    print("to nobody", file=sys.stderr)
    assert not sys.stderr.isatty()
    sys.stdout.write("to nobody")
    sys.stdout.close()
    sys.stderr.close()


def test_no_room_is_refused_once(monkeypatch):
    monkeypatch.setattr(sys, "stdout", stream(os.open("/dev/full", os.O_WRONLY)))
    monkeypatch.setattr(sys, "stderr", stream(os.open("/dev/full", os.O_WRONLY)))
    make_streams_usable()
    with pytest.raises(
        UsageError, match="cannot write to standard output: No space left on device"
    ):
        print("too much", flush=True)
    print("the rest", flush=True)
    print("the reason", file=sys.stderr)


@pytest.mark.parametrize(
    ("encoding", "expected"), [("ascii", rb"\u03c3 = \xbd"), ("latin-1", b"\\u03c3 = \xbd")]
)
def test_letters_that_are_missing_are_escaped(monkeypatch, tmp_path, encoding, expected):
    path = tmp_path / "printed"
    monkeypatch.setattr(sys, "stdout", stream(os.open(path, os.O_WRONLY | os.O_CREAT), encoding))
    make_streams_usable()
    print("σ = ½")
    assert path.read_bytes() == expected + b"\n"

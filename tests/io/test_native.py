"""What C and C++ print is caught; what anybody else prints is not lost."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from anatomark.errors import ImageWarning
from anatomark.io.native import told

PATH = Path("xray.jpg")


@pytest.mark.parametrize("descriptor", [1, 2])
def test_a_complaint_becomes_one_warning(
    descriptor: int, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.warns(ImageWarning, match=r"^xray\.jpg: may be damaged: Corrupt JPEG data") as seen:
        with told(PATH):
            os.write(descriptor, b"Corrupt JPEG data: bad code\nPremature end of JPEG file\n")
    assert len(seen) == 1
    assert capfd.readouterr() == ("", "")


BUFFERED = """
import ctypes, pathlib
from anatomark.io.native import told
with told(pathlib.Path("xray.jpg"), quiet=True):
    ctypes.CDLL(None).printf(b"Corrupt JPEG data: still in the buffer of C\\n")
"""


@pytest.mark.skipif(os.name != "posix", reason="needs the C library of the process")
def test_what_c_has_in_its_buffer_is_caught_too() -> None:
    usual = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    done = subprocess.run(
        [sys.executable, "-c", BUFFERED], capture_output=True, text=True, check=True, env=usual
    )
    assert (done.stdout, done.stderr) == ("", "")


def test_what_others_print_meanwhile_goes_where_it_was_meant(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with told(PATH):
        os.write(1, b'{"json": 1}\n')
        os.write(2, b"progress 50 %\n")
    assert capfd.readouterr() == ('{"json": 1}\n', "progress 50 %\n")


def test_remarks_and_quiet_reading_warn_of_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with told(PATH):
            os.write(2, b"TIFFReadDirectory: Warning, Unknown field with tag 37724\n")
        with told(PATH, quiet=True):
            os.write(2, b"Corrupt JPEG data: bad code\n")
    assert capfd.readouterr() == ("", "")


def test_the_streams_are_restored_after_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError, match="ITK"), told(PATH):
        raise RuntimeError("ITK")
    os.write(1, b"out")
    os.write(2, b"err")
    assert capfd.readouterr() == ("out", "err")

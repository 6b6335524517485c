"""The habits of ITK and the libraries below it: which file they open, and what they print.

What they print is caught, and told as one warning or not at all.

libjpeg as ITK builds it prints on stdout, where the JSON of a command belongs; libtiff and MetaIO
print on stderr, where one clear line belongs.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from anatomark.errors import AnatomarkError, ImageWarning
from anatomark.io.files import reason_of, suffix_of

_LIBRARY = re.compile(
    r"_?TIFF|LZW|ZIP|PackBits|Fax|.*JPEG|libpng|Premature end|Invalid|Bogus|Unsupported"
    r"|Uncompress|Warning: unknown JFIF|Huffman|Meta(Image|Object)"
    r"|\*\* ERROR| +ideal =|Marker handler"
)
# A library's guess at the format that failed, or a remark that says nothing about the picture.
_HARMLESS = re.compile(
    r"Unknown field with tag|libpng warning|ideal =|unknown JFIF|data precision"
    r"|Invalid SOS|Unsupported marker"
)
# Reading may nest (a field inside a transform file), so one thread may hold a lock twice.
_LOCKS = {1: threading.RLock(), 2: threading.RLock()}


def simpleitk() -> Any:
    """SimpleITK, imported late because it takes long, and untyped because it is hardly typed."""
    import SimpleITK

    return SimpleITK


@contextmanager
def told(path: Path, *, quiet: bool = False) -> Iterator[None]:
    """Catch what is printed in the block; unless ``quiet``, warn where ``path`` may be damaged.

    What somebody else prints meanwhile (another thread, say) is passed on.
    """
    with captured(1) as out, captured(2) as err:
        yield
    complaints = [line for fd, said in ((1, out), (2, err)) for line in _sifted(fd, "".join(said))]
    if complaints and not quiet:
        warnings.warn(
            ImageWarning(f"{path}: may be damaged: {complaints[0].strip()}"), stacklevel=2
        )


def _sifted(descriptor: int, said: str) -> list[str]:
    """Complaints of the libraries; the rest is printed where it was meant to go."""
    lines = said.splitlines(keepends=True)
    others = [line for line in lines if not _LIBRARY.match(line)]
    if others:
        os.write(descriptor, "".join(others).encode())
    return [line for line in lines if _LIBRARY.match(line) and not _HARMLESS.search(line)]


@contextmanager
def captured(descriptor: int) -> Iterator[list[str]]:
    """Catch what libraries print on stdout (1) or stderr (2); the list holds it after the block."""
    said: list[str] = []
    if not _is_open(descriptor):  # a service without stdout or stderr: nobody would see it
        yield said
        return
    with _LOCKS[descriptor], tempfile.TemporaryFile() as sink:
        saved = os.dup(descriptor)
        (sys.stdout if descriptor == 1 else sys.stderr).flush()
        os.dup2(sink.fileno(), descriptor)
        try:
            yield said
        finally:
            _flush_c()
            os.dup2(saved, descriptor)
            os.close(saved)
            sink.seek(0)
            said.append(sink.read().decode(errors="replace"))


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _flush_c() -> None:
    """Flush the buffers of C, which would else be printed after stdout is itself again."""
    if os.name == "posix":
        ctypes.CDLL(None).fflush(None)


@contextmanager
def named_for_itk(path: Path) -> Iterator[str]:
    """Name by which ITK reads this file and no other: of a copy, where its own will not do.

    ITK knows a transform by an extension in lower case only, and for ``case.nii.gz`` it takes the
    voxels of ``case.nii`` where that lies beside it.
    """
    suffix = suffix_of(path)
    twin = suffix == ".nii.gz" and path.with_suffix("").exists()
    if path.name.endswith(suffix) and not twin:
        yield str(path)
        return
    with tempfile.TemporaryDirectory() as folder:
        try:
            copy = shutil.copyfile(path, Path(folder) / f"copy{suffix}")
        except OSError as fault:
            raise AnatomarkError(f"cannot be read: {reason_of(fault)}", path=path) from None
        yield str(copy)


@contextmanager
def itk_warnings(*, shown: bool) -> Iterator[None]:
    """Let ITK print its warnings in the block, or not, whatever was set before."""
    process = simpleitk().ProcessObject
    before = process.GetGlobalWarningDisplay()
    process.SetGlobalWarningDisplay(shown)
    try:
        yield
    finally:
        process.SetGlobalWarningDisplay(before)

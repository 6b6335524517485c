"""What the libraries below ITK print: caught, and told as one warning or not at all.

libjpeg as ITK builds it prints on stdout, where the JSON of a command belongs; libtiff and MetaIO
print on stderr, where one clear line belongs.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from anatomark.errors import ImageWarning
from anatomark.io.itk_files import captured_stderr

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
_STDOUT = threading.Lock()


@contextmanager
def told(path: Path, *, quiet: bool = False) -> Iterator[None]:
    """Catch what is printed in the block; unless ``quiet``, warn where ``path`` may be damaged.

    What somebody else prints meanwhile (another thread, say) is passed on.
    """
    with _captured_stdout() as out, captured_stderr() as err:
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
def _captured_stdout() -> Iterator[list[str]]:
    said: list[str] = []
    with _STDOUT, tempfile.TemporaryFile() as sink:
        sys.stdout.flush()
        saved = os.dup(1)
        os.dup2(sink.fileno(), 1)
        try:
            yield said
        finally:
            _flush_c()
            os.dup2(saved, 1)
            os.close(saved)
            sink.seek(0)
            said.append(sink.read().decode(errors="replace"))


def _flush_c() -> None:
    """Flush the buffers of C, which would else be printed after stdout is itself again."""
    if os.name == "posix":
        ctypes.CDLL(None).fflush(None)

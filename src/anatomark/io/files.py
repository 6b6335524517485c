"""Reading and writing bytes so that errors name the file and nothing is left half-written."""

from __future__ import annotations

import errno
import os
import string
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from anatomark.errors import AnatomarkError, UsageError, WriteError

_LOOKED_AT = 4096  # bytes by which text is told from what is none
_DOUBLE_SUFFIXES = (".nii.gz", ".mrk.json", ".seg.nrrd", ".ome.tiff")


def suffix_of(path: str | os.PathLike[str]) -> str:
    """Lower-case extension, with both parts where there are two (``.nii.gz``, ``.mrk.json``)."""
    name = Path(path).name.lower()
    for double in _DOUBLE_SUFFIXES:
        if name.endswith(double):
            return double
    return Path(name).suffix


def stem_of(path: str | os.PathLike[str]) -> str:
    """File name without the extension that ``suffix_of`` names."""
    name = Path(path).name
    suffix = suffix_of(path)
    return name[: len(name) - len(suffix)] if suffix else name


def pick_format(table: Mapping[str, Any], path: str | os.PathLike[str], *, what: str) -> Any:
    """Look a file's extension up in a format table, or say which extensions there are."""
    suffix = suffix_of(path)
    if suffix not in table:
        raise UsageError(
            f"{what} cannot have the extension {suffix!r}"
            if suffix
            else f"{what} needs an extension",
            path=path,
            fix=f"use one of {', '.join(sorted(table))}",
        )
    return table[suffix]


def reason_of(error: OSError) -> str:
    """Short reason of an operating system error, without its number and path."""
    return (error.strerror or str(error) or type(error).__name__).lower()


def check_not_a_file(out: Path) -> None:
    """Refuse a file where a folder is to be written."""
    if out.exists() and not out.is_dir():
        raise UsageError("is a file", path=out, fix="name a folder for --out")


def check_free(
    paths: Sequence[str | os.PathLike[str]],
    used: Sequence[str | os.PathLike[str]],
    *,
    overwrite: bool,
) -> None:
    """Refuse to write over what went in, or over what is there unless ``overwrite``."""
    inputs = {Path(path).resolve() for path in used}
    for path in map(Path, paths):
        if path.resolve() in inputs:
            raise UsageError("is one of the inputs", path=path, fix="name another --out")
        if path.exists() and not overwrite:
            raise UsageError("is there already", path=path, fix="say --overwrite, or another --out")


def check_readable(path: str | os.PathLike[str], error: type[AnatomarkError]) -> Path:
    """Raise ``error`` unless ``path`` is a readable, non-empty file."""
    file = Path(path)
    try:
        with file.open("rb") as stream:
            first = stream.read(1)
    except OSError as fault:
        raise error(
            f"cannot be read: {reason_of(fault)}", path=file, fix="check the path"
        ) from None
    except ValueError:  # a NUL in the name
        raise error("is not a file name", path=ascii(os.fspath(path)), fix="check it") from None
    if not first:
        raise error("the file is empty", path=file, fix="copy or export it again")
    return file


def read_text(path: str | os.PathLike[str], error: type[AnatomarkError]) -> str:
    """Text of a UTF-8 file (a byte order mark is dropped); raises ``error``, naming the file."""
    file = check_readable(path, error)
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as fault:
        raise _not_text(file, fault, error) from None
    except OSError as fault:
        raise error(f"cannot be read: {reason_of(fault)}", path=file) from None


def _not_text(file: Path, fault: UnicodeDecodeError, error: type[AnatomarkError]) -> AnatomarkError:
    """What to say of bytes that are not UTF-8: text in another encoding, or no text at all."""
    wide = fault.object.startswith((b"\xff\xfe", b"\xfe\xff"))
    start = fault.object[:_LOOKED_AT].decode("utf-16" if wide else "latin-1", errors="replace")
    plain = sum(letter in string.printable for letter in start)
    if "\0" in start or plain < len(start) / 2:
        return error("is not a text file", path=file, fix="check that it is the right file")
    excel = " (in Excel: CSV UTF-8)" if suffix_of(file) in {".csv", ".txt"} else ""
    return error("is text, but not in UTF-8", path=file, fix=f"save it as UTF-8{excel}")


@contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that replaces it only when all went well.

    The temporary name keeps the extension, so that a library can tell the format from it. An
    operating system error becomes a ``WriteError``; the old file, if any, stays as it was.
    """
    target = Path(path)
    if target.is_symlink():
        target = target.resolve()  # the file is replaced, not the link to it
    suffix = suffix_of(target)
    temporary: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_dir():
            raise WriteError("cannot be written: it is a folder", path=target, fix="name a file")
        handle, name = tempfile.mkstemp(prefix=".anatomark-", suffix=suffix, dir=target.parent)
        os.close(handle)
        temporary = Path(name)
        # What was private stays private.
        temporary.chmod(target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~_umask())
        yield temporary
        _flush(temporary)
        temporary.replace(target)
        temporary = None
    except OSError as fault:
        raise WriteError(
            f"cannot be written: {reason_of(fault)}",
            path=target,
            fix="free some space"
            if fault.errno in {errno.ENOSPC, errno.EDQUOT}
            else "choose another folder, or one that you may write to",
        ) from fault
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write UTF-8 text, whole or not at all."""
    with writing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _flush(path: Path) -> None:
    """Force the bytes to disk, so that a full disk shows before the old file is replaced."""
    handle = os.open(path, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

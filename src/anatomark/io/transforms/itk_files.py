"""ITK transform files, read so that a damaged file never passes for an identity.

ITK's own readers take a text file that ends early for the identity, use the first of several
transforms, and fill what a truncated ``.mat`` lacks from unset memory. So what the file says it
holds is counted here, apart from ITK, and compared with what ITK made of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from anatomark.errors import TransformError
from anatomark.io.native import captured, itk_warnings, named_for_itk, simpleitk

ITK_TEXT = "#Insight Transform File"
_COMPOSITE = "CompositeTransform"
_AGAIN = "export the transform again"


@dataclass
class _Record:
    """What a file says about one transform: its type and how many numbers it lists."""

    kind: str
    numbers: dict[str, int] = field(default_factory=dict)

    @property
    def composite(self) -> bool:
        return self.kind.startswith(_COMPOSITE)


# -- reading ---------------------------------------------------------------------------------------


def read_itk_text(path: Path, text: str) -> Any:
    """SimpleITK transform of an ITK text file whose ``text`` was read already."""
    records = _text_records(text)
    transform = _read(path)
    _compare(records, transform)
    return transform


def read_itk_hdf5(path: Path) -> Any:
    """SimpleITK transform of an ITK (or 3D Slicer) HDF5 file."""
    return _read(path)


def read_itk_matlab(path: Path) -> Any:
    """SimpleITK transform of an ITK MATLAB file, as ANTs writes affine transforms."""
    records = _matlab_records(path)
    transform = _read(path)
    _compare(records, transform)
    return transform


def _text_records(text: str) -> list[_Record]:
    if not text.startswith(ITK_TEXT):
        raise TransformError(
            "is not an ITK transform file: its first line does not say so", fix=_AGAIN
        )
    records: list[_Record] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip() and not line.startswith("#"):
            _add_line(records, number, line)
    if not records:
        raise TransformError("holds no transform", fix=_AGAIN)
    return records


def _add_line(records: list[_Record], number: int, line: str) -> None:
    tag, _, rest = line.partition(":")
    if tag == "Transform":
        records.append(_Record(rest.strip()))
    elif tag in {"Parameters", "FixedParameters"} and records:
        if tag in records[-1].numbers:
            raise TransformError(f"line {number} gives {tag} for the second time", fix=_AGAIN)
        records[-1].numbers[tag] = _count_numbers(number, rest)
    else:
        raise TransformError(f"line {number} is not part of an ITK transform file", fix=_AGAIN)


def _count_numbers(line_number: int, rest: str) -> int:
    try:
        values = np.array(rest.split(), np.float64)
    except ValueError:
        raise TransformError(f"line {line_number} holds something not a number") from None
    if not np.isfinite(values).all():
        raise TransformError(f"line {line_number} holds a number that is not finite", fix=_AGAIN)
    return len(values)


def _matlab_records(path: Path) -> list[_Record]:
    from scipy.io import loadmat, whosmat

    try:
        # Variables of one name hide each other in what is loaded, not in the list of them.
        if len(whosmat(path)) > 2:
            raise _side_by_side()
        content = {k: v for k, v in loadmat(path).items() if not k.startswith("__")}
        fixed = content.pop("fixed")
        ((kind, parameters),) = content.items()
    except TransformError:
        raise
    except Exception:  # scipy raises nearly anything on a damaged file
        raise TransformError(
            "is not a whole ITK transform in MATLAB format",
            fix="export it again; a text matrix of FSL FLIRT must be converted to ITK format first",
        ) from None
    return [_Record(kind, {"Parameters": parameters.size, "FixedParameters": fixed.size})]


def _compare(records: list[_Record], transform: Any) -> None:
    """Raise unless ITK used all that the file lists."""
    first, *others = records
    if others and not first.composite:
        raise _side_by_side()
    stated = [r for r in records if not r.composite]
    if any(r.composite for r in others) or not stated:
        raise TransformError("the composite transform is empty or nested", fix=_AGAIN)
    if len({_dimensions(r.kind) for r in stated}) > 1:
        raise TransformError("mixes 2D and 3D transforms", fix=_AGAIN)
    leaves = list(_leaves(transform))
    if len(leaves) != len(stated):
        raise TransformError(f"lists {len(stated)} transforms, {len(leaves)} can be read")
    for record, leaf in zip(stated, leaves, strict=True):
        _compare_one(record, leaf)


def _compare_one(record: _Record, leaf: Any) -> None:
    expected = {
        "Parameters": {leaf.GetNumberOfParameters()},
        "FixedParameters": {leaf.GetNumberOfFixedParameters()},
    }
    if record.kind.startswith(("AffineTransform", "MatrixOffsetTransformBase")):
        # ITK keeps what is too much, and would read a 4×4 matrix as 3×3 and a shift.
        dim = leaf.GetDimension()
        expected = {"Parameters": {dim * dim + dim}, "FixedParameters": {dim}}
    if record.kind.startswith("Euler3DTransform"):
        expected["FixedParameters"].add(3)  # written before ITK stored the order of the angles
    for tag, allowed in expected.items():
        found = record.numbers.get(tag)
        if found is None:
            raise TransformError(f"{record.kind} has no {tag}: the file is cut off", fix=_AGAIN)
        if found not in allowed:
            raise TransformError(
                f"{record.kind} needs {max(allowed)} {tag}, the file has {found}", fix=_AGAIN
            )


def _dimensions(kind: str) -> str:
    found = re.search(r"_(\d+_\d+)(_\d+)?$", kind)
    return found[1] if found else ""


def _leaves(transform: Any) -> Iterator[Any]:
    parts = getattr(transform, "GetNumberOfTransforms", None)
    if parts is None:
        yield transform
        return
    for i in range(parts()):
        yield from _leaves(transform.GetNthTransform(i))


def _read(path: Path) -> Any:
    sitk = simpleitk()

    # That there are several transforms is something ITK only warns of.
    with named_for_itk(path) as name, captured(2) as said, itk_warnings(shown=True):
        try:
            transform = sitk.ReadTransform(name)
        except (RuntimeError, KeyError, TypeError) as fault:
            raise _explained(fault) from None
    if "more than one transform" in "".join(said):
        raise _side_by_side()
    return transform


def _side_by_side() -> TransformError:
    return TransformError(
        "holds several transforms side by side and does not say how they combine",
        fix="store them as one CompositeTransform, or one a file",
    )


def _explained(fault: Exception) -> TransformError:
    """What SimpleITK's message means to somebody who did not write it."""
    message = str(fault)
    if not isinstance(fault, RuntimeError) or "is not of type" in message:
        return TransformError(
            "its type of transform is not supported", fix="store it as an AffineTransform"
        )
    kind = re.search(r'instance of "([^"]*)"', message)
    if kind:
        return TransformError(
            f"its transform type {kind[1]} cannot be read",
            fix="convert it to a displacement field (3D Slicer: Transforms, Convert) and save that",
        )
    if "InputSpaceDimension" in message:
        return TransformError("the transform is neither 2D nor 3D")
    return TransformError("is not a whole transform file of the kind its name says", fix=_AGAIN)


# -- writing ---------------------------------------------------------------------------------------


def itk_text(transform: Any, note: str) -> str:
    """Text of an ITK transform file; ``note`` is a comment line below the first.

    Written here and not by ITK, which says nothing when a full disk cuts the file off.
    """
    blocks = [_block(leaf) for leaf in _leaves(transform)]
    if len(blocks) > 1:
        dim = transform.GetDimension()
        blocks.insert(0, f"Transform: {_COMPOSITE}_double_{dim}_{dim}\n")
    numbered = [f"#Transform {i}\n{block}" for i, block in enumerate(blocks)]
    return f"{ITK_TEXT} V1.0\n{note}\n{''.join(numbered)}"


def _block(leaf: Any) -> str:
    return (
        f"Transform: {_kind(leaf)}\n"
        f"Parameters: {_numbers(leaf.GetParameters())}\n"
        f"FixedParameters: {_numbers(leaf.GetFixedParameters())}\n"
    )


def _kind(leaf: Any) -> str:
    dim = leaf.GetDimension()
    order = getattr(leaf, "GetOrder", lambda: 3)()
    return f"{leaf.GetName()}_double_{dim}_{dim}" + (f"_{order}" if order != 3 else "")


def _numbers(values: tuple[float, ...]) -> str:
    return " ".join(map(repr, values))


def write_itk_hdf5(transform: Any, path: Path) -> None:
    """Write an ITK HDF5 file, as 3D Slicer uses."""
    sitk = simpleitk()

    with captured(2):
        try:
            sitk.WriteTransform(transform, str(path))
            sitk.ReadTransform(str(path))  # the last bytes are flushed without a check
        except RuntimeError:
            raise OSError("the HDF5 library could not write it all (is the disk full?)") from None

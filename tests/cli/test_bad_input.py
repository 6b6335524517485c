"""Bad input, one by one: exit 2, one clear line, nothing half-written."""

from __future__ import annotations

import gzip
import json
import os
import struct
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from anatomark import Grid, Image, Landmarks, write_image, write_landmarks
from anatomark.cli import main

RNG = np.random.default_rng(0)


def volume(path: Path, array: np.ndarray | None = None) -> Path:
    array = RNG.normal(size=(6, 7, 8)).astype("f4") if array is None else array
    write_image(Image(array, Grid(array.shape, [1.0] * array.ndim)), path)
    return path


def film(path: Path) -> Path:
    write_image(Image(RNG.integers(0, 255, (30, 40), np.uint8), Grid((30, 40), unit="px")), path)
    return path


def patched_nifti(path: Path, offset: int, values: bytes) -> Path:
    """A sound NIfTI with some bytes of its header overwritten."""
    volume(path)
    content = bytearray(path.read_bytes())
    content[offset : offset + len(values)] = values
    path.write_bytes(content)
    return path


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def cut(path: Path, part: float) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    return path


def markups(**changes: object) -> str:
    node = {
        "type": "Fiducial",
        "coordinateSystem": "LPS",
        "coordinateUnits": "mm",
        "controlPoints": [{"id": "1", "label": "tip", "position": [1, 2, 3]}],
    }
    node.update(changes)
    return json.dumps({"markups": [{k: v for k, v in node.items() if v is not None}]})


def fortran_order_4d(path: Path) -> Path:
    sitk = pytest.importorskip("SimpleITK")
    frames = [sitk.GetImageFromArray(RNG.normal(size=(4, 5, 6))) for _ in range(3)]
    sitk.WriteImage(sitk.JoinSeries(frames), str(path))
    return path


PIXDIM, SROW_X, QFORM_CODE = 76, 280, 252

IMAGES: dict[str, tuple[str, Callable[[Path], Path], str]] = {
    "no such file": ("a.nii.gz", lambda p: p, "no such file"),
    "empty": ("a.nii.gz", lambda p: write(p, ""), "empty"),
    "text renamed": ("a.nii.gz", lambda p: write(p, "hello, I am a text\n" * 40), "a.nii.gz"),
    "gzipped text": ("a.nii.gz", lambda p: write(p, gzip.compress(b"hello " * 99)), "a.nii.gz"),
    "truncated nifti": ("a.nii.gz", lambda p: cut(volume(p), 0.6), "a.nii.gz"),
    "truncated raw nifti": ("a.nii", lambda p: cut(volume(p), 0.6), "a.nii"),
    "truncated nrrd": ("a.nrrd", lambda p: cut(volume(p), 0.6), "a.nrrd"),
    "truncated mha": ("a.mha", lambda p: cut(volume(p), 0.8), "a.mha"),
    "truncated png": ("a.png", lambda p: cut(film(p), 0.6), "a.png"),
    "negative spacing": (
        "a.nii",
        lambda p: patched_nifti(p, PIXDIM + 4, struct.pack("<f", -1.0)),
        "a.nii",
    ),
    "zero spacing": (
        "a.mha",
        lambda p: write(
            volume(p), p.read_bytes().replace(b"ElementSpacing = 1 1 1", b"ElementSpacing = 1 0 1")
        ),
        "spacing",
    ),
    "not-a-number spacing": (
        "a.mha",
        lambda p: write(
            volume(p),
            p.read_bytes().replace(b"ElementSpacing = 1 1 1", b"ElementSpacing = 1 nan 1"),
        ),
        "spacing",
    ),
    "singular direction": (
        "a.mha",
        lambda p: write(
            volume(p),
            p.read_bytes().replace(
                b"TransformMatrix = 1 0 0 0 1 0 0 0 1", b"TransformMatrix = 1 0 0 1 0 0 0 0 1"
            ),
        ),
        "direction",
    ),
    "4D": ("a.nii.gz", fortran_order_4d, "4"),
    "NaN voxels": (
        "a.nii.gz",
        lambda p: volume(p, np.where(RNG.random((4, 5, 6)) < 0.1, np.nan, 1.5)),
        "nan",
    ),
    "infinite voxels": (
        "a.nii.gz",
        lambda p: volume(p, np.where(RNG.random((4, 5, 6)) < 0.1, np.inf, RNG.random((4, 5, 6)))),
        "inf",
    ),
    "constant": ("a.nii.gz", lambda p: volume(p, np.full((4, 5, 6), 7.0)), "7"),
    "unknown extension": ("a.xyz", lambda p: write(p, "x"), "xyz"),
    "a folder without images": ("folder", lambda p: p.mkdir() or p, "folder"),
}


def one_line(capsys) -> str:
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = [line for line in captured.err.splitlines() if not line.startswith("warning: ")]
    assert len(lines) == 1, captured.err
    assert lines[0].startswith("error: ")
    return lines[0]


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_that_cannot_be_used(name, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    file, make, says = IMAGES[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        make(Path(file))
    capfd.readouterr()
    before = sorted(p.name for p in tmp_path.iterdir())
    assert main(["show", file, "--out", "out.png"]) == 2
    line = one_line(capfd)
    assert says.lower() in line.lower()
    assert file in line
    assert sorted(p.name for p in tmp_path.iterdir()) == before


DEEP = '{"markups":' + "[" * 100_000 + "]" * 100_000 + "}"
LANDMARKS: dict[str, tuple[str, str, str]] = {
    "a JSON bomb": ("a.mrk.json", DEEP, "nest"),
    "a JSON bomb of our own": ("a.json", "[" * 200_000, "a.json"),
    "half a JSON": ("a.mrk.json", markups()[:60], "JSON"),
    "no coordinate system": ("a.mrk.json", markups(coordinateSystem=None), "coordinateSystem"),
    "unknown coordinate system": ("a.mrk.json", markups(coordinateSystem="XYZ"), "XYZ"),
    "unknown units": ("a.mrk.json", markups(coordinateUnits="furlong"), "furlong"),
    "a point that is no point": (
        "a.mrk.json",
        markups(controlPoints=[{"label": "tip", "position": [1, "two", 3]}]),
        "tip",
    ),
    "duplicate names": (
        "a.mrk.json",
        markups(controlPoints=[{"label": "tip", "position": [k, 0, 0]} for k in (1, 2)]),
        "duplicate",
    ),
    "duplicate names in a table": (
        "a.csv",
        "name,x_mm,y_mm,z_mm,frame\na,1,2,3,LPS\na,1,2,3,LPS\n",
        "repeats",
    ),
    "a missing column": ("a.csv", "name,x_mm,z_mm,frame\na,1,3,LPS\n", "y"),
    "no unit": ("a.csv", "name,x,y,z\na,1,2,3\n", "unit"),
    "a word for a number": ("a.csv", "name,x_mm,y_mm,z_mm,frame\na,1,two,3,LPS\n", "two"),
    "fcsv without a frame": (
        "a.fcsv",
        "# columns = id,x,y,z,label\n1,1,2,3,tip\n",
        "CoordinateSystem",
    ),
    "not ISBI": ("a.txt", "hello\n", "a.txt"),
    "binary": ("a.csv", "\x00\x01\xff", "a.csv"),
    "empty": ("a.json", "", "empty"),
    "a version from the future": ("a.json", '{"format":"anatomark-landmarks","version":99}', "99"),
}


@pytest.mark.parametrize("name", LANDMARKS)
def test_landmarks_that_cannot_be_used(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    file, content, says = LANDMARKS[name]
    write(Path(file), content.encode("latin-1"))
    assert main(["convert", file, "out.mrk.json"]) == 2
    line = one_line(capsys)
    assert says.lower() in line.lower()
    assert file in line
    assert [p.name for p in tmp_path.iterdir()] == [file]


NOTE = "# anatomark transform; frame LPS; direction points; unit mm\n"
TRANSFORMS = {
    "empty": ("a.tfm", ""),
    "not a transform": ("a.tfm", "hello\n"),
    "half a transform": (
        "a.tfm",
        "#Insight Transform File V1.0\nTransform: AffineTransform_double_3_3\nParam",
    ),
    "not an HDF5 file": ("a.h5", "hello"),
    "singular": (
        "a.txt",
        NOTE + "0 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n",
    ),
    "not a number": (
        "a.txt",
        NOTE + "nan 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n",
    ),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms_that_cannot_be_used(name, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    file, content = TRANSFORMS[name]
    write(Path(file), content)
    assert main(["convert", file, "out.tfm", "--direction", "points"]) == 2
    assert file in one_line(capfd)
    assert [p.name for p in tmp_path.iterdir()] == [file]


def test_points_far_outside_the_image_stop_an_import_that_asks_for_it(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    volume(Path("in/a.nii.gz"))
    write_landmarks(
        Landmarks(["x", "y", "z"], [[1, 1, 1], [2, 2, 2], [900, 0, 0]]), Path("in/a.mrk.json")
    )
    assert main(["import", "slicer", "in", "--out", "c", "--outside", "error"]) == 2
    assert "outside" in capsys.readouterr().err
    assert not Path("c").exists()


def test_a_path_that_escapes_the_cohort_folder(tmp_path):
    from anatomark import read_cohort
    from anatomark.errors import CohortError

    volume(tmp_path / "secret.nii.gz")
    folder = tmp_path / "cohort"
    folder.mkdir()
    write(folder / "cohort.csv", "case,image\na,../secret.nii.gz\n")
    write(folder / "cohort.toml", 'format = "anatomark-cohort"\nversion = 1\nunit = "mm"\n')
    with pytest.raises(CohortError, match="outside|escape|leave"):
        read_cohort(folder)


@pytest.mark.parametrize("command", [["show", "a.nii.gz", "--out"], ["convert", "p.json"]])
def test_an_unwritable_place(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    volume(Path("a.nii.gz"))
    write_landmarks(Landmarks(["x"], [[1, 1, 1]]), Path("p.json"))
    target = "/proc/anatomark/x.png" if command[0] == "show" else "/proc/anatomark/x.json"
    assert main([*command, target]) == 2
    assert "cannot be written" in one_line(capsys)


def test_an_unreadable_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    volume(Path("a.nii.gz")).chmod(0)
    if os.access("a.nii.gz", os.R_OK):
        # The superuser reads everything: a path below a file is unreadable for everyone.
        assert main(["show", "a.nii.gz/b.nii.gz"]) == 2
        assert "not a directory" in one_line(capsys)
    else:
        assert main(["show", "a.nii.gz"]) == 2
        assert "permission denied" in one_line(capsys)


def test_a_full_disk_leaves_no_half_cohort_and_no_half_picture(small_disk, capsys):
    words = [
        "phantom",
        "chest",
        "--cases",
        "3",
        "--shape",
        "256,256",
        "--out",
        str(small_disk / "c"),
    ]
    assert main(words) == 2
    assert "no space left" in one_line(capsys)
    image = film(small_disk.parent / "a.png")
    filler = small_disk / "filler"
    filler.write_bytes(bytes(60_000))
    assert main(["show", str(image), "--out", str(small_disk / "p.png")]) == 2
    assert "no space left" in one_line(capsys)
    assert list(small_disk.iterdir()) == [filler]

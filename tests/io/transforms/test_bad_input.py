"""Transform files that cannot be read or written: each ends in one line that names the file."""

from __future__ import annotations

import resource
from contextlib import contextmanager

import numpy as np
import pytest
import SimpleITK as sitk

from anatomark.errors import GeometryError, TransformError, UsageError, WriteError
from anatomark.geometry import Grid
from anatomark.io.transforms.formats import TRANSFORM_SUFFIXES, read_transform, write_transform
from anatomark.maps import Affine, Displacement

ITK_SUFFIXES = [".tfm", ".h5", ".hdf5"]
FIELD_SUFFIXES = [".nii", ".nii.gz", ".nrrd", ".mha"]
GRID = Grid((12, 13, 14), spacing=(4, 4, 4), origin=(-25, -24, -23))
FIELD = Displacement(GRID, np.random.default_rng(0).normal(size=(3, *GRID.shape)))
FLAT = """#Insight Transform File V1.0
#Transform 0
Transform: AffineTransform_double_3_3
Parameters: 0 1 0 -1 0 0 0 0 0 10 20 30
FixedParameters: 0 0 0
"""


@pytest.mark.parametrize("suffix", TRANSFORM_SUFFIXES)
@pytest.mark.parametrize("content", [b"", b"not a transform\n", b"\x00\xff\xfe" * 200])
def test_every_reader_names_the_file_that_is_no_transform(tmp_path, capfd, suffix, content):
    path = tmp_path / f"bad{suffix}"
    path.write_bytes(content)
    with pytest.raises(TransformError, match=rf"bad{suffix}: ") as caught:
        read_transform(path, direction="points")
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("suffix", TRANSFORM_SUFFIXES)
def test_every_reader_names_the_file_that_is_not_there(tmp_path, suffix):
    with pytest.raises(TransformError, match=rf"gone{suffix}: cannot be read: no such file"):
        read_transform(tmp_path / f"gone{suffix}", direction="points")


def test_an_unknown_extension_is_an_error_in_both_directions(tmp_path):
    with pytest.raises(UsageError, match=r"cannot have the extension '\.xyz'"):
        read_transform(tmp_path / "t.xyz", direction="points")
    with pytest.raises(UsageError, match=r"cannot have the extension '\.mat'"):
        write_transform(Affine.identity(3), tmp_path / "t.mat", direction="points")


@pytest.mark.parametrize("direction", ["points", "image"])
def test_a_singular_transform_is_neither_read_nor_written(tmp_path, direction):
    (tmp_path / "flat.tfm").write_text(FLAT)
    with pytest.raises(TransformError, match=r"flat\.tfm: .*singular"):
        read_transform(tmp_path / "flat.tfm", direction=direction)
    with pytest.raises(TransformError, match=r"new\.tfm: .*singular"):
        write_transform(
            Affine(np.diag([1.0, 1, 0]), np.zeros(3)), tmp_path / "new.tfm", direction=direction
        )
    assert not (tmp_path / "new.tfm").exists()


@pytest.mark.parametrize("suffix", [".tfm", ".h5", ".nii.gz", ".mha"])
def test_only_matrices_can_be_in_ras(tmp_path, suffix):
    path = tmp_path / f"t{suffix}"
    with pytest.raises(UsageError, match="always LPS"):
        write_transform(FIELD, path, direction="points", frame="RAS")
    write_transform(FIELD, path, direction="points", frame="LPS")
    with pytest.raises(UsageError, match="always LPS"):
        read_transform(path, direction="points", frame="RAS")
    with pytest.raises(UsageError, match="'LPS' or 'RAS'"):
        read_transform(path, direction="points", frame="SCANNER")


@pytest.mark.parametrize("suffix", FIELD_SUFFIXES)
def test_an_image_of_numbers_is_not_a_displacement_field(tmp_path, suffix):
    path = tmp_path / f"scalar{suffix}"
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((4, 5, 6))), str(path))
    with pytest.raises(TransformError, match=rf"scalar{suffix}: is not a displacement field"):
        read_transform(path, direction="points")


def test_a_field_that_is_not_finite_is_refused(tmp_path):
    values = np.zeros((4, 5, 6, 3))
    values[1, 2, 3, 0] = np.nan
    sitk.WriteImage(sitk.GetImageFromArray(values, isVector=True), str(tmp_path / "nan.mha"))
    with pytest.raises(TransformError, match=r"nan\.mha: the displacement field is not finite"):
        read_transform(tmp_path / "nan.mha", direction="points")
    shift = sitk.TranslationTransform(3, (float("nan"), 0, 0))
    sitk.WriteTransform(shift, str(tmp_path / "nan.h5"))
    with pytest.raises(TransformError, match=r"nan\.h5: .*not finite"):
        read_transform(tmp_path / "nan.h5", direction="points")


def test_a_field_on_an_impossible_grid_names_the_file(tmp_path):
    image = sitk.GetImageFromArray(np.zeros((4, 5, 6, 3)), isVector=True)
    image.SetDirection((2.0, 0, 0, 0, 1, 0, 0, 0, 1))
    sitk.WriteTransform(sitk.DisplacementFieldTransform(image), str(tmp_path / "t.h5"))
    with pytest.raises(GeometryError, match=r"t\.h5: the columns of the direction"):
        read_transform(tmp_path / "t.h5", direction="points")


@contextmanager
def full_disk(free_bytes):
    """Let no file grow beyond so many bytes: writing fails as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (free_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("suffix", [*ITK_SUFFIXES, *FIELD_SUFFIXES])
def test_on_a_full_disk_the_old_file_stays_and_nothing_is_left_beside_it(tmp_path, suffix):
    path = tmp_path / f"t{suffix}"
    path.write_text("what was there before")
    with full_disk(2000), pytest.raises(WriteError, match=rf"t{suffix}: "):
        write_transform(FIELD, path, direction="points")
    assert path.read_text() == "what was there before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_in_the_place_of_the_file_is_an_error(tmp_path):
    (tmp_path / "t.tfm").mkdir()
    with pytest.raises(WriteError, match="it is a folder"):
        write_transform(Affine.identity(3), tmp_path / "t.tfm", direction="points")
    with pytest.raises(TransformError, match="cannot be read"):
        read_transform(tmp_path / "t.tfm", direction="points")

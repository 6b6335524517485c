"""Resampling a volume through an oblique rotation, and through a spline."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from anatomark.bench.measure import Setting, Task, Work
from anatomark.data import Image
from anatomark.geometry import Grid
from anatomark.io.native import simpleitk
from anatomark.maps import Affine, ThinPlate
from anatomark.sampling import resample

_EVERYWHERE = ("cpu", "cuda")
_TURN = np.array([[0.36, 0.48, -0.8], [-0.8, 0.6, 0.0], [0.48, 0.64, 0.6]])
_ALIKE = 1e-3  # of the range of grey values: coordinates in float32 against float64
_KNOTS = 40


def _volume(side: int) -> tuple[Image, Affine]:
    grid = Grid((side,) * 3, (0.5,) * 3)
    array = np.random.default_rng(0).random((side,) * 3, dtype=np.float32)
    return Image(array, grid), Affine.about(grid.centre, _TURN)


def _apart(ours: NDArray[Any], naive: NDArray[Any]) -> float:
    """Largest difference where both are in the image.

    Between the outermost voxel centres and the faces there is a rim in which scipy sees nothing.
    """
    both = (ours != 0) & (naive != 0)
    if both.mean() < 0.1:
        return float("nan")
    # Three neighbours in a thousand may fall on either side of a face.
    return float(np.quantile(np.abs(ours[both] - naive[both]), 0.999))


def _ours(image: Image, pull: Any, device: str) -> NDArray[Any]:
    return resample(image, image.grid, pull=pull, device=device).array


def _as_itk(image: Image) -> Any:
    sitk = simpleitk()
    picture = sitk.GetImageFromArray(image.array)
    picture.SetSpacing(image.grid.spacing.tolist())
    return picture


def _against_itk(setting: Setting) -> Work:
    sitk = simpleitk()
    image, pull = _volume(setting.size[0])

    def naive() -> NDArray[Any]:
        transform = sitk.AffineTransform(3)
        transform.SetMatrix(pull.matrix.ravel().tolist())
        transform.SetTranslation(pull.offset.tolist())
        picture = _as_itk(image)
        done = sitk.Resample(picture, picture, transform, sitk.sitkLinear, 0.0)
        return np.asarray(sitk.GetArrayFromImage(done))

    return Work(lambda: _ours(image, pull, setting.device), naive, _apart, _ALIKE)


def _against_scipy(setting: Setting) -> Work:
    from scipy.ndimage import affine_transform

    image, pull = _volume(setting.size[0])
    full = np.linalg.inv(image.grid.affine) @ pull.homogeneous @ image.grid.affine

    def naive() -> NDArray[Any]:
        found = affine_transform(image.array, full[:3, :3][::-1, ::-1], full[:3, 3][::-1], order=1)
        return np.asarray(found)

    return Work(lambda: _ours(image, pull, setting.device), naive, _apart, _ALIKE)


def _spline(setting: Setting) -> Work:
    """A thin-plate spline of some points, asked voxel by voxel."""
    from scipy.interpolate import RBFInterpolator
    from scipy.ndimage import map_coordinates

    image, _ = _volume(setting.size[0])
    grid = image.grid
    rng = np.random.default_rng(1)
    here = np.asarray(grid.from_normalised(rng.uniform(-0.9, 0.9, (_KNOTS, 3))))
    there = here + rng.normal(0, 0.02, here.shape) * np.asarray(grid.extent)
    pull = ThinPlate(here, there)
    # The same spline: -r in 3D with a linear part.
    spline = RBFInterpolator(here, there, kernel="linear", degree=1)

    def naive() -> NDArray[Any]:
        index = np.indices(grid.shape).reshape(3, -1)[::-1].T
        away = spline(np.asarray(grid.to_world(index.astype(np.float64))))
        back = np.asarray(grid.to_index(away)).T[::-1]
        values = map_coordinates(image.array, back, order=1)
        return np.asarray(values).reshape(grid.shape)

    return Work(lambda: _ours(image, pull, setting.device), naive, _apart, _ALIKE)


TASKS = (
    Task(
        "oblique rotation, linear", "SimpleITK", _against_itk, (256,), (32,), "{0}³ float32",
        unit="of the range", devices=_EVERYWHERE, repeats=2,
    ),
    Task(
        "oblique rotation, linear", "scipy.ndimage (one thread)", _against_scipy, (256,), (32,),
        "{0}³ float32", unit="of the range", devices=_EVERYWHERE, repeats=2,
    ),
    Task(
        f"thin-plate spline of {_KNOTS} points, linear", "scipy: RBFInterpolator, map_coordinates",
        _spline, (96,), (24,), "{0}³ float32", unit="of the range", devices=_EVERYWHERE, repeats=2,
    ),
)  # fmt: skip

"""Fixtures that every test may use."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

from anatomark.data import Image
from anatomark.geometry import Grid

# Machines differ in speed; a property does not.
settings.register_profile("anatomark", deadline=None, max_examples=30, derandomize=True)
settings.load_profile("anatomark")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with public research data, where somebody has put it; else the test is skipped.

    It is looked for in ``$ANATOMARK_DATA`` and in ``shared/data`` beside the checkout.
    """
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("ANATOMARK_DATA", beside))
    if not (folder / "ceph").is_dir():
        pytest.skip("the public research data are not on this machine")
    return folder


def _grid(seed: int, dimension: int, *, sheared: bool = False) -> Grid:
    """An oblique, anisotropic grid far from the origin; every other one is left-handed."""
    rng = np.random.default_rng(seed)
    direction, _ = np.linalg.qr(rng.normal(size=(dimension, dimension)))
    if seed % 2:
        direction[:, 0] *= -1
    if sheared:
        direction[:, -1] += 0.3 * direction[:, 0]
        direction[:, -1] /= np.linalg.norm(direction[:, -1])
    return Grid(
        shape=rng.integers(5, 14, dimension).tolist(),
        spacing=rng.uniform(0.3, 3.0, dimension),
        origin=rng.normal(0, 80, dimension),
        direction=direction,
    )


@pytest.fixture(scope="session")
def make_grid() -> Callable[..., Grid]:
    """Make a hard grid: ``make_grid(seed, dimension)``."""
    return _grid


def _to_sitk(image: Image) -> Any:
    import SimpleITK as sitk

    picture = sitk.GetImageFromArray(np.ascontiguousarray(image.array))
    picture.SetSpacing(image.grid.spacing.tolist())
    picture.SetOrigin(image.grid.origin.tolist())
    picture.SetDirection(image.grid.direction.ravel().tolist())
    return picture


@pytest.fixture(scope="session")
def to_sitk() -> Callable[[Image], Any]:
    """Hand an image to SimpleITK, the independent judge of geometry."""
    return _to_sitk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KiB, where the system lets us mount one; else the test is skipped."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, check=False)
    except OSError:
        pytest.skip("no mount command")
    if done.returncode:
        pytest.skip("mounting needs rights that we do not have")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)

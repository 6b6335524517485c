"""What the tests of the importers share: a picture to put into a synthetic source."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

Picture = Callable[..., Path]


def _picture(path: Path, size_xy: tuple[int, int] = (80, 60)) -> Path:
    """Write a grey picture, or a volume where the size has three numbers."""
    array = np.arange(np.prod(size_xy), dtype=np.uint32).reshape(size_xy[::-1]) % 251
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.GetImageFromArray(array.astype(np.uint8)), str(path))
    return path


@pytest.fixture(scope="session")
def picture() -> Picture:
    """Write a small picture: ``picture(path, (width, height))``."""
    return _picture

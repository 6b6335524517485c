"""Look at this installation: versions, processor, memory, and a self-test of the coordinates."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

import numpy as np

from anatomark import __version__
from anatomark.data import Image, Landmarks
from anatomark.errors import AnatomarkError
from anatomark.geometry import Grid
from anatomark.processes import cores, cpu_flags

State = Literal["ok", "note", "bad"]

_PACKAGES = ("numpy", "scipy", "torch", "SimpleITK", "pydicom", "pydantic", "typer", "matplotlib")


@dataclass(frozen=True)
class Check:
    """One thing that was looked at; ``fix`` says what to do where it is not well."""

    name: str
    state: State
    detail: str
    fix: str = ""


def examine() -> list[Check]:
    """Look at everything; never raises."""
    return [*_facts(), *_looked({"temporary files": _scratch, "coordinates": _coordinates})]


def machine() -> dict[str, str]:
    """Versions, processor, memory and GPU, for whoever reports what was measured here."""
    return {check.name: check.detail for check in _facts()}


def _facts() -> list[Check]:
    return [
        Check("anatomark", "ok", f"{__version__}, Python {platform.python_version()}"),
        *(_package(name) for name in _PACKAGES),
        *_looked({"processor": _processor, "memory": _memory, "GPU": _gpu}),
    ]


def _looked(looks: Mapping[str, Callable[[], Check]]) -> list[Check]:
    checks = []
    for name, look in looks.items():
        try:
            checks.append(look())
        except (AnatomarkError, OSError, ImportError, RuntimeError, ValueError) as error:
            checks.append(Check(name, "bad", str(error), "install anatomark again"))
    return checks


def _package(name: str) -> Check:
    try:
        return Check(name, "ok", metadata.version(name))
    except metadata.PackageNotFoundError:
        return Check(name, "bad", "not installed", f"pip install {name}")


def _processor() -> Check:
    flags = cpu_flags()
    fast = [n for n in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if n in flags]
    return Check("processor", "ok", f"{cores()} cores, {', '.join(fast) or platform.machine()}")


def _memory() -> Check:
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return Check("memory", "note", "unknown on this system")
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    if total < 7.5:
        return Check("memory", "note", f"{total:.1f} GiB", "large volumes want 8 GiB")
    return Check("memory", "ok", f"{total:.1f} GiB")


def _gpu() -> Check:
    import torch

    if not torch.cuda.is_available():
        return Check("GPU", "note", "none: everything runs on the processor")
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return Check("GPU", "ok", ", ".join(names))


def _scratch() -> Check:
    free = shutil.disk_usage(tempfile.gettempdir()).free / 2**30
    detail = f"{free:.1f} GiB free in {tempfile.gettempdir()}"
    if free < 1:
        return Check("temporary files", "bad", detail, "free some space, or set TMPDIR")
    return Check("temporary files", "ok", detail)


def _coordinates() -> Check:
    """Write an oblique, left-handed volume and a RAS landmark file; a voxel must be found again."""
    from anatomark.io.images.reading import read_image, write_image
    from anatomark.io.landmarks.formats import read_landmarks, write_landmarks

    turn = np.array([[0.36, 0.48, -0.8], [-0.8, 0.6, 0.0], [0.48, 0.64, 0.6]]) * [1, 1, -1]
    grid = Grid((5, 6, 7), (0.7, 1.1, 2.3), (-31, 12, 94), turn)
    array = np.zeros(grid.shape, np.int16)
    array[3, 4, 5] = 1000
    marks = Landmarks(["spot"], grid.to_world(np.array([[5.0, 4.0, 3.0]])))
    with tempfile.TemporaryDirectory() as folder:
        write_image(Image(array, grid), Path(folder, "spot.nii.gz"))
        write_landmarks(marks, Path(folder, "spot.mrk.json"), frame="RAS")
        image = read_image(Path(folder, "spot.nii.gz"))
        found = read_landmarks(Path(folder, "spot.mrk.json"))
    index = image.grid.to_index(found.points_mm[0])
    miss = float(np.abs(index - np.argwhere(image.array == 1000)[0][::-1]).max())
    if not miss < 1e-3:
        return Check("coordinates", "bad", f"a landmark moved by {miss:.3g} voxels", "report this")
    return Check("coordinates", "ok", "a voxel and its landmark meet after NIfTI and Slicer files")

"""What the machine can do: accelerators, half precision, memory layout."""

from __future__ import annotations

import ctypes
import sys
import warnings
from typing import Literal

import torch

from anatomark.errors import AnatomarkWarning, UsageError
from anatomark.processes import cpu_flags

Precision = Literal["auto", "bf16", "float32"]


def half_precision(wanted: Precision, device: str, *, training_dimension: int = 0) -> bool:
    """Whether to compute in bfloat16: ``auto`` where the device has instructions for it.

    ``training_dimension`` is that of the images of a training. In 3D on a CPU it is not done, not
    even where it is asked for: torch 2.13 leaves gradients of convolutions over few voxels (2×4×4)
    unwritten in bfloat16, and whatever lay in that memory would be learnt from.
    """
    if device == "cpu" and training_dimension == 3:
        if wanted == "bf16":
            text = (
                "training in 3D on a CPU is done in float32, not bf16: torch leaves gradients of "
                "some 3D convolutions unwritten in bfloat16 there"
            )
            warnings.warn(AnatomarkWarning(text), stacklevel=1)  # from here: once a process
        return False
    if wanted != "auto":
        return wanted == "bf16"
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device == "cpu":
        return {"amx_bf16", "avx512_bf16"} & cpu_flags() != set()
    return False


def channels_last(dimension: int) -> torch.memory_format:
    """The layout in which convolutions are fast."""
    return torch.channels_last if dimension == 2 else torch.channels_last_3d


def keep_freed_memory() -> bool:
    """Let this process keep the memory it frees; whether the C library can be told so.

    glibc hands large blocks back to the system at once, and the next layer's features pay for
    every page of them again: a third of the time of a small training step. Commands that run
    networks call this; a library should not decide it for its user's process.
    """
    if sys.platform != "linux":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False  # not glibc
    trim_threshold, mmap_max = -1, -4
    return bool(mallopt(mmap_max, 0)) and bool(mallopt(trim_threshold, -1))


def best_device(wanted: str = "auto") -> str:
    """``cuda`` or ``cpu``; an accelerator that is asked for must be there."""
    if wanted in {"gpu", "cuda"} and not torch.cuda.is_available():
        raise UsageError("there is no GPU that torch can use", fix="run anatomark doctor")
    if wanted in {"gpu", "cuda"} or (wanted == "auto" and torch.cuda.is_available()):
        return "cuda"
    return "cpu"

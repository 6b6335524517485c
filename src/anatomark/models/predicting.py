"""Run a method on prepared images: placed on a device, tiled where they are large."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from anatomark.geometry import FloatArray
from anatomark.methods import Batch, Learner, Method, Prediction
from anatomark.methods.base import Ballot, MapMethod, Maps
from anatomark.models.device import channels_last
from anatomark.networks.tiles import tile_shape, tiled_maps

Kind = TypeVar("Kind", bound=Learner)
HALO = 32  # voxels that a tile sees beyond what is kept of it


def placed(method: Kind, dimension: int, device: str) -> Kind:
    """The method on a device, in the layout in which convolutions are fast."""
    layout: Any = channels_last(dimension)
    return method.to(device).to(memory_format=layout).eval()  # type: ignore[call-overload,no-any-return]


@torch.inference_mode()
def predict(
    method: Method,
    arrays: Sequence[NDArray[Any]],
    extents: Sequence[FloatArray],
    *,
    device: str,
    half: bool,
) -> Prediction:
    """Points of images ``(C, *shape)`` of one shape with their extents ``(D,)``; on the CPU.

    The method knows one domain only, as that of a model that was loaded does.
    """
    batch = _batch(arrays, extents, device)
    with torch.autocast(device, dtype=torch.bfloat16, enabled=half):
        found = method.predict(in_tiles(method, batch))
    return Prediction(
        found.points.float().cpu(),
        *(None if value is None else value.cpu() for value in found[1:]),
    )


@torch.inference_mode()
def explain(
    method: Method, array: NDArray[Any], extent: FloatArray, *, device: str, half: bool
) -> dict[str, Ballot]:
    """The votes on one image ``(C, *shape)``, by stage; on the CPU."""
    batch = _batch([array], [extent], device)
    with torch.autocast(device, dtype=torch.bfloat16, enabled=half):
        found = method.explain(method(batch))
    return {stage: _on_cpu(ballot) for stage, ballot in found.items()}


def _batch(arrays: Sequence[NDArray[Any]], extents: Sequence[FloatArray], device: str) -> Batch:
    stacked = torch.from_numpy(np.stack(arrays)).to(device).float()
    return Batch(
        images=stacked.contiguous(memory_format=channels_last(stacked.ndim - 2)),
        extent_mm=torch.from_numpy(np.stack(extents)).float().to(device),
    )


def _on_cpu(ballot: Ballot) -> Ballot:
    there = None if ballot.posterior is None else ballot.posterior.cpu()
    return Ballot(ballot.centres.cpu(), ballot.votes.cpu(), there, ballot.size.cpu())


def in_tiles(method: Method, batch: Batch) -> Any:
    """What ``forward`` gives, of a large image put together from tiles."""
    if not isinstance(method, MapMethod):
        return method(batch)
    shape = tuple(batch.images.shape[2:])
    multiple = method.multiple
    halo = -(-HALO // multiple) * multiple
    tile = tile_shape(shape, halo, multiple) if method.tiles else shape
    maps = tiled_maps(
        lambda images: method.maps(images, batch.domain), batch.images, tile, halo, multiple
    )
    return Maps(maps.contiguous(), batch.extent_mm)

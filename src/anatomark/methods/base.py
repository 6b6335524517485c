"""What every method is: a network, its losses, and how its output becomes points.

A method sees tensors on the grid of its network and nothing else: no file, no world coordinate,
no training loop.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from anatomark.augment import AugmentConfig, Drawn, apply, apply_to_masks, draw, pull_points
from anatomark.heads.pairing import Paired
from anatomark.losses import variance_mm2

Draw = Callable[[AugmentConfig], Drawn]  # for the batch at hand


@dataclass(frozen=True, eq=False)
class Pair:
    """The other image of each of a batch, made from it by a known map.

    ``images`` ``(B, C, *shape)``; ``mask`` ``(B, 1, *shape)``, where it shows the body;
    ``drawn`` is what was done.
    """

    images: Tensor
    mask: Tensor
    drawn: Drawn

    def to_fixed(self, voxel: Tensor) -> Tensor:
        """Where places ``(B, K, D)`` on the voxels of these images are on those of the first."""
        size = voxel.new_tensor(self.images.shape[:1:-1])
        points = pull_points(self.drawn, (2 * voxel + 1) / size - 1)
        return ((points + 1) * size - 1) / 2


@dataclass(frozen=True, eq=False)
class Batch:
    """Images on the grid of a network, and the true points where they are known.

    ``images`` ``(B, C, *shape)``; ``extent_mm`` ``(B, D)`` from outer face to outer face, along
    x, y(, z); ``points`` ``(B, L, D)`` normalised (``align_corners=False``), 0 where absent;
    ``present`` ``(B, L)``. At inference there are no points. ``domain`` is the body part of all of
    them, for methods that know several; "" is the only one. ``mask`` ``(B, 1, *shape)`` is where
    the body is, and ``pair`` the images to be matched with, for methods that match.
    """

    images: Tensor
    extent_mm: Tensor
    points: Tensor | None = None
    present: Tensor | None = None
    domain: str = ""
    mask: Tensor | None = None
    pair: Pair | None = None

    def to(self, device: Any) -> Batch:
        """The same batch on a device."""
        moved: dict[str, Any] = {
            name: value.to(device, non_blocking=True)
            for name, value in vars(self).items()
            if isinstance(value, Tensor)
        }
        return replace(self, **moved)


class Prediction(NamedTuple):
    """Points of a batch, on the grid of the network.

    ``points`` ``(B, L, D)`` normalised; ``confidence`` ``(B, L)`` in 0…1, not yet calibrated, and
    ``covariance_mm2`` ``(B, L, D, D)`` along the axes of the grid, each ``None`` where a method has
    none; ``present`` ``(B, L)`` of methods that can find a landmark absent.
    """

    points: Tensor
    confidence: Tensor | None = None
    covariance_mm2: Tensor | None = None
    present: Tensor | None = None


class Ballot(NamedTuple):
    """What patches of an image say of each landmark, for pictures. All positions are normalised."""

    centres: Tensor  # (B, L, D, *patches)
    votes: Tensor  # (B, L, D, *patches)
    posterior: Tensor | None  # (B, L, *patches), that a patch holds the landmark
    size: Tensor  # (B, D) of a patch


class MethodConfig(BaseModel):
    """Base of the settings of a method: what a recipe has under ``[settings]``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def check_grid(self, size: Sequence[int], *, windows: bool) -> None:
        """Refuse the grid of a recipe, x, y(, z), that the network cannot work on.

        With ``windows`` images of any size are shown at inference.
        """
        check = getattr(getattr(self, "network", None), "check_grid", None)
        if check is not None:
            check(size, windows=windows)


class Learner(nn.Module, ABC):
    """What can be trained: a method that finds landmarks, or one that matches images.

    ``dimensions`` are those of the images that it can work on. A ``universal`` method knows
    several domains, each with landmarks of its own: it is given their number by domain.
    """

    Config: ClassVar[type[MethodConfig]]
    dimensions: ClassVar[tuple[int, ...]] = (2, 3)
    universal: ClassVar[bool] = False

    @property
    def multiple(self) -> int:
        """Voxels along an axis that a position on the coarsest level of the network stands for."""
        return int(getattr(getattr(self, "network", None), "multiple", 1))

    def grows_evenly(self, shape: tuple[int, ...]) -> bool:
        """Whether from images of this shape (z, y, x) on a step's memory grows as they do."""
        del shape
        return True

    def trained_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """What a training step works on of an image of this shape (z, y, x)."""
        return shape

    @abstractmethod
    def forward(self, batch: Batch) -> Any:
        """Whatever ``losses`` and ``predict`` need."""

    @abstractmethod
    def losses(self, out: Any, batch: Batch) -> dict[str, Tensor]:
        """Terms ``(B, L)`` by name, weighted, not reduced; their sum is what is minimised.

        Rows that do not count may hold anything finite: they are masked afterwards.
        """

    @abstractmethod
    def shown(self, batch: Batch, config: AugmentConfig, draw: Draw) -> Batch:
        """The batch as a training step sees it; ``draw`` decides by chance what changes."""

    @abstractmethod
    def counted(self, batch: Batch) -> Tensor:
        """Which of the losses of a batch count ``(B, L)``."""


class Method(Learner):
    """A method that finds landmarks: how to make one is in ``docs/methods.md``."""

    @abstractmethod
    def __init__(self, config: Any, *, landmarks: Any, dimension: int, channels: int) -> None:
        super().__init__()

    def shown(self, batch: Batch, config: AugmentConfig, draw: Draw) -> Batch:
        """Images and points changed together."""
        points, present = known(batch)
        images, points, present = apply(draw(config), batch.images, points, present)
        return replace(batch, images=images, points=points.nan_to_num(0.0), present=present)

    def counted(self, batch: Batch) -> Tensor:
        """Those of landmarks that are there."""
        return known(batch)[1]

    @abstractmethod
    def predict(self, out: Any) -> Prediction:
        """Points of the batch that ``out`` came from."""

    @property
    def stages(self) -> tuple[str, ...]:
        """What ``explain`` gives votes of; empty where a method has none."""
        return ()

    def explain(self, out: Any) -> Mapping[str, Ballot]:
        """The votes that the points were made of, by stage; none where a method has no votes."""
        del out
        return {}


class Places(NamedTuple):
    """What a matching method takes for landmarks of one image, the likeliest first.

    ``voxel`` ``(K, D)`` on its grid, x, y(, z); ``descriptor`` ``(K, C)``; ``probability``
    ``(K,)`` of being found in other images as well.
    """

    voxel: Tensor
    descriptor: Tensor
    probability: Tensor


class Pairs(NamedTuple):
    """Places that are the same: ``fixed`` and ``moving`` ``(N, D)``, each on its own grid.

    ``sure`` ``(N,)`` is how sure the method is of each, 0…1 and not calibrated; it has another
    meaning where they were found by a second look, ``guided`` by the first.
    """

    fixed: Tensor
    moving: Tensor
    sure: Tensor
    guided: bool = False


def pairs_of(fixed: Places, moving: Places, rows: Paired) -> Pairs:
    """Landmarks that were paired, as sure as both are landmarks and they are the same."""
    sure = fixed.probability[rows.fixed] * moving.probability[rows.moving] * rows.probability
    return Pairs(fixed.voxel[rows.fixed], moving.voxel[rows.moving], sure)


class Matcher(Learner):
    """A method that finds the same places in two images; it learns from single images.

    The other image of a pair is made by a known map from the first, on the device. There is one
    landmark at most in each cube of ``cell`` voxels a side.
    """

    cell: int
    config: Any

    @abstractmethod
    def __init__(self, config: Any, *, dimension: int, channels: int) -> None:
        super().__init__()

    @abstractmethod
    def places(self, images: Tensor) -> list[Places]:
        """Landmarks of each image ``(B, C, *shape)``."""

    @abstractmethod
    def pair(self, fixed: Places, moving: Places) -> Paired:
        """Rows of the landmarks of two images that show the same place."""

    def matches(self, images: tuple[Tensor, Tensor], fixed: Places, moving: Places) -> Pairs:
        """Pairs of the landmarks of two images ``(C, *shape)``, by all that the method does."""
        del images
        return pairs_of(fixed, moving, self.pair(fixed, moving))

    def shown(self, batch: Batch, config: AugmentConfig, draw: Draw) -> Batch:
        """The images, and what a known map makes of each of them.

        A mirror is no map between two images of a body: it changes both.
        """
        still = config.model_copy(update={"flip_axes": ()})
        if config.flip_axes:
            only = AugmentConfig(
                flip_axes=config.flip_axes, flip_probability=config.flip_probability,
                mirror_without_pairs=True,
            )  # fmt: skip
            batch = _changed(batch, draw(only))
        drawn = draw(still)
        moving = _changed(batch, drawn)
        return replace(batch, pair=Pair(moving.images, body_of(moving), drawn))

    def counted(self, batch: Batch) -> Tensor:
        """All: one value a pair of images."""
        return torch.ones(len(batch.images), 1, dtype=torch.bool, device=batch.images.device)


def _changed(batch: Batch, drawn: Drawn) -> Batch:
    none = batch.images.new_zeros(len(batch.images), 0, batch.images.ndim - 2)
    images = apply(drawn, batch.images, none).images
    return replace(batch, images=images, mask=apply_to_masks(drawn, body_of(batch)))


def body_of(batch: Batch) -> Tensor:
    """Where the images of a batch show a body: everywhere, if nobody said."""
    if batch.mask is not None:
        return batch.mask
    return torch.ones_like(batch.images[:, :1], dtype=torch.bool)


class Maps(NamedTuple):
    """What methods with one map per landmark return from ``forward``."""

    maps: Tensor  # (B, L, *shape)
    extent_mm: Tensor  # (B, D)


class MapMethod(Method):
    """A method whose network makes one map per landmark, from face to face of the image.

    Tiles of a large image are put together as maps; ``predict`` then sees the whole.
    """

    network: nn.Module

    @property
    def tiles(self) -> bool:
        """Whether maps of tiles are those of the whole: statistics over the image forbid it."""
        whole = (nn.InstanceNorm2d, nn.InstanceNorm3d, nn.GroupNorm)
        return not any(isinstance(layer, whole) for layer in self.network.modules())

    def forward(self, batch: Batch) -> Maps:
        """Maps ``(B, L, *shape)``, each in one piece: heads stream them without a copy."""
        return Maps(self.maps(batch.images, batch.domain).contiguous(), batch.extent_mm)

    def maps(self, images: Tensor, domain: str) -> Tensor:
        """Maps ``(B, L, *shape)`` of images ``(B, C, *shape)``, or coarser by a whole factor."""
        del domain  # one network for all
        maps: Tensor = self.network(images)
        return maps


def narrowness(covariance_mm2: Tensor, out: Maps) -> Tensor:
    """A raw confidence ``(B, L)``: 1 for a map of one voxel, ½ where it spreads over one.

    It only orders points; what it is worth in millimetres is learnt on the validation cases.
    """
    size = out.extent_mm.new_tensor(out.maps.shape[:1:-1])
    voxel = (out.extent_mm / size).square().sum(-1)[:, None]
    spread = variance_mm2(covariance_mm2).clamp_min(0)
    return (voxel / (voxel + spread)).to(covariance_mm2.dtype)


def known(batch: Batch) -> tuple[Tensor, Tensor]:
    """True points and presence of a batch that is trained on."""
    if batch.points is None or batch.present is None:
        raise ValueError("losses need a batch with points")
    return batch.points, batch.present


def drawing(
    batch: Batch, generator: torch.Generator, pairs: Sequence[tuple[int, int]] = ()
) -> Draw:
    """What decides by chance how a batch changes; ``pairs`` are rows that a mirror exchanges."""

    def drawn(config: AugmentConfig) -> Drawn:
        return draw(
            config, len(batch.images), batch.images.ndim - 2,
            extent_mm=batch.extent_mm.double(), generator=generator, pairs=pairs,
        )  # fmt: skip

    return drawn


def pair_of(batch: Batch) -> Pair:
    """The other images of a batch that matching is learnt from."""
    if batch.pair is None:
        raise ValueError("training needs a batch with pairs: see shown")
    return batch.pair

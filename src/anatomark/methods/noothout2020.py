"""Noothout et al. 2020: patches vote for landmarks, first of the whole image, then locally.

"Deep Learning-Based Regression and Classification for Automatic Landmark Localization in Medical
Images", IEEE TMI 39(12). A global network says of each patch of an image where every landmark is
(displacement from the centre of the patch) and whether it lies in the patch; the landmark is the
mean of what the patches say, weighted by how likely they hold it. A small network for each
landmark then does the same on a sub-image about that place.

Both are trained together, each on its own sub-images and with its own loss: no gradient passes
from one to the other, so it is as if they were trained one after the other.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from anatomark.heads.votes import (
    Tally,
    from_log,
    holds,
    log_displacement,
    patch_centres,
    tally,
)
from anatomark.methods.base import Ballot, Batch, Method, MethodConfig, Prediction, known
from anatomark.networks.boxes import cut_boxes, middle_of, random_boxes, voxel_of
from anatomark.networks.fcnn import LocalNets, PatchMaps, PatchNet

Width = Annotated[int, Field(ge=1)]


class Noothout2020Config(MethodConfig):
    """As it stands, the published method, but for ``least_posterior``, which the paper has not.

    Rows of its Table I are the first four.
    """

    displacement: Literal["log", "linear", "none"] = Field(
        default="log", description="R_log, R, or no regression: votes are centres of patches."
    )
    classify: bool = Field(
        default=True, description="C: votes are weighted by the posterior of their patch."
    )
    local: bool = Field(default=True, description="Look again about each point: global-to-local.")
    each: bool = Field(
        default=False, description="A global network for each landmark (single-landmark)."
    )
    sub_image: Annotated[tuple[Width, ...], Field(min_length=1, max_length=3)] = Field(
        default=(72,),
        description="Voxels of the global network's training boxes, x, y(, z); only whole patches.",
    )
    local_size: Annotated[int, Field(ge=4, multiple_of=2)] = Field(
        default=16, description="Voxels of a local sub-image along each axis."
    )
    widths: Annotated[tuple[Width, ...], Field(min_length=5, max_length=5)] = (
        16, 32, 64, 128, 256,
    )  # fmt: skip
    pairs: Annotated[tuple[Width, ...], Field(min_length=4, max_length=4)] = (3, 4, 6, 3)
    pools: Annotated[tuple[bool, ...], Field(min_length=4, max_length=4)] | None = Field(
        default=None, description="Before which blocks to pool; else the first two, in 2D all."
    )
    head: Width = 256
    local_widths: Annotated[tuple[Width, ...], Field(min_length=2, max_length=2)] = (32, 64)
    local_head: Width = 64
    log_unit: Annotated[float, Field(gt=0)] = Field(
        default=1.0,
        description="Displacements much shorter than this, in the unit of the images, count as "
        "they are, longer ones by their logarithm.",
    )
    least_posterior: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.05, description="A landmark that no patch holds with so much is absent."
    )

    def check_grid(self, size: Any, *, windows: bool) -> None:
        """Sub-images have as many axes as the image, and something must be trained."""
        del windows
        if len(self.sub_image) not in {1, len(size)}:
            raise ValueError("sub_image has one number, or one for each axis")
        if self.displacement == "none" and not self.classify:
            raise ValueError("without displacement and classify there are no votes")


class Said(NamedTuple):
    """What a network says of the patches of boxes, and where these are."""

    maps: PatchMaps
    centres_mm: Tensor  # (B, L or 1, D, *patches)
    patch_mm: Tensor  # (B, D)


class Votes(NamedTuple):
    """What ``forward`` returns; while training of sub-images, ``local`` about the truth."""

    whole: Said
    local: Said | None
    extent_mm: Tensor  # (B, D)
    voxel_mm: Tensor  # (B, D)
    guided: bool  # local boxes lie about the truth: they must not be used to predict


class Noothout2020(Method):
    """Global network, votes, local networks, votes."""

    Config = Noothout2020Config

    def __init__(
        self, config: Noothout2020Config, *, landmarks: int, dimension: int, channels: int
    ) -> None:
        super().__init__(config, landmarks=landmarks, dimension=dimension, channels=channels)
        self.config = config
        heads = {"displacement": config.displacement != "none", "classify": config.classify}
        counts = [1] * landmarks if config.each else [landmarks]
        self.whole = nn.ModuleList(
            PatchNet(
                dimension, channels, count, widths=config.widths, pairs=config.pairs,
                pools=config.pools, head=config.head, **heads,
            )
            for count in counts
        )  # fmt: skip
        self.local = None
        if config.local:
            self.local = LocalNets(
                dimension, channels, landmarks, widths=config.local_widths,
                head=config.local_head, **heads,
            )  # fmt: skip

    def trained_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """That of a sub-image, of whole patches, or of an image that is smaller."""
        given = self.config.sub_image
        size = (given * len(shape) if len(given) == 1 else given)[::-1]
        # Half a patch would be filled up, where in truth the image goes on.
        whole = [max(s // self.multiple, 1) * self.multiple for s in size]
        return tuple(min(n, s) for n, s in zip(shape, whole, strict=True))

    @property
    def multiple(self) -> int:
        """The patch of the global network."""
        patch: Any = self.whole[0].patch
        return int(patch)

    # -- forward ---------------------------------------------------------------------------------

    def forward(self, batch: Batch) -> Votes:
        """Votes of the whole image; while training, of random sub-images."""
        if self.training and batch.points is not None:
            return self._of_boxes(batch)
        start = torch.zeros(len(batch.images), 1, batch.images.ndim - 2, device=batch.images.device)
        whole = self._whole(batch.images, start.long(), batch)
        if self.local is None:
            return Votes(whole, None, batch.extent_mm, _voxel(batch), guided=False)
        shape = tuple(batch.images.shape[2:])
        near = self._tally(whole, batch.extent_mm).points_mm
        first = middle_of(_normalised(near, batch.extent_mm), shape, self.config.local_size)
        local = self._local(first, batch)
        return Votes(whole, local, batch.extent_mm, _voxel(batch), guided=False)

    def _of_boxes(self, batch: Batch) -> Votes:
        """A random sub-image of each image; and of each landmark one that holds it."""
        shape = tuple(batch.images.shape[2:])
        size = self.trained_shape(shape)
        start = random_boxes(len(batch.images), shape, size, batch.images.device)
        boxes = cut_boxes(batch.images, start[:, None], size)[:, 0]
        whole = self._whole(boxes, start[:, None], batch)
        if self.local is None:
            return Votes(whole, None, batch.extent_mm, _voxel(batch), guided=True)
        points, present = known(batch)
        target = voxel_of(torch.where(present[..., None], points, 0.0), shape)
        back = torch.randint(0, self.config.local_size, target.shape, device=target.device)
        return Votes(
            whole, self._local(target - back, batch), batch.extent_mm, _voxel(batch), guided=True
        )

    def _whole(self, images: Tensor, start: Tensor, batch: Batch) -> Said:
        found = [network(images) for network in self.whole]
        kinds = zip(*found, strict=True)
        joined = [None if kind[0] is None else torch.cat(kind, 1) for kind in kinds]
        patch: Any = self.whole[0].patch
        return _placed(PatchMaps(*joined), start, patch, batch)

    def _local(self, first: Tensor, batch: Batch) -> Said:
        size = (self.config.local_size,) * first.shape[-1]
        local: Any = self.local
        return _placed(local(cut_boxes(batch.images, first, size)), first, local.patch, batch)

    # -- losses ----------------------------------------------------------------------------------

    def losses(self, out: Votes, batch: Batch) -> dict[str, Tensor]:
        """Mean absolute error of (log) displacements, binary cross-entropy of presence."""
        points, _ = known(batch)
        target = points * (out.extent_mm[:, None] / 2)
        terms: dict[str, Tensor] = {}
        for name, said in (("global", out.whole), ("local", out.local)):
            if said is not None:
                own = self._terms(said, target)
                terms |= {f"{name} {kind}": value for kind, value in own.items()}
        return terms

    def _terms(self, said: Said, target_mm: Tensor) -> dict[str, Tensor]:
        terms = {}
        maps, ones = said.maps, (1,) * (said.centres_mm.ndim - 3)
        if maps.displacement is not None:
            aim = target_mm.reshape(*target_mm.shape, *ones) - said.centres_mm
            if self.config.displacement == "log":
                aim = log_displacement(aim, self.config.log_unit)
            terms["displacement"] = (maps.displacement - aim).abs().flatten(2).mean(-1)
        if maps.logits is not None:
            here = holds(said.centres_mm, said.patch_mm, target_mm).to(maps.logits)
            wrong = functional.binary_cross_entropy_with_logits(maps.logits, here, reduction="none")
            terms["presence"] = wrong.flatten(2).mean(-1)
        return terms

    # -- decoding --------------------------------------------------------------------------------

    def predict(self, out: Votes) -> Prediction:
        """The last votes that there are; where no patch holds the landmark, it is absent."""
        last = out.whole if out.local is None or out.guided else out.local
        points, covariance = self._tally(last, out.extent_mm)
        # Votes that all agree still do not say where in a voxel the point is.
        covariance = covariance + torch.diag_embed(out.voxel_mm.square() / 12)[:, None]
        here = _posterior(out.whole)
        points = _normalised(points, out.extent_mm)
        if here is None:
            return Prediction(points, None, covariance)
        there = here >= self.config.least_posterior
        sure = _posterior(last)
        return Prediction(points, sure, covariance, there)

    @property
    def stages(self) -> tuple[str, ...]:
        """The global network, and the local ones."""
        return ("global",) if self.local is None else ("global", "local")

    def explain(self, out: Votes) -> dict[str, Ballot]:
        """The votes of the global network, and of the local ones where there are some."""
        stages = {"global": out.whole, "local": None if out.guided else out.local}
        return {k: self._ballot(said, out) for k, said in stages.items() if said is not None}

    def _ballot(self, said: Said, out: Votes) -> Ballot:
        votes = self.votes_mm(said, out.extent_mm)
        half = (out.extent_mm / 2).reshape(len(votes), 1, -1, *(1,) * (votes.ndim - 3))
        posterior = None if said.maps.logits is None else said.maps.logits.sigmoid()
        centres = said.centres_mm.expand_as(votes)
        return Ballot(centres / half, votes / half, posterior, said.patch_mm / out.extent_mm * 2)

    def votes_mm(self, said: Said, extent_mm: Tensor) -> Tensor:
        """Where each patch says that each landmark is, ``(B, L, D, *patches)``."""
        moved = said.maps.displacement
        if moved is None:
            logits: Any = said.maps.logits
            return said.centres_mm.expand(-1, logits.shape[1], *(-1,) * (logits.ndim - 1))
        if self.config.displacement == "log":
            longest = extent_mm.norm(dim=-1)
            longest = longest.reshape(-1, *(1,) * (moved.ndim - 1))
            moved = from_log(moved, self.config.log_unit, longest)
        return said.centres_mm + moved

    def _tally(self, said: Said, extent_mm: Tensor) -> Tally:
        votes = self.votes_mm(said, extent_mm)
        logits = said.maps.logits
        if logits is None:
            return tally(votes, torch.ones_like(votes[:, :, 0]))
        # Relative to the best patch, so that none of many tiny posteriors is lost.
        top = functional.logsigmoid(logits).flatten(2).amax(-1)
        top = top.reshape(*top.shape, *(1,) * (logits.ndim - 2))
        return tally(votes, (functional.logsigmoid(logits) - top).exp())


def _placed(maps: PatchMaps, first: Tensor, patch: int, batch: Batch) -> Said:
    some = maps.logits if maps.displacement is None else maps.displacement[:, :, 0]
    if some is None:
        raise TypeError("a network without heads")
    shape = tuple(batch.images.shape[2:])
    centres = patch_centres(first, tuple(some.shape[2:]), patch, shape, batch.extent_mm)
    return Said(maps, centres, patch * _voxel(batch))


def _voxel(batch: Batch) -> Tensor:
    """The size of a voxel ``(B, D)``."""
    return batch.extent_mm / batch.extent_mm.new_tensor(batch.images.shape[:1:-1])


def _posterior(said: Said) -> Tensor | None:
    """The highest of all patches, ``(B, L)``."""
    logits = said.maps.logits
    return None if logits is None else logits.flatten(2).amax(-1).sigmoid()


def _normalised(points_mm: Tensor, extent_mm: Tensor) -> Tensor:
    return points_mm / (extent_mm[:, None] / 2)

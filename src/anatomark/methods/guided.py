"""A second look for matches, where the neighbours of a landmark foretell its partner.

Not in Grewal 2020. The pairs that agree with their neighbours say where every other landmark goes;
each is then compared only with what lies there, and the places of a pair are moved until the
patches around them are most alike. After a few rounds, pairs spread from where the first look was
right to where it was not.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from anatomark.geometry import FloatArray
from anatomark.heads.pairing import Paired, Pairing
from anatomark.heads.patches import align_patches
from anatomark.methods.base import Pairs, Places
from anatomark.registration.neighbours import Foretold, Mask, agreeing, foretell

_FLOORS = (3.0, 1.5, 1.0)  # voxels: what is nearer to what is foretold agrees, round by round
_FEWEST = 8  # pairs that can foretell others
_WIDE, _NARROW = 8.0, 2.0  # voxels, the region in which a partner is looked for
_USUAL = 6.0  # times the usual distance from what is foretold (median): the same
_ASTRAY = 4.0  # voxels: pairs that are usually farther off contradict each other
_ALIKE = 0.8  # correlation of the patches of a pair
_FEW_ALIKE = 0.3  # a part of the pairs: below it the images are of two kinds, and patches mislead
_RADIUS = {2: 6, 3: 4}  # voxels of a patch about its middle
_AT_ONCE = 1 << 15  # pairs of descriptors that are compared at a time


def guided(
    pairing: Pairing, images: tuple[Tensor, Tensor], fixed: Places, moving: Places, first: Paired
) -> Pairs | None:
    """Pairs after rounds of looking where the neighbours say.

    ``images`` ``(C, *shape)`` are what the network saw; ``first`` what it made of them by itself.
    As sure as the network is of a pair, less what it is off from where its neighbours go.
    ``None`` where few pairs foretell anything or they contradict each other, or where hardly any
    patch is like its partner: two modalities, two stains.
    """
    shown = images[0].float().mean(0), images[1].float().mean(0)
    there, here = _double(fixed.voxel), _double(moving.voxel)
    rows, partner = first.fixed.cpu().numpy(), here[first.moving.cpu().numpy()]
    pair, usual = None, np.inf
    for number, floor in enumerate(_FLOORS):
        good = _agreeing(there[rows], partner, floor)
        if good.sum() < _FEWEST:
            return None
        rows, partner = rows[good], partner[good]
        said, off = _foretold(there, rows, partner)
        usual = float(np.median(off))
        reach = float(np.clip(_USUAL * usual, _NARROW, _WIDE))
        pair = _best_within(pairing, fixed, moving, said.points, here, reach)
        aligned = align_patches(
            *shown, fixed.voxel[pair.fixed], moving.voxel[pair.moving],
            torch.from_numpy(said.slopes).to(fixed.voxel)[pair.fixed],
            radius=_RADIUS[there.shape[1]],
        )  # fmt: skip
        alike = aligned.likeness >= _ALIKE
        if not number and alike.float().mean() < _FEW_ALIKE:
            return None
        alike &= _inside(shown[1], aligned.voxel)
        pair = _Rows(pair.fixed[alike], pair.moving[alike], pair.logit[alike])
        rows, partner = pair.fixed.cpu().numpy(), _double(aligned.voxel[alike])
    last = _agreeing(there[rows], partner, _FLOORS[-1])
    if pair is None or last.sum() < _FEWEST or usual > _ASTRAY:
        return None
    rows, partner, logit = rows[last], partner[last], pair.logit[torch.from_numpy(last)]
    _, off = _foretold(there, rows, partner)
    sure = logit.double().sigmoid().cpu() / (1 + torch.from_numpy(off) ** 2)
    one, other = (torch.from_numpy(v).to(fixed.voxel.device) for v in (there[rows], partner))
    return Pairs(one, other, sure.to(one), guided=True)


def _agreeing(there: FloatArray, partner: FloatArray, floor: float) -> Mask:
    if len(there) < _FEWEST:
        return np.zeros(len(there), bool)
    return agreeing(there, partner, floor=floor)


def _inside(image: Tensor, voxel: Tensor) -> Tensor:
    """Whether places ``(N, D)`` are on voxels of an image ``(*shape)``."""
    size = voxel.new_tensor(image.shape[::-1])
    return ((voxel >= -0.5) & (voxel <= size - 0.5)).all(1)


def _double(values: Tensor) -> FloatArray:
    return np.asarray(values.double().cpu().numpy())


def _foretold(
    there: FloatArray, rows: NDArray[np.intp], partner: FloatArray
) -> tuple[Foretold, FloatArray]:
    """Where every landmark goes by the pairs ``rows`` → ``partner``, and how far off they are.

    The distances ``(N,)`` are of each pair from where the others send it.
    """
    own = np.full(len(there), -1)
    own[rows] = np.arange(len(rows))
    said = foretell(there, there[rows], partner, own=own)
    return said, np.asarray(np.linalg.norm(said.points[rows] - partner, axis=1))


class _Rows(NamedTuple):
    fixed: Tensor
    moving: Tensor
    logit: Tensor  # of being the same, as the network says


def _best_within(
    pairing: Pairing,
    fixed: Places,
    moving: Places,
    foretold: FloatArray,
    here: FloatArray,
    reach: float,
) -> _Rows:
    """Landmarks that are each other's likeliest among those within reach of what is foretold."""
    from scipy.spatial import cKDTree

    near: Any = cKDTree(here).query_ball_point(foretold, reach)
    counts = np.array([len(rows) for rows in near])
    one = np.repeat(np.arange(len(foretold)), counts)
    other = np.concatenate([np.zeros(0, np.intp), *near]).astype(np.intp)
    device = fixed.voxel.device
    left, right = torch.from_numpy(one).to(device), torch.from_numpy(other).to(device)
    score = torch.cat([
        pairing.likeness(fixed.descriptor[left[n : n + _AT_ONCE]],
                         moving.descriptor[right[n : n + _AT_ONCE]])
        for n in range(0, max(len(left), 1), _AT_ONCE)
    ])  # fmt: skip
    best = score.new_full((len(foretold),), -torch.inf).scatter_reduce(0, left, score, "amax")
    best_here = score.new_full((len(here),), -torch.inf).scatter_reduce(0, right, score, "amax")
    mutual = (score == best[left]) & (score == best_here[right])
    return _Rows(left[mutual], right[mutual], score[mutual])

"""Pictures of votes: arrows begin at patches and point where the patch says."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.collections import PatchCollection
from matplotlib.quiver import Quiver

from anatomark import Grid, Landmarks
from anatomark.inference.vote_pictures import draw_votes
from anatomark.methods.base import Ballot
from anatomark.models.preparation import Prepared


def prepared(shape):
    grid = Grid(shape, [2.0] * len(shape), [10.0] * len(shape))
    array = np.random.default_rng(0).random((1, *shape)).astype("f4")
    return Prepared(array, grid, np.ones(shape, bool))


def ballot_of(centres, votes, posterior, size):
    """A ballot of one landmark from lists of positions in voxel indices, x, y(, z)."""

    def normalised(points):
        index = torch.tensor(points, dtype=torch.float32)
        return ((index + 0.5) / torch.tensor(size) * 2 - 1).T[None, None, ..., None]

    return Ballot(
        normalised(centres), normalised(votes),
        torch.tensor(posterior)[None, None, :, None],
        4 / torch.tensor(size, dtype=torch.float32)[None] * 2,
    )  # fmt: skip


def test_an_arrow_goes_from_the_patch_towards_its_vote_and_no_further_than_a_patch():
    ready = prepared((12, 20))  # y, x
    ballot = ballot_of([[1.5, 1.5], [5.5, 9.5]], [[17.5, 1.5], [5.5, 8.5]], [0.9, 0.4], (20, 12))
    marks = Landmarks(("tip",), ready.grid.to_world(np.array([[6.0, 8.0]])))
    figure = draw_votes(ballot, ready, marks, title="votes")
    axes = figure.axes[0]
    arrows = next(c for c in axes.collections if isinstance(c, Quiver))
    np.testing.assert_allclose(arrows.get_offsets(), [[1.5, 1.5], [5.5, 9.5]], atol=1e-5)
    # 16 voxels to the right is cut to 0.9 of a patch of 4; one voxel up is not.
    np.testing.assert_allclose(arrows.U, [3.6, 0], atol=1e-4)
    np.testing.assert_allclose(arrows.V, [0, -1], atol=1e-4)
    boxes = next(c for c in axes.collections if isinstance(c, PatchCollection)).get_paths()
    assert len(boxes) == 1
    np.testing.assert_allclose(boxes[0].get_extents().extents, (-0.5, -0.5, 3.5, 3.5), atol=1e-5)
    np.testing.assert_allclose(axes.lines[0].get_xydata(), [[6.0, 8.0]], atol=1e-9)


def test_of_a_volume_the_patches_at_the_depth_of_the_point_are_shown():
    ready = prepared((12, 8, 8))
    ballot = ballot_of(
        [[1.5, 1.5, 1.5], [1.5, 1.5, 9.5]], [[5, 5, 1.5], [5, 5, 9.5]], [0.9, 0.9], (8, 8, 12)
    )
    marks = Landmarks(("deep",), ready.grid.to_world(np.array([[4.0, 4.0, 10.0]])))
    axes = draw_votes(ballot, ready, marks, title="votes").axes[0]
    arrows = next(c for c in axes.collections if isinstance(c, Quiver))
    assert len(arrows.get_offsets()) == 1
    np.testing.assert_allclose(axes.images[0].get_array(), ready.array[0, 10])


def test_an_absent_landmark_is_named_and_has_no_cross():
    ready = prepared((12, 20))
    ballot = ballot_of([[1.5, 1.5]], [[3.0, 3.0]], [0.01], (20, 12))
    marks = Landmarks(("gone",), np.full((1, 2), np.nan), present=np.array([False]))
    axes = draw_votes(ballot, ready, marks, title="votes").axes[0]
    assert axes.get_title() == "gone: absent"
    assert not axes.lines

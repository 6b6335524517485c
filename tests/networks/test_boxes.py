"""Boxes of images against slices and loops."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from anatomark.networks.boxes import cut_boxes, middle_of, random_boxes, voxel_of


@pytest.mark.parametrize("shape", [(7, 9), (5, 7, 9)])
def test_a_box_is_what_lies_there_and_zero_outside(shape):
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.normal(size=(2, 3, *shape)))
    size = (4, 3, 5)[: len(shape)]
    first = torch.from_numpy(rng.integers(-6, 10, (2, 4, len(shape))))
    found = cut_boxes(images, first, size)
    assert found.shape == (2, 4, 3, *size)
    for b, r in itertools.product(range(2), range(4)):
        for place in itertools.product(*map(range, size)):
            at = [p + int(s) for p, s in zip(place, first[b, r].flip(0), strict=True)]
            inside = all(0 <= a < n for a, n in zip(at, shape, strict=True))
            true = images[(b, slice(None), *at)] if inside else torch.zeros(3).double()
            assert torch.equal(found[(b, r, slice(None), *place)], true)


def test_a_point_lies_in_the_voxel_whose_faces_hold_it():
    shape = (4, 10)  # y, x
    points = torch.tensor([[[-1.0, -1.0], [1.0, 1.0], [-0.79, 0.49], [-0.81, 0.51]]])
    # x: faces at -1, -0.8, …; y: faces at -1, -0.5, 0, 0.5, 1.
    assert voxel_of(points, shape)[0].tolist() == [[0, 0], [9, 3], [1, 2], [0, 3]]


def test_a_box_has_the_point_in_its_middle():
    # The centre of voxel 6 of 13 is the middle of the image: half of 13 voxels from the face.
    first = middle_of(torch.zeros(1, 1, 2), (12, 13), 4)
    assert first[0, 0].tolist() == [4, 4]  # x: 6.5 - 2 = 4.5, to even; y: 6 - 2
    far = middle_of(torch.full((1, 1, 2), 9.0), (12, 13), 4)
    assert far[0, 0].tolist() == [11, 10]  # about the corner at most


def test_random_boxes_are_anywhere_inside():
    torch.manual_seed(0)
    starts = random_boxes(500, (5, 9), (4, 6), "cpu")  # y, x
    assert sorted(set(starts[:, 0].tolist())) == [0, 1, 2, 3]
    assert sorted(set(starts[:, 1].tolist())) == [0, 1]

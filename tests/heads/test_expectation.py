"""DSNT against the formulas of the paper, written out naively in float64."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from anatomark.heads import expect
from anatomark.heads import streamed as streamed_module

SHAPES = [(5, 7), (4, 5, 6), (1, 9), (1, 1, 3)]


def naive(maps, extent_mm, target):
    """One voxel at a time: eq. 1, eq. 4 with all its cross terms, eq. 5; points normalised."""
    batch, landmarks, *shape = maps.shape
    dim = len(shape)
    points = torch.zeros(batch, landmarks, dim, dtype=torch.float64)
    covariance = torch.zeros(batch, landmarks, dim, dim, dtype=torch.float64)
    distance = torch.zeros(batch, landmarks, dtype=torch.float64)
    for b, c in itertools.product(range(batch), range(landmarks)):
        extent = extent_mm[b].double()
        size = torch.tensor(shape[::-1]).double()
        weights = maps[b, c].double().exp()
        weights = weights / weights.sum()
        voxels = list(itertools.product(*map(range, shape)))
        where = [(torch.tensor(v[::-1]).double() + 0.5) / size * extent for v in voxels]
        mean = sum(weights[v] * w for v, w in zip(voxels, where, strict=True))
        aim = (target[b, c].double() + 1) / 2 * extent
        points[b, c] = 2 * mean / extent - 1
        covariance[b, c] = sum(
            weights[v] * torch.outer(w - mean, w - mean) for v, w in zip(voxels, where, strict=True)
        )
        distance[b, c] = sum(
            weights[v] * torch.linalg.norm(w - aim) for v, w in zip(voxels, where, strict=True)
        )
    return points, covariance, distance


def example(shape, dtype=torch.float64, seed=0):
    make = torch.Generator().manual_seed(seed)
    maps = 3 * torch.randn(2, 3, *shape, dtype=dtype, generator=make)
    extent = torch.rand(2, len(shape), dtype=dtype, generator=make) * 80 + 20
    target = torch.rand(2, 3, len(shape), dtype=dtype, generator=make) * 2 - 1
    return maps, extent, target


@pytest.mark.parametrize("block", [4, 64, 1 << 18])
@pytest.mark.parametrize("shape", SHAPES)
def test_agrees_with_the_naive_sum(shape, block, monkeypatch):
    monkeypatch.setattr(streamed_module, "_BLOCK_CPU", block)  # every way of cutting the maps
    maps, extent, target = example(shape)
    found = expect(maps, extent, target=target)
    points, covariance, distance = naive(maps, extent, target)
    torch.testing.assert_close(found.points, points)
    torch.testing.assert_close(found.covariance_mm2, covariance)
    torch.testing.assert_close(found.distance_mm, distance)
    torch.testing.assert_close(found.peak, maps.flatten(2).softmax(-1).amax(-1))


@pytest.mark.parametrize("block", [4, 1 << 18])
@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_are_those_of_finite_differences(shape, block, monkeypatch):
    monkeypatch.setattr(streamed_module, "_BLOCK_CPU", block)
    maps, extent, target = example(shape)
    maps.requires_grad_()

    def outputs(leaf):
        found = expect(leaf, extent, target=target)
        return found.points, found.covariance_mm2, found.distance_mm

    assert torch.autograd.gradcheck(outputs, maps, fast_mode=True)


def test_float32_is_exact_to_1e_5_with_gradients():
    maps, extent, target = example((12, 20, 28), torch.float32)
    found = {}
    for dtype in (torch.float32, torch.float64):
        leaf = maps.detach().to(dtype).requires_grad_()
        got = expect(leaf, extent.to(dtype), target=target.to(dtype))
        total = got.points.sum() + got.covariance_mm2.diagonal(dim1=-2, dim2=-1).sum() / 100
        (total + got.distance_mm.sum() / 10).backward()
        found[dtype] = (got.points, got.covariance_mm2, got.distance_mm, leaf.grad)
    for single, double in zip(found[torch.float32], found[torch.float64], strict=True):
        torch.testing.assert_close(single.double(), double, rtol=1e-5, atol=1e-5)


def test_a_sharp_map_far_from_the_middle_keeps_its_small_variance():
    """Textbook E[x²] − E[x]² in float32 gives nonsense here, negative at times."""
    maps = torch.full((1, 1, 4, 4, 4000), -1e4)
    maps[0, 0, 2, 1, 3990:3992] = 0.0  # two voxels of equal weight: variance 1/4 voxel²
    found = expect(maps, torch.tensor([[4000.0, 4.0, 4.0]]))
    assert found.covariance_mm2[0, 0, 0, 0].item() == pytest.approx(0.25, rel=1e-5)
    assert found.points[0, 0, 0].item() == pytest.approx(2 * 3991 / 4000 - 1, abs=1e-6)


def test_one_voxel_is_its_centre_and_the_faces_are_one():
    maps = torch.full((1, 1, 3, 5), -1e9)
    maps[0, 0, 2, 0] = 0.0
    found = expect(maps, torch.tensor([[50.0, 30.0]]))
    torch.testing.assert_close(found.points[0, 0], torch.tensor([-1 + 1 / 5, 1 - 1 / 3]))
    assert found.peak.item() == 1.0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_maps_are_summed_in_float32(dtype):
    maps, extent, target = example((6, 8, 10), torch.float32)
    half = maps.to(dtype).requires_grad_()
    found = expect(half, extent, target=target)
    exact = expect(half.detach().double(), extent.double(), target=target.double())
    assert found.points.dtype == torch.float32
    torch.testing.assert_close(found.points.double(), exact.points, atol=1e-5, rtol=1e-5)
    found.points.sum().backward()
    assert half.grad.dtype == dtype


def test_autocast_does_not_reach_the_sums():
    maps, extent, target = example((6, 8, 10), torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = expect(maps, extent, target=target)
    outside = expect(maps, extent, target=target)
    assert torch.equal(inside.points, outside.points)
    assert torch.equal(inside.distance_mm, outside.distance_mm)


def test_channels_last_maps_give_the_same():
    maps, extent, target = example((4, 5, 6))
    swapped = maps.contiguous(memory_format=torch.channels_last_3d)
    one, two = expect(maps, extent, target=target), expect(swapped, extent, target=target)
    torch.testing.assert_close(one.points, two.points)
    torch.testing.assert_close(one.covariance_mm2, two.covariance_mm2)


@given(st.floats(-300, 300), st.integers(0, 99))
def test_a_constant_added_to_a_map_changes_nothing(constant, seed):
    maps, extent, _ = example((4, 6), seed=seed)
    one, two = expect(maps, extent), expect(maps + constant, extent)
    torch.testing.assert_close(one.points, two.points, atol=1e-9, rtol=0)
    torch.testing.assert_close(one.covariance_mm2, two.covariance_mm2, atol=1e-7, rtol=1e-7)


def test_a_uniform_map_is_the_middle_with_the_variance_of_a_box():
    found = expect(torch.zeros(1, 1, 6, 10), torch.tensor([[10.0, 6.0]]))
    torch.testing.assert_close(found.points, torch.zeros(1, 1, 2), atol=1e-7, rtol=0)
    expected = [(10**2 - 1) / 12, (6**2 - 1) / 12]  # discrete uniform distribution
    assert found.covariance_mm2[0, 0].diagonal().tolist() == pytest.approx(expected)
    assert found.peak.item() == pytest.approx(1 / 60)
    assert found.distance_mm is None


def test_only_the_gradient_has_the_size_of_the_maps(monkeypatch):
    """Counted by what is allocated: the maps themselves, then one tensor for their gradient."""
    from torch.utils._python_dispatch import TorchDispatchMode

    monkeypatch.setattr(streamed_module, "_BLOCK_CPU", 1 << 12)
    maps, extent, target = example((16, 32, 64), torch.float32)
    maps.requires_grad_()
    kept: list[torch.Tensor] = []  # holding on to them keeps addresses from being used twice

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            kept.extend(t for t in (out,) if isinstance(t, torch.Tensor))
            return out

    with Watch():
        got = expect(maps, extent, target=target)
        total = got.points.sum() + got.distance_mm.sum()
        (gradient,) = torch.autograd.grad(total, maps)
    sizes = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in kept}
    large = [a for a, n in sizes.items() if n * 4 > maps.nbytes]
    assert set(large) - {maps.data_ptr()} == {gradient.data_ptr()}


def test_a_sharp_map_leaves_no_denormal_numbers_in_the_gradient():
    """Processors compute with them so slowly that a sharp network would train ten times slower."""
    maps = torch.zeros(1, 1, 6, 8, 10)
    maps[..., 3, 4, 5:7] = torch.tensor([60.0, 59.0])
    maps[..., 0, :, :] = -40.0  # exp(-100) is denormal in float32
    maps.requires_grad_()
    found = expect(maps, torch.tensor([[10.0, 8.0, 6.0]]), target=torch.full((1, 1, 3), 0.7))
    (found.points.sum() + found.covariance_mm2.sum() + found.distance_mm.sum()).backward()
    size = maps.grad.abs()
    assert size.max() > 1e-6
    assert not ((size > 0) & (size < torch.finfo(torch.float32).tiny)).any()

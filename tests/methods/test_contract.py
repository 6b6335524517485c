"""What every method promises: one test for all of them, 2D and 3D."""

from __future__ import annotations

import copy

import pytest
import torch

from anatomark.errors import UsageError
from anatomark.losses import pooled
from anatomark.methods import METHODS, Batch, method_named

B, L, C = 2, 3, 2
SHAPES = {2: (24, 37), 3: (12, 16, 21)}
SMALL = {"kind": "voxelmorph", "encoder": (4, 4), "decoder": (4, 4), "final": (4,)}
GU2NET = {"widths": (8, 8), "global_width": 8}
PATCHES = {
    "widths": (4, 4, 6, 6, 8), "pairs": (1, 1, 1, 1), "head": 16, "local_widths": (8, 8),
    "local_head": 8, "sub_image": (20,), "local_size": 8, "pools": (True, False, False, False),
}  # fmt: skip
UNET = {"kind": "unet", "widths": (4, 6), "block": "residual", "norm": "instance"}

SETTINGS = [
    *(("fang2023", {"network": SMALL, "regulariser": r}) for r in ("none", "variance", "distance")),
    ("fang2023", {"network": UNET}),
    *(("heatmap_matching", {"network": SMALL, "decode": d}) for d in ("argmax", "local")),
    *(
        ("cross_entropy", {"network": SMALL, "decode": d})
        for d in ("argmax", "local", "expectation")
    ),
    ("direct_regression", {"encoder": (4, 4), "hidden": 8, "lattice": 2}),
    *(("zhu2021", {**GU2NET, "parts": p}) for p in ("both", "local", "global")),
    *(("zhu2021", {**GU2NET, "convolutions": c}) for c in ("adapted", "shared", "each")),
    *(("noothout2020", {**PATCHES, "displacement": d}) for d in ("log", "linear", "none")),
    ("noothout2020", {**PATCHES, "classify": False, "sub_image": (40,)}),
    ("noothout2020", {**PATCHES, "each": True, "local": False, "sub_image": (40,)}),
    ("zhu2021", {**GU2NET, "decode": "argmax"}),
    ("zhu2021", {**GU2NET, "loss": "softmax"}),
]  # fmt: skip
IDS = [
    f"{name}-{'-'.join(str(v) for v in s.values() if isinstance(v, str))}" for name, s in SETTINGS
]


@pytest.fixture(params=[2, 3])
def dimension(request):
    name = request.getfixturevalue("name")
    if request.param not in METHODS[name].dimensions:
        pytest.skip(f"{name} does not claim it")
    return request.param


def made(name, settings, dimension):
    kind = METHODS[name]
    return kind(kind.Config(**settings), landmarks=L, dimension=dimension, channels=C)


def batch_of(dimension, seed=0):
    rng = torch.Generator().manual_seed(seed)
    present = torch.tensor([[True, True, False], [True, True, True]])
    points = torch.rand(B, L, dimension, generator=rng) * 1.6 - 0.8
    return Batch(
        images=torch.randn(B, C, *SHAPES[dimension], generator=rng),
        extent_mm=torch.rand(B, dimension, generator=rng) * 50 + 50,
        points=torch.where(present[..., None], points, torch.zeros(())),
        present=present,
    )


def total(method, out, batch):
    return pooled(sum(method.losses(out, batch).values()), batch.present)


@pytest.mark.parametrize(("name", "settings"), SETTINGS, ids=IDS)
def test_shapes_gradients_and_finite_losses(name, settings, dimension):
    torch.manual_seed(0)
    method, batch = made(name, settings, dimension), batch_of(dimension)
    out = method(batch)
    terms = method.losses(out, batch)
    assert all(t.shape == (B, L) and t.isfinite().all() for t in terms.values())
    total(method, out, batch).backward()
    grads = [p.grad for p in method.parameters()]
    assert all(g is not None and g.isfinite().all() for g in grads)
    assert any(g.abs().sum() > 0 for g in grads)

    found = method.predict(method(batch))
    assert found.points.shape == (B, L, dimension)
    assert found.points.dtype == torch.float32
    assert found.points.isfinite().all()
    if found.confidence is not None:
        assert found.confidence.shape == (B, L)
        assert ((found.confidence >= 0) & (found.confidence <= 1)).all()
    if found.covariance_mm2 is not None:
        assert found.covariance_mm2.shape == (B, L, dimension, dimension)
        eigenvalues = torch.linalg.eigvalsh(found.covariance_mm2)
        assert eigenvalues.min() > -1e-3 * eigenvalues.max()


@pytest.mark.parametrize(("name", "settings"), SETTINGS, ids=IDS)
def test_an_absent_landmark_has_no_influence(name, settings, dimension):
    torch.manual_seed(0)
    method, batch = made(name, settings, dimension), batch_of(dimension)
    elsewhere = batch.points.clone()
    elsewhere[0, 2] = 0.5
    other = Batch(batch.images, batch.extent_mm, elsewhere, batch.present)
    grads = []
    for one in (batch, other):
        method.zero_grad()
        torch.manual_seed(1)  # of what a method draws by chance
        total(method, method(one), one).backward()
        grads.append([p.grad.clone() for p in method.parameters()])
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize(("name", "settings"), SETTINGS, ids=IDS)
def test_a_batch_without_any_landmark_changes_nothing(name, settings, dimension):
    method, batch = made(name, settings, dimension), batch_of(dimension)
    empty = Batch(batch.images, batch.extent_mm, batch.points * 0, torch.zeros(B, L).bool())
    loss = total(method, method(empty), empty)
    loss.backward()
    assert loss == 0
    assert all(p.grad is None or (p.grad == 0).all() for p in method.parameters())


@pytest.mark.parametrize(("name", "settings"), SETTINGS, ids=IDS)
def test_weights_travel(name, settings, dimension):
    torch.manual_seed(0)
    method = made(name, settings, dimension).eval()
    torch.manual_seed(1)
    other = made(name, settings, dimension).eval()
    batch = batch_of(dimension)
    assert not torch.equal(method.predict(method(batch)).points, other.predict(other(batch)).points)
    other.load_state_dict(copy.deepcopy(method.state_dict()))
    assert torch.equal(method.predict(method(batch)).points, other.predict(other(batch)).points)


@pytest.mark.parametrize(("name", "settings"), SETTINGS, ids=IDS)
def test_half_precision_keeps_points_in_float32(name, settings, dimension):
    torch.manual_seed(0)
    method, batch = made(name, settings, dimension).eval(), batch_of(dimension)
    plain = method.predict(method(batch)).points
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = method(batch)
        half = method.predict(out).points
        terms = method.losses(out, batch)
    assert half.dtype == torch.float32
    assert all(t.dtype == torch.float32 for t in terms.values())
    of_a_peak = name == "zhu2021" or {"argmax", "local"} & {*map(str, settings.values())}
    if not of_a_peak:  # an untrained map has no clear peak to compare: see where a dot is learnt
        assert (half - plain).abs().max() < 0.05


@pytest.mark.parametrize(("name", "settings"), SETTINGS, ids=IDS)
def test_it_learns_where_a_dot_is(name, settings, dimension):
    """A few steps on bright dots bring the error down: signs and axes are right."""
    torch.manual_seed(0)
    kind = METHODS[name]
    shape = SHAPES[dimension]
    if name in {"heatmap_matching", "cross_entropy"}:
        settings = {**settings, "sigma_mm": 3.0}
    method = kind(kind.Config(**settings), landmarks=1, dimension=dimension, channels=1)
    extent = torch.tensor([[float(n) for n in reversed(shape)]] * 8)
    optimiser = torch.optim.Adam(method.parameters(), lr=1e-2)
    rng = torch.Generator().manual_seed(3)

    def dots():
        index = torch.stack(
            [torch.randint(2, n - 2, (8,), generator=rng) for n in reversed(shape)], 1
        )
        images = torch.zeros(8, 1, *shape)
        for b in range(8):
            images[(b, 0, *index[b].flip(0).tolist())] = 10
        points = (2 * index + 1) / extent - 1
        return Batch(images, extent, points[:, None], torch.ones(8, 1).bool())

    def error(batch):
        points = method.predict(method(batch)).points
        return ((points - batch.points) * extent[:, None] / 2).norm(dim=-1).mean()

    test = dots()
    centre = (test.points * extent[:, None] / 2).norm(dim=-1).mean()
    for _ in range(80):
        batch = dots()
        optimiser.zero_grad()
        total(method, method(batch), batch).backward()
        optimiser.step()
    method.eval()
    limit = 0.9 if name == "direct_regression" else 0.4
    assert error(test) < limit * centre
    if name == "zhu2021":  # now that its maps have peaks
        # After so few steps those of the softmax are broader than those of the published loss; a
        # pixel of the global network alone is four of the image.
        limit_px = 0.5 if settings.get("loss") == "softmax" else 0.1
        limit_px *= 4 if settings.get("parts") == "global" else 1
        moved = _moved_by_bfloat16(method, test)
        assert moved.median() < limit_px
        # Of two pixels that are nearly alike, rounding may make either the peak.
        assert moved.max() < max(limit_px, 1.5)


def _moved_by_bfloat16(method, batch):
    """How far points move, in pixels, with a millimetre a pixel."""
    with torch.no_grad():
        plain = method.predict(method(batch)).points
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half = method.predict(method(batch)).points
    return ((half - plain) * batch.extent_mm[:, None] / 2).abs()


def test_methods_are_found_by_name():
    assert method_named("fang2023") is METHODS["fang2023"]
    with pytest.raises(UsageError, match="there is no method 'unet'; choose of fang2023"):
        method_named("unet")

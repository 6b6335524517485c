"""Noothout 2020: targets, decoding and stages, against what the paper says."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from anatomark.heads.votes import holds
from anatomark.methods import METHODS, Batch
from anatomark.methods.noothout2020 import Noothout2020Config
from anatomark.models.recipe import parse_recipe, read_recipe

SMALL = {
    "widths": (4, 4, 6, 6, 8), "pairs": (1, 1, 1, 1), "head": 8, "local_widths": (4, 4),
    "local_head": 4, "pools": (True, False, False, False), "sub_image": (12,), "local_size": 8,
}  # fmt: skip
SHAPE = (16, 28)  # y, x


def made(**settings):
    torch.manual_seed(0)
    kind = METHODS["noothout2020"]
    config = kind.Config(**{**SMALL, **settings})
    return kind(config, landmarks=2, dimension=2, channels=1)


def batch_of(points):
    torch.manual_seed(1)
    return Batch(
        torch.randn(1, 1, *SHAPE),
        torch.tensor([[14.0, 32.0]]),  # 0.5 mm along x, 2 mm along y
        torch.tensor([points]),
        torch.ones(1, len(points)).bool(),
    )


def test_the_losses_are_those_of_the_paper():
    method = made(sub_image=(64,), local=False)  # the whole image is the sub-image
    batch = batch_of([[0.1, -0.3], [-0.9, 0.8]])
    out = method(batch)
    terms = {k: v.detach() for k, v in method.losses(out, batch).items()}
    moved, logits = (maps.detach() for maps in out.whole.maps)
    rows, columns = logits.shape[2:]
    assert (rows, columns) == (4, 7)
    for p in range(2):
        target = batch.points[0, p] * batch.extent_mm[0] / 2
        apart, crossed = [], []
        for j, i in itertools.product(range(rows), range(columns)):
            centre = torch.tensor([(4 * i + 2) * 0.5 - 7, (4 * j + 2) * 2.0 - 16])
            for axis in range(2):
                d = float(target[axis] - centre[axis])
                log = math.copysign(math.log1p(abs(d)), d)
                apart.append(abs(float(moved[0, p, axis, j, i]) - log))
            inside = all(
                abs(float(t - c)) < h for t, c, h in zip(target, centre, (1, 4), strict=True)
            )
            chance = float(torch.sigmoid(logits[0, p, j, i].detach()))
            crossed.append(-math.log(chance if inside else 1 - chance))
        assert float(terms["global displacement"][0, p]) == pytest.approx(
            sum(apart) / len(apart), rel=1e-4
        )
        assert float(terms["global presence"][0, p]) == pytest.approx(
            sum(crossed) / len(crossed), rel=1e-4
        )


@pytest.mark.parametrize("displacement", ["log", "linear", "none"])
def test_perfect_votes_give_the_point(displacement):
    """With targets in the place of what the network says, the point comes back."""
    method = made(displacement=displacement, local=False).eval()
    batch = batch_of([[0.1, -0.3], [-0.9, 0.8]])
    out = method(batch)
    said = out.whole
    target = batch.points * batch.extent_mm[:, None] / 2
    apart = target[..., None, None] - said.centres_mm
    inside = (apart.abs() < said.patch_mm[:, None, :, None, None] / 2).all(2)
    logits = torch.where(inside, 20.0, -20.0)
    moved = {"log": apart.sign() * apart.abs().log1p(), "linear": apart, "none": None}
    perfect = said._replace(
        maps=said.maps._replace(displacement=moved[displacement], logits=logits)
    )
    found = method.predict(out._replace(whole=perfect))
    assert found.present.all()
    off = ((found.points - batch.points) * batch.extent_mm[:, None] / 2).abs()
    # Without displacements a point is the centre of its patch of 2 × 8 mm.
    limit = torch.tensor([1.0, 4.0]) if displacement == "none" else torch.tensor([1e-3, 1e-3])
    assert (off <= limit).all()
    if displacement != "none":
        assert found.covariance_mm2[0, 0].diagonal().tolist() == pytest.approx(
            [0.5**2 / 12, 2.0**2 / 12], rel=0.05
        )


def test_a_landmark_that_no_patch_holds_is_absent():
    method = made(local=False).eval()
    out = method(batch_of([[0.0, 0.0], [0.5, 0.5]]))
    logits = torch.full_like(out.whole.maps.logits, -9.0)
    logits[0, 1, 2, 3] = 1.0
    empty = out.whole._replace(maps=out.whole.maps._replace(logits=logits))
    found = method.predict(out._replace(whole=empty))
    assert found.present.tolist() == [[False, True]]
    assert found.points.isfinite().all()


def test_sub_images_of_training_hold_the_landmark_and_prediction_does_not_use_the_truth():
    method = made()
    points = [[0.95, -0.95], [-1.0, 1.0]]
    starts = set()
    for seed in range(40):
        torch.manual_seed(seed)
        batch = batch_of(points)
        torch.manual_seed(seed)
        out = method(batch)
        first = out.local.centres_mm.amin((3, 4)) - out.local.patch_mm[:, None] / 2
        last = out.local.centres_mm.amax((3, 4)) + out.local.patch_mm[:, None] / 2
        target = batch.points * batch.extent_mm[:, None] / 2
        assert ((first <= target + 1e-4) & (target <= last + 1e-4)).all()
        starts.add(tuple(first[0, 0].tolist()))
        assert out.guided
    assert len(starts) > 15
    torch.manual_seed(0)
    some = method.predict(method(batch_of(points))).points
    torch.manual_seed(0)
    other = method.predict(method(batch_of([[0.0, 0.0], [0.3, 0.3]]))).points
    assert torch.equal(some, other)


def test_every_positive_label_lies_in_the_box_that_is_shown():
    """Boxes are cut of whole patches: 14 voxels are three of 4."""
    method = made(sub_image=(14,), local=False)
    held = 0
    for seed in range(60):
        batch = batch_of([[0.2, 0.1], [-0.3, 0.4]])
        torch.manual_seed(seed)
        said = method(batch).whole
        assert said.maps.logits.shape[2:] == (3, 3)
        first = said.centres_mm[0, 0].amin((1, 2)) - said.patch_mm[0] / 2
        target = batch.points[0] * batch.extent_mm / 2
        inside = ((target >= first) & (target < first + 3 * said.patch_mm[0])).all(-1)
        here = holds(said.centres_mm, said.patch_mm, target[None])[0].flatten(1).any(-1)
        assert torch.equal(here, inside)
        held += int(here.sum())
    assert 5 < held < 115


def test_the_local_networks_look_where_the_global_one_points():
    method = made().eval()
    batch = batch_of([[0.0, 0.0], [0.5, 0.5]])
    out = method(Batch(batch.images, batch.extent_mm))
    coarse = method._tally(out.whole, out.extent_mm).points_mm
    middle = out.local.centres_mm.mean((3, 4))
    voxel = torch.tensor([0.5, 2.0])
    inside = coarse.clamp(-out.extent_mm[:, None] / 2, out.extent_mm[:, None] / 2)
    assert ((middle - inside).abs() <= voxel * 0.51).all()


def test_explanations_are_the_votes():
    method = made().eval()
    batch = batch_of([[0.0, 0.0], [0.5, 0.5]])
    out = method(Batch(batch.images, batch.extent_mm))
    found = method.explain(out)
    assert tuple(found) == method.stages == ("global", "local")
    last = found["local"]
    share = last.posterior / last.posterior.sum((-1, -2), keepdim=True)
    mean = (last.votes * share[:, :, None]).sum((-1, -2))
    torch.testing.assert_close(mean, method.predict(out).points, rtol=1e-4, atol=1e-5)


def test_one_network_for_each_landmark():
    one, each = made(local=False), made(local=False, each=True)
    assert len(each.whole) == 2
    assert each.whole[0].landmarks == 1
    assert one.whole[0].landmarks == 2


@pytest.mark.parametrize(
    ("name", "size", "sub_image"),
    [("ccta", 3, (72, 72, 72)), ("olfactory", 3, (72, 72, 72)), ("ceph", 2, (592, 592))],
)
def test_recipes_have_the_published_settings(name, size, sub_image):
    recipe = read_recipe(f"noothout2020-{name}")
    config = recipe.config()
    assert isinstance(config, Noothout2020Config)
    assert recipe.grid.dimension == size
    assert config.sub_image == sub_image
    assert config.least_posterior == 0  # the paper finds every landmark
    assert (config.local_size, config.widths, config.pairs) == (
        16, (16, 32, 64, 128, 256), (3, 4, 6, 3),
    )  # fmt: skip
    t = recipe.training
    assert (t.batch, t.optimiser, t.learning_rate) == (4, "adam", 1e-3)
    assert t.epochs * t.steps_per_epoch == 300_000
    assert {"ccta": 1.5, "olfactory": 0.47, "ceph": 0.1}[name] == recipe.grid.spacing


def test_what_cannot_be_trained_is_refused():
    raw = {"name": "x", "method": "noothout2020", "grid": {"size": (32, 32)}}
    with pytest.raises(Exception, match="there are no votes"):
        parse_recipe({**raw, "settings": {"displacement": "none", "classify": False}})
    with pytest.raises(Exception, match="one for each axis"):
        parse_recipe({**raw, "settings": {"sub_image": [8, 8, 8]}})
    with pytest.raises(Exception, match="multiple of 2"):
        parse_recipe({**raw, "settings": {"local_size": 15}})

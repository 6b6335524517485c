"""Point fits against SimpleITK, scipy and simulation."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from anatomark.errors import RegistrationError
from anatomark.registration.points import fit_points

KINDS = ("rigid", "similarity", "affine")


def cloud(dim, count=12, seed=0, flat=0.0):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(count, dim)) * 40 + 100
    points[:, -1] = points[:, -1] * (1 - flat) + flat * 100
    return points


def turn(dim, seed=0):
    rng = np.random.default_rng(seed)
    if dim == 3:
        return Rotation.from_rotvec(rng.normal(size=3)).as_matrix()
    angle = rng.uniform(-3, 3)
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def noise(rng, covariance):
    """Errors ``(N, D)`` with these covariances."""
    roots = np.linalg.cholesky(covariance)
    return (roots @ rng.normal(size=(*covariance.shape[:2], 1)))[..., 0]


def itk(source, target, kind):
    """SimpleITK's map; its fixed points are the source."""
    dim = source.shape[1]
    flat = [p.ravel().tolist() for p in (source, target)]
    start = {
        ("rigid", 2): sitk.Euler2DTransform(), ("rigid", 3): sitk.VersorRigid3DTransform(),
        ("similarity", 2): sitk.Similarity2DTransform(),
        ("similarity", 3): sitk.Similarity3DTransform(),
        ("affine", 2): sitk.AffineTransform(2), ("affine", 3): sitk.AffineTransform(3),
    }[kind, dim]  # fmt: skip
    found = sitk.LandmarkBasedTransformInitializer(start, *flat)
    return np.array([found.TransformPoint(p.tolist()) for p in source])


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_fits_agree_with_simpleitk(kind, dim, seed):
    if (kind, dim) == ("similarity", 2):
        pytest.skip("SimpleITK's 2D similarity is not the least-squares one; see the next test")
    source = cloud(dim, seed=seed, flat=0.999 if seed == 5 else 0.0)  # nearly in a plane
    rng = np.random.default_rng(seed + 50)
    target = 1.2 * source @ turn(dim, seed).T + 7 + rng.normal(size=source.shape) * 3
    if seed == 4:
        target[:, 0] *= -1  # mirrored: a rigid map must not be
    found = fit_points(source, target, kind)
    if kind == "similarity":
        # ITK estimates the size from the spreads of both sides (Horn 1987), not by least squares.
        np.testing.assert_allclose(
            turn_of(found.map.matrix), turn_of(_linear(source, itk(source, target, kind))),
            atol=1e-6,
        )  # fmt: skip
    else:
        np.testing.assert_allclose(found.map(source), itk(source, target, kind), atol=1e-6)
    if kind != "affine":
        assert np.linalg.det(found.map.matrix) > 0


def turn_of(matrix):
    return matrix / np.cbrt(np.linalg.det(matrix))


def _linear(source, mapped):
    return np.linalg.lstsq(source - source.mean(0), mapped - mapped.mean(0), rcond=None)[0].T


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_fits_are_the_least_weighted_squares_that_scipy_finds(kind, dim):
    rng = np.random.default_rng(3)
    source = cloud(dim, seed=1)
    target = 0.8 * source @ turn(dim, 1).T - 9 + rng.normal(size=source.shape) * 4
    weights = rng.uniform(0.1, 3, len(source))
    found = fit_points(source, target, kind, weights=weights)

    def build(x):
        if kind == "affine":
            return x[dim:].reshape(dim, dim)
        angle = x[dim : dim + (1 if dim == 2 else 3)]
        size = np.exp(x[-1]) if kind == "similarity" else 1.0
        if dim == 2:
            c, s = np.cos(angle[0]), np.sin(angle[0])
            return size * np.array([[c, -s], [s, c]])
        return size * Rotation.from_rotvec(angle).as_matrix()

    def residuals(x):
        apart = target - source @ build(x).T - x[:dim]
        return (np.sqrt(weights)[:, None] * apart).ravel()

    linear = turn(dim, 1)
    angle = (
        [np.arctan2(linear[1, 0], linear[0, 0])]
        if dim == 2
        else Rotation.from_matrix(linear).as_rotvec()
    )
    start = {
        "rigid": [*np.zeros(dim), *angle],
        "similarity": [*np.zeros(dim), *angle, 0.0],
        "affine": [*np.zeros(dim), *linear.ravel()],
    }[kind]
    best = least_squares(residuals, start, xtol=1e-15, ftol=1e-15, gtol=1e-15, x_scale="jac")
    np.testing.assert_allclose(found.map.matrix, build(best.x), atol=1e-6)
    own = (weights[:, None] * found.residuals_mm**2).sum()
    assert own <= 2 * best.cost * (1 + 1e-9)


@pytest.mark.parametrize("kind", ["rigid", "affine"])
def test_a_point_counts_less_along_the_axis_in_which_it_is_unsure(kind):
    """With known covariances, generalised least squares is nearer to the truth than plain."""
    rng = np.random.default_rng(0)
    plain, general = [], []
    for _ in range(60):
        source = cloud(3, 8, seed=int(rng.integers(1 << 30)))
        matrix = turn(3, int(rng.integers(1 << 30)))
        root = rng.normal(size=(8, 3, 3)) * rng.uniform(0.1, 5, (8, 1, 3))
        covariance = root @ root.transpose(0, 2, 1) + 0.01 * np.eye(3)
        target = source @ matrix.T + 5 + noise(rng, covariance)
        asked = cloud(3, 30, seed=7)
        true = asked @ matrix.T + 5
        for errors, given in ((plain, None), (general, covariance)):
            fit = fit_points(source, target, kind, target_covariance_mm2=given)
            errors.append(np.linalg.norm(fit.map(asked) - true, axis=1).mean())
    assert np.mean(general) < 0.7 * np.mean(plain)


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_the_predicted_target_error_is_that_of_many_repetitions(kind, dim):
    rng = np.random.default_rng(1)
    source, asked = cloud(dim, 9, seed=2), cloud(dim, 4, seed=8) + 30
    matrix = turn(dim, 3) * (1.1 if kind != "rigid" else 1.0)
    root = rng.normal(size=(9, dim, dim))
    target_covariance = root @ root.transpose(0, 2, 1) + 0.2 * np.eye(dim)
    source_covariance = target_covariance[::-1] * 0.5
    true = source @ matrix.T + 3
    found, predicted = [], []
    for _ in range(200):
        noisy = true + noise(rng, target_covariance)
        moved = source + noise(rng, source_covariance)
        fit = fit_points(
            moved, noisy, kind,
            source_covariance_mm2=source_covariance, target_covariance_mm2=target_covariance,
        )  # fmt: skip
        found.append(fit.map(asked))
        predicted.append(fit.expected_error_mm(asked) ** 2)
    spread = np.square(np.array(found) - (asked @ matrix.T + 3)).sum(-1).mean(0)
    np.testing.assert_allclose(np.mean(predicted, 0), spread, rtol=0.25)


def test_without_covariances_the_residuals_say_how_sure_a_map_is():
    rng = np.random.default_rng(5)
    source, asked = cloud(3, 20, seed=4), cloud(3, 5, seed=9)
    found, predicted = [], []
    for _ in range(800):
        fit = fit_points(source, source + rng.normal(size=source.shape) * 2, "rigid")
        found.append(fit.map(asked))
        predicted.append(fit.expected_error_mm(asked) ** 2)
    spread = np.square(np.array(found) - asked).sum(-1).mean(0)
    np.testing.assert_allclose(np.mean(predicted, 0), spread, rtol=0.15)


def test_as_many_pairs_as_needed_say_nothing_of_their_error():
    points = cloud(2, 3, seed=1)
    fit = fit_points(points, points * 1.3 + 2, "affine")
    np.testing.assert_allclose(fit.residuals_mm, 0, atol=1e-9)
    assert np.isnan(fit.expected_error_mm(points)).all()


LINE = np.outer(np.arange(5.0), [1.0, 2.0, -1.0])
PLANE = np.c_[cloud(2, 6), np.zeros(6)]


@pytest.mark.parametrize(
    ("points", "kind", "message"),
    [
        (LINE, "rigid", "lie on one line, so they do not fix a rigid map in 3D"),
        (PLANE, "affine", "lie in one plane, so they do not fix an affine map in 3D"),
        (np.ones((4, 2)), "rigid", "lie at one place"),
        (cloud(3, 2), "rigid", "2 pairs do not fix a rigid map in 3D; give 3 at least"),
        (cloud(2, 1), "rigid", "1 pair does not fix"),
        (np.full((4, 3), np.nan), "rigid", "not finite; leave out absent points"),
    ],
)
def test_what_does_not_fix_a_map_is_refused_with_the_reason(points, kind, message):
    with pytest.raises(RegistrationError, match=message):
        fit_points(points, points, kind)


def test_two_points_are_enough_in_the_plane():
    source = np.array([[0.0, 0.0], [10.0, 0.0]])
    fit = fit_points(source, [[5.0, 5.0], [5.0, 15.0]], "rigid")
    np.testing.assert_allclose(fit.map.matrix, [[0, -1], [1, 0]], atol=1e-12)


def test_bad_weights_and_covariances_are_refused():
    points = cloud(3)
    with pytest.raises(RegistrationError, match="weights must be 12 numbers"):
        fit_points(points, points, weights=-np.ones(12))
    with pytest.raises(RegistrationError, match="no uncertainty along some axis"):
        fit_points(points, points, target_covariance_mm2=np.zeros((12, 3, 3)))
    with pytest.raises(RegistrationError, match="target covariance is not one"):
        fit_points(points, points, target_covariance_mm2=-np.tile(np.eye(3), (12, 1, 1)))
    with pytest.raises(RegistrationError, match="two equal lists"):
        fit_points(points, points[:4])


@pytest.mark.parametrize("count", [3, 8])
def test_equal_uncertainty_gives_the_error_that_fitzpatrick_derived(count):
    """Fitzpatrick, West and Maurer 1998: FLE²/N · (1 + 1/3 · Σ d²/f²), d and f from each axis."""
    points, asked = cloud(3, count, seed=6), cloud(3, 5, seed=9) * 1.5
    covariance = np.tile(4.0 * np.eye(3), (count, 1, 1))  # FLE² is its trace, 12 mm²
    fit = fit_points(points, points, target_covariance_mm2=covariance)
    centred = points - points.mean(0)
    axes = np.linalg.svd(centred)[2]
    squared_to = [  # of points from the k-th axis: what is left without that coordinate
        lambda p, k=k: ((p - points.mean(0)) ** 2).sum(1) - ((p - points.mean(0)) @ axes[k]) ** 2
        for k in range(3)
    ]
    ratio = sum(d(asked) / d(points).mean() for d in squared_to)
    np.testing.assert_allclose(fit.expected_error_mm(asked) ** 2, 12 / count * (1 + ratio / 3))


def test_a_fit_seen_from_the_other_side():
    source = cloud(3, 9, seed=1)
    target = 1.5 * source @ turn(3, 2).T + 4 + np.random.default_rng(0).normal(size=source.shape)
    fit = fit_points(source, target, "similarity")
    back = fit.inverse()
    np.testing.assert_allclose(back.map(fit.map(source)), source, atol=1e-9)
    size = np.cbrt(np.linalg.det(fit.map.matrix))
    np.testing.assert_allclose(back.distances_mm, fit.distances_mm / size, rtol=1e-9)
    errors = back.expected_error_mm(fit.map(source))
    np.testing.assert_allclose(errors, fit.expected_error_mm(source) / size, rtol=1e-9)


def test_the_misfit_says_when_covariances_promise_too_much():
    rng = np.random.default_rng(0)
    source = cloud(3, 200)
    covariance = np.tile(np.diag([1.0, 4.0, 9.0]), (200, 1, 1))
    target = source + rng.normal(size=source.shape) * [1.0, 2.0, 3.0]
    honest, bold = (
        fit_points(source, target, target_covariance_mm2=covariance / f).misfit for f in (1, 4)
    )
    assert honest == pytest.approx(1, abs=0.15)
    assert bold == pytest.approx(4 * honest, rel=0.01)
    assert np.isnan(fit_points(source, target).misfit)

"""The models that come with the package, on phantoms that they have never seen."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from anatomark import Grid, Image, load_sample, read_image
from anatomark.datasets.phantoms.cohorts import write_phantoms
from anatomark.inference import Detector
from anatomark.methods import MATCHERS
from anatomark.models.cards import card_of, terms_of
from anatomark.models.files import (
    describe,
    load_matcher,
    load_model,
    shipped_models,
)

CASES = 20


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fresh") / "prostates"
    return write_phantoms("prostate", folder, cases=CASES, seed=60_000, shape=(32, 64, 64))


def test_every_model_has_a_card_and_all_are_small():
    files = shipped_models()
    assert {"prostate-phantom-mr", "prostate-phantom-us"} <= set(files)
    assert sum(f.stat().st_size for f in files.values()) < 20e6  # as much as the package may carry
    for file in files.values():
        card = card_of(file)
        for one in describe(file):
            matches = one["method"] in MATCHERS
            loaded = (load_matcher if matches else load_model)(one["name"])
            assert loaded.name == one["name"]
            assert f"# {one['name']}" in card
        assert "Terms:" in card
        assert 0 < len(terms_of(card)) < 20  # a cell of a table
        assert "| data |" in card


@pytest.mark.parametrize("domain", ["mr", "us"])
def test_points_and_radii_hold_on_fresh_cases(fresh, domain):
    """Split-conformal: 95 % of the errors of fresh cases are within the radius, give or take."""
    detector = Detector(f"prostate-phantom-{domain}", device="cpu")
    errors, radii, flagged, odd = [], [], [], []
    for case in fresh.select(domain=domain).cases:
        sample = load_sample(fresh, case)
        found = detector.detect(sample.image)
        apart = found.landmarks.points_mm - sample.landmarks.points_mm
        errors.append(np.linalg.norm(apart, axis=1))
        radii.append([found.findings.radius[name] for name in found.landmarks.names])
        flagged.append([name in found.findings.flags for name in found.landmarks.names])
        odd.append([bool(found.findings.image)] * len(found.landmarks))
    errors, radii, flagged = np.array(errors), np.array(radii), np.array(flagged)
    validated = detector.model.info.trained["validation_mre"]
    assert errors.mean() < 1.5 * validated
    # 60 points of 20 cases: 95 % and less than three standard deviations of dependent cases.
    known = np.isfinite(radii)
    assert (known | flagged | np.array(odd)).all()  # without a flag there is a radius
    assert (errors[known] <= radii[known]).mean() >= 0.85
    assert np.quantile(errors, 0.95) > 0.5 * radii[known].mean()  # and they are not just large
    assert flagged.mean() < 0.5
    if flagged.sum() > 5:  # flags are about something
        assert errors[flagged].mean() > errors[~flagged].mean()


def test_the_universal_model_knows_films_from_other_things(tmp_path):
    """Nothing is refused, but a phantom of a hand is no head: its points are flagged."""
    film = write_phantoms("hand", tmp_path / "hands", cases=1, shape=(320, 256))
    image = load_sample(film, film.cases[0], grey=True).image
    as_head = Image(image.array, Grid(image.grid.shape, (0.7, 0.7)))
    found = Detector("universal/head", device="cpu").detect(as_head)
    assert len(found.landmarks) == 19
    assert found.findings.image
    assert len(found.findings.flags) > 10


HEADS = Path(__file__).parents[3] / "shared" / "data" / "ceph"


@pytest.mark.skipif(not HEADS.is_dir(), reason="the ISBI 2015 films are not here")
def test_heads_that_it_was_not_trained_on():
    rows = list(csv.DictReader((HEADS / "test1.csv").read_text().splitlines()))
    detector = Detector("universal/head", device="cpu")
    errors = []
    for name in [f"{n:03d}" for n in range(151, 301, 25)]:
        image = read_image(HEADS / "images" / f"{name}.jpg", spacing=0.3, grey=True)
        points = detector.detect(image).landmarks
        for landmark in points.names:
            read = [
                (float(r["x_mm"]), float(r["y_mm"]))
                for r in rows
                if (r["image"], r["landmark"]) == (name, landmark)
            ]
            true = np.mean(read, axis=0) - 0.15  # from the corner of the first pixel to its middle
            errors.append(np.linalg.norm(points[landmark] - true))
    assert np.mean(errors) < 1.8
    assert np.median(errors) < 1.5

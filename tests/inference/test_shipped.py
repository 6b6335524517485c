"""The models that come with the package, on phantoms that they have never seen."""

from __future__ import annotations

import numpy as np
import pytest

from anatomark.datasets.phantoms.cohorts import write_phantoms
from anatomark.inference import Detector
from anatomark.io.cohorts.files import load_sample
from anatomark.models.files import load_model, shipped_models

CASES = 20


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fresh") / "prostates"
    return write_phantoms("prostate", folder, cases=CASES, seed=60_000, shape=(32, 64, 64))


def test_every_model_has_a_card_and_all_are_small():
    files = shipped_models()
    assert {"prostate-phantom-mr", "prostate-phantom-us"} <= set(files)
    assert sum(f.stat().st_size for f in files.values()) < 5e6
    for name, file in files.items():
        card = file.with_suffix(".md").read_text(encoding="utf-8")
        assert load_model(name).name == name
        assert "Terms:" in card
        assert "| data |" in card


@pytest.mark.parametrize("domain", ["mr", "us"])
def test_points_and_radii_hold_on_fresh_cases(fresh, domain):
    """Split-conformal: 95 % of the errors of fresh cases are within the radius, give or take."""
    detector = Detector(f"prostate-phantom-{domain}", device="cpu")
    errors, radii, flagged = [], [], []
    for case in fresh.select(domain=domain).cases:
        sample = load_sample(fresh, case)
        found = detector.detect(sample.image)
        apart = found.landmarks.points_mm - sample.landmarks.points_mm
        errors.append(np.linalg.norm(apart, axis=1))
        radii.append([found.findings.radius[name] for name in found.landmarks.names])
        flagged.append([name in found.findings.flags for name in found.landmarks.names])
    errors, radii, flagged = np.array(errors), np.array(radii), np.array(flagged)
    validated = detector.model.info.trained["validation_mre"]
    assert errors.mean() < 1.5 * validated
    # 60 points of 20 cases: 95 % and less than three standard deviations of dependent cases.
    assert (errors <= radii).mean() >= 0.85
    assert np.quantile(errors, 0.95) > 0.5 * radii.mean()  # and they are not just large
    assert flagged.mean() < 0.5
    if flagged.sum() > 5:  # flags are about something
        assert errors[flagged].mean() > errors[~flagged].mean()

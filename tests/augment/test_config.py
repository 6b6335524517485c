"""Settings: every field is described, unknown ones are refused, presets are there."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from anatomark.augment import PRESETS, AugmentConfig, preset
from anatomark.errors import UsageError


def test_every_strength_is_described_and_off_at_first():
    for name, field in AugmentConfig.model_fields.items():
        assert field.description or name.endswith("_probability"), name
    assert AugmentConfig() == preset("none", 2) == preset("none", 3)


@pytest.mark.parametrize(
    "wrong",
    [{"rotation": 3}, {"rotation_deg": -1}, {"crop": 0}, {"low_resolution": 0.5},
     {"flip_axes": (3,)}, {"noise_probability": 1.1}, {"elastic": 0.3}],
)  # fmt: skip
def test_what_does_not_fit_is_refused(wrong):
    with pytest.raises(ValidationError):
        AugmentConfig(**wrong)


def test_presets_are_valid_and_survive_a_round_trip():
    for config in PRESETS.values():
        assert AugmentConfig.model_validate_json(config.model_dump_json()) == config
        assert not config.flip_axes
    with pytest.raises(UsageError, match="none, light or strong"):
        preset("wild", 2)

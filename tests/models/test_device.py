"""When bfloat16 is used, and the fault of torch because of which it is not."""

from __future__ import annotations

import warnings

import pytest

from anatomark.errors import AnatomarkWarning
from anatomark.models import device
from anatomark.models.device import half_precision


@pytest.fixture(params=[True, False], ids=["with bf16", "without"])
def able(request, monkeypatch):
    flags = {"avx512_bf16"} if request.param else {"avx2"}
    monkeypatch.setattr(device, "cpu_flags", lambda: flags)
    return request.param


def test_auto_follows_the_processor_but_for_training_in_3d(able):
    assert half_precision("auto", "cpu") is able
    assert half_precision("auto", "cpu", training_dimension=2) is able
    assert half_precision("auto", "cpu", training_dimension=3) is False


def test_what_is_asked_for_is_done(able):
    assert half_precision("bf16", "cpu")
    assert half_precision("bf16", "cpu", training_dimension=2)
    assert half_precision("bf16", "cuda", training_dimension=3)
    assert not half_precision("float32", "cpu")


def test_bf16_is_refused_with_a_warning_where_it_would_train_wrongly(able):
    with pytest.warns(AnatomarkWarning, match="float32, not bf16: torch leaves gradients"):
        assert half_precision("bf16", "cpu", training_dimension=3) is False


def test_the_warning_is_said_once_wherever_it_is_asked():
    """A training asks twice: for its memory, and for its steps."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("default")
        half_precision("bf16", "cpu", training_dimension=3)
        half_precision("bf16", "cpu", training_dimension=3)
        half_precision("float32", "cpu", training_dimension=3)
    assert len(said) == 1

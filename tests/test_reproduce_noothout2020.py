"""Tables I, II and IV of Noothout 2020, from tiny runs: what is tested is the way."""

from __future__ import annotations

import json

import numpy as np
import pytest

from anatomark.cli.app import main
from anatomark.errors import UsageError
from anatomark.models.recipe import parse_recipe
from anatomark.reproduce import noothout2020
from anatomark.reproduce.noothout2020_published import TABLE1, TABLE2


@pytest.fixture
def tiny(monkeypatch):
    plain = noothout2020.recipe_of
    size = {"ccta": [16, 16, 16], "olfactory": [16, 16, 16], "ceph": [32, 40]}

    def smaller(experiment, *words):
        record = plain(experiment, *words).complete()
        record["grid"]["size"] = size[experiment]
        record["settings"] |= {
            "widths": [4] * 5, "pairs": [1] * 4, "head": 4, "local_widths": [4, 4],
            "local_head": 4, "local_size": 8, "sub_image": [12],
        }  # fmt: skip
        record["training"] |= {"epochs": 1, "steps_per_epoch": 2, "validate_every": 1}
        return parse_recipe(record)

    monkeypatch.setattr(noothout2020, "recipe_of", smaller)
    monkeypatch.setattr(noothout2020, "_SMALL_CASES", 10)
    shapes = {"ccta": (12, 17, 17), "olfactory": (8, 24, 24), "ceph": (80, 64)}
    monkeypatch.setattr(noothout2020, "_SMALL_SHAPE", shapes)
    some = {key: TABLE1[key] for key in ("r", "rlog_c", "ml")}
    monkeypatch.setattr(noothout2020, "TABLE1", some)


def test_the_tables(tiny, tmp_path, capsys):
    out = tmp_path / "votes"
    assert main(["reproduce", "noothout2020", "--out", str(out), "--device", "cpu"]) == 0
    assert "phantoms, not patients" in capsys.readouterr().out
    found = json.loads((out / "tables.json").read_text())["experiments"]
    assert set(found["ccta"]) == {"r", "rlog_c", "ml"}
    assert [len(found[e]["ml"]["names"]) for e in ("ccta", "olfactory", "ceph")] == [8, 2, 19]
    table = (out / "tables.md").read_text()
    for published in ("2.81 (1.88)", "1.87 (1.67)", "0.90 (0.85)", "0.95 (1.15)", "1.07 (1.60)"):
        assert published in table
    assert all((out / e / "sdr.png").is_file() for e in found)
    # What is there is not done again.
    before = {p: p.stat().st_mtime_ns for p in out.rglob("model.safetensors")}
    assert len(before) == 5
    assert main(["reproduce", "noothout2020", "--out", str(out), "--device", "cpu"]) == 0
    assert {p: p.stat().st_mtime_ns for p in out.rglob("model.safetensors")} == before


def test_every_row_of_table_1_is_a_setting():
    configs = {key: noothout2020.recipe_of("ccta", key, "paper", 0).config() for key in TABLE1}
    said = {k: (c.displacement, c.classify, c.local, c.each) for k, c in configs.items()}
    assert said == {
        "r": ("linear", False, False, False),
        "rlog": ("log", False, False, False),
        "c": ("none", True, False, False),
        "r_c": ("linear", True, False, False),
        "rlog_c": ("log", True, False, False),
        "sl": ("log", True, True, True),
        "ml": ("log", True, True, False),
    }


def test_marks_are_those_of_the_paper_s_levels():
    rng = np.random.default_rng(0)
    errors = rng.gamma(2, 1, (40, 2))
    rows = {
        "rlog_c": noothout2020.Measured(("a", "b"), errors, "mm"),
        "r": noothout2020.Measured(("a", "b"), errors + 1, "mm"),
        "c": noothout2020.Measured(("a", "b"), errors + rng.normal(0, 1e-3, errors.shape), "mm"),
    }
    assert noothout2020._marked(rows, "r", None).endswith("‡")
    assert noothout2020._marked(rows, "rlog_c", None) == noothout2020._median(errors)
    assert noothout2020._marked(rows, "c", 0)[-1] == ")"


def test_published_numbers_are_complete():
    assert all(len(row.cells.split("; ")) == 9 for row in TABLE1.values())
    assert [len(column) for column in TABLE2] == [20, 20]


def test_data_are_named_by_experiment(tmp_path):
    with pytest.raises(UsageError, match="which experiment"):
        noothout2020.reproduce(tmp_path / "a", data=tmp_path)
    with pytest.raises(UsageError, match="no experiment head; it is ccta"):
        noothout2020.reproduce(tmp_path / "b", data={"head": tmp_path})

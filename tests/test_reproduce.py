"""The table of a paper: every row trained and tested on the same cases; a stopped run goes on."""

from __future__ import annotations

import json
import shutil

import pytest

from anatomark import reproduce
from anatomark.cli.app import main
from anatomark.datasets.phantoms.cohorts import write_phantoms
from anatomark.errors import UsageError
from anatomark.methods import METHODS


@pytest.fixture
def tiny(monkeypatch):
    """Ten cases, one epoch, small networks: what is tested is the way, not the result."""
    plain = reproduce.recipe_of

    def smaller(*words):
        record = plain(*words).complete()
        record["training"] |= {"epochs": 1, "validate_every": 1}
        record["grid"]["size"] = [16, 16, 16]
        if "network" in record["settings"]:
            record["settings"]["network"] |= {"encoder": [4], "decoder": [4], "final": [4]}
        return reproduce.parse_recipe(record)

    monkeypatch.setattr(reproduce, "recipe_of", smaller)
    monkeypatch.setattr(reproduce, "SMALL_CASES", 10)
    monkeypatch.setattr(reproduce, "SMALL_SHAPE", (8, 16, 16))


def test_the_whole_table(tiny, tmp_path, capsys):
    out = tmp_path / "fang"
    assert main(["reproduce", "fang2023", "--out", str(out), "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    assert "phantoms, not patients" in said
    found = json.loads((out / "table1.json").read_text())
    assert set(found["rows"]) == set(reproduce.TABLE1)
    counts = {d: {r[d]["count"] for r in found["rows"].values()} for d in ("us", "mr")}
    assert all(len(c) == 1 and c.pop() == 9 for c in counts.values())  # 3 cases × 3 landmarks
    table = (out / "table1.md").read_text()
    assert "5.77 ± 2.67 *†" in table
    assert "phantoms, not patients" in table
    us = json.loads((out / "us" / "baseline" / "evaluation" / "metrics.json").read_text())
    assert us["missing_cases"] == []  # those of the other modality were never asked for
    # What is there is not done again, and never shown as the table of other settings.
    with pytest.raises(UsageError, match="was begun with seed 0"):
        reproduce.reproduce_fang2023(out, seed=1)
    before = {p: p.stat().st_mtime_ns for p in out.rglob("model.safetensors")}
    assert len(before) == 10
    assert main(["reproduce", "fang2023", "--out", str(out), "--device", "cpu", "--json"]) == 0
    assert {p: p.stat().st_mtime_ns for p in out.rglob("model.safetensors")} == before


@pytest.mark.parametrize("key", reproduce.TABLE1)
@pytest.mark.parametrize("domain", reproduce.DOMAINS)
def test_the_published_settings(key, domain):
    recipe = reproduce.recipe_of(key, domain, "paper", 0)
    row = reproduce.TABLE1[key]
    assert recipe.method == row.method
    assert recipe.method in METHODS
    assert recipe.training.batch == 4
    assert recipe.training.learning_rate == 1e-4
    assert recipe.grid.size == ((256, 256, 256) if domain == "us" else (256, 256, 128))
    if key in {"variance", "distance"}:
        published = {
            ("variance", "mr"): 5e-4, ("variance", "us"): 2e-3,
            ("distance", "mr"): 5e-3, ("distance", "us"): 1e-2,
        }  # fmt: skip
        assert recipe.config().lambda2 == published[key, domain]


def test_a_cohort_must_have_both_modalities(tmp_path, monkeypatch):
    from anatomark.datasets.phantoms.cohorts import write_phantoms

    write_phantoms("chest", tmp_path / "chest", cases=2, shape=(64, 64))
    with pytest.raises(UsageError, match="needs the domains us and mr"):
        reproduce.reproduce_fang2023(tmp_path / "out", data=tmp_path / "chest")


def test_a_cohort_of_one_s_own_is_not_called_phantoms(tiny, tmp_path):
    own = write_phantoms(
        "prostate", tmp_path / "own", cases=5, shape=(8, 16, 16), split="0.6,0.2,0.2"
    )
    listed = (own.root / "cohort.toml").read_text()
    (own.root / "cohort.toml").write_text(listed.replace("anatomark phantom", "our hospital"))
    found = reproduce.reproduce_fang2023(tmp_path / "out", data=own.root)
    assert found.about == f"The data are those of {own.root}, not the ones of the paper."
    for name in ("table1.md", "table1.json"):
        text = (tmp_path / "out" / name).read_text()
        assert "phantom" not in text.replace(str(own.root), "")


def test_a_run_stopped_before_its_recipe_was_written_begins_again(tiny, tmp_path):
    out = tmp_path / "fang"
    reproduce.reproduce_fang2023(out)
    shutil.rmtree(out / "mr" / "direct")
    (out / "mr" / "direct" / "run" / "state").mkdir(parents=True)
    reproduce.reproduce_fang2023(out)
    assert (out / "mr" / "direct" / "run" / "model.safetensors").is_file()

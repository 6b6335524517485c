"""The table of a paper: every row trained and tested on the same cases; a stopped run goes on."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from anatomark import load_sample, read_cohort
from anatomark.cli.app import main
from anatomark.datasets.phantoms.cohorts import write_phantoms
from anatomark.errors import UsageError
from anatomark.inference import Detector
from anatomark.methods import METHODS
from anatomark.models.recipe import parse_recipe
from anatomark.reproduce import fang2023 as reproduce
from anatomark.reproduce import fang2023_registration, zhu2021


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
    coarse = {"mr_shape": (16, 32, 32), "us_shape": (32, 32, 32)}
    for name, value in (
        ("FINE", coarse),
        ("CAPTURE_PAIRS", 1),
        ("CAPTURE_MM", (2, 6)),
        ("DRAWS", 1),
    ):
        monkeypatch.setattr(fang2023_registration, name, value)


def test_the_whole_table(tiny, tmp_path, capsys):
    out = tmp_path / "fang"
    assert main(["reproduce", "fang2023", "--out", str(out), "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    assert "phantoms, not patients" in said
    found = json.loads((out / "tables.json").read_text())
    assert set(found["rows"]) == set(reproduce.TABLE1)
    registered = found["registration"]
    assert len(registered["attempts"]) == 2
    assert "SRE of automatic landmarks is" in said
    assert (out / "registration" / "capture.png").stat().st_size > 10_000
    assert [row["case"] for row in registered["pairs"]] == ["prostate_5003_us", "prostate_5005_us",
                                                           "prostate_5008_us"]  # fmt: skip
    counts = {d: {r[d]["count"] for r in found["rows"].values()} for d in ("us", "mr")}
    assert all(len(c) == 1 and c.pop() == 9 for c in counts.values())  # 3 cases × 3 landmarks
    table = (out / "tables.md").read_text()
    for published in ("5.77 ± 2.67 *†", "6.62 ± 3.97", "0.82 ± 0.06", "137 (52 %)", "112 (43 %)"):
        assert published in table
    assert "phantoms, not patients" in table
    us = json.loads((out / "us" / "baseline" / "evaluation" / "metrics.json").read_text())
    assert us["missing_cases"] == []  # those of the other modality were never asked for
    # What is there is not done again, and never shown as the table of other settings.
    with pytest.raises(UsageError, match="was begun with seed 0"):
        reproduce.reproduce(out, seed=1)
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
        reproduce.reproduce(tmp_path / "out", data=tmp_path / "chest")


def test_a_cohort_of_one_s_own_is_not_called_phantoms(tiny, tmp_path):
    own = write_phantoms(
        "prostate", tmp_path / "own", cases=5, shape=(8, 16, 16), split="0.6,0.2,0.2"
    )
    listed = (own.root / "cohort.toml").read_text()
    (own.root / "cohort.toml").write_text(listed.replace("anatomark phantom", "our hospital"))
    found = reproduce.reproduce(tmp_path / "out", data=own.root)
    assert found.about == f"The data are those of {own.root}, not the ones of the paper."
    for name in ("tables.md", "tables.json"):
        text = (tmp_path / "out" / name).read_text()
        assert "phantom" not in text.replace(str(own.root), "")


def test_a_run_stopped_before_its_recipe_was_written_begins_again(tiny, tmp_path):
    out = tmp_path / "fang"
    reproduce.reproduce(out)
    shutil.rmtree(out / "mr" / "direct")
    (out / "mr" / "direct" / "run" / "state").mkdir(parents=True)
    reproduce.reproduce(out)
    assert (out / "mr" / "direct" / "run" / "model.safetensors").is_file()


# -- Zhu 2021 --------------------------------------------------------------------------------------


@pytest.fixture
def small_xrays(monkeypatch):
    """Ten images a domain, one epoch, small networks."""
    plain = zhu2021.recipe_of

    def smaller(*words):
        record = plain(*words).complete()
        record["training"] |= {"epochs": 1, "validate_every": 1}
        record["settings"] |= {"widths": [4, 6], "global_width": 4}
        for own in record["domains"].values():
            own["grid"]["size"] = [32, 32]
        return parse_recipe(record)

    monkeypatch.setattr(zhu2021, "recipe_of", smaller)
    monkeypatch.setattr(zhu2021, "SMALL_CASES", 10)


def test_tables_1_and_2_of_zhu(small_xrays, tmp_path, capsys):
    heads = tmp_path / "heads"
    write_phantoms("head", heads, cases=6, shape=(80, 64), split="0.5,0,0.5")
    listed = (heads / "cohort.toml").read_text()
    (heads / "cohort.toml").write_text(listed.replace("anatomark phantom", "our clinic"))
    out = tmp_path / "zhu"
    words = ["reproduce", "zhu2021", "--data", f"head={heads}", "--out", str(out)]
    assert main([*words, "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    assert f"head: {heads}, not the ones of the paper. hand, chest: phantoms" in " ".join(
        said.split()
    )
    found = json.loads((out / "tables.json").read_text())
    counts = {key: {d: m["count"] for d, m in own.items()} for key, own in found["models"].items()}
    assert set(counts) == set(zhu2021.TABLE2)
    assert all(c == {"head": 57, "hand": 74, "chest": 12} for c in counts.values())
    tables = (out / "tables.md").read_text()
    assert "| U-Net | head |" in tables
    assert "1.14 ± 3.94" in tables
    assert "Truth: head: " in tables
    # The errors are those of the points that were found, in mm of the original image.
    run = out / "gu2net" / "run" / "head"
    cohort = read_cohort(heads)
    errors = []
    for case in cohort.select(split="test").cases:
        sample = load_sample(cohort, case, grey=True)
        points = Detector(str(run), device="cpu").detect(sample.image).landmarks.points_mm
        errors += np.hypot(*(points - sample.landmarks.points_mm).T).tolist()
    assert found["models"]["gu2net"]["head"]["mre"] == pytest.approx(np.mean(errors))
    before = {p: p.stat().st_mtime_ns for p in out.rglob("model.safetensors")}
    assert len(before) == 5
    assert main([*words, "--device", "cpu", "--json"]) == 0
    assert {p: p.stat().st_mtime_ns for p in out.rglob("model.safetensors")} == before


@pytest.mark.parametrize("key", zhu2021.TABLE2)
def test_the_published_settings_of_zhu(key):
    recipe = zhu2021.recipe_of(key, "paper", 0)
    sizes = {domain: view.grid.size for domain, view in recipe.views().items()}
    assert sizes == {"head": (416, 512), "hand": (368, 512), "chest": (512, 512)}
    t = recipe.training
    assert (t.epochs, t.batch, t.optimiser, t.schedule) == (100, 4, "adam", "cyclic")
    assert (t.learning_rate, t.lowest_rate) == (1e-2, 1e-4)
    config = recipe.config()
    assert (config.loss, config.sigma, config.shrink) == ("binary", 3.0, 1)
    assert config.widths == (64, 128, 256, 512, 512)


def test_what_zhu_cannot_be_given(tmp_path):
    write_phantoms("head", tmp_path / "heads", cases=2, shape=(80, 64))
    for data, message in (
        (tmp_path / "heads", "which domain are the data"),
        ({"foot": tmp_path / "heads"}, "there is no domain foot; it is head, hand, chest"),
        ({"head": tmp_path / "heads"}, "has no split that begins with test"),
    ):
        with pytest.raises(UsageError, match=message):
            zhu2021.reproduce(tmp_path / f"out-{len(message)}", data=data)

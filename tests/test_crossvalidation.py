"""Every case is measured by a model that has not seen its patient; a stopped one goes on."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from anatomark.cli.app import main
from anatomark.crossvalidation import crossvalidate, divide
from anatomark.datasets.phantoms.cohorts import write_phantoms
from anatomark.errors import UsageError
from anatomark.io.cohorts.files import read_cohort
from anatomark.models.recipe import format_recipe, parse_recipe
from anatomark.training.study import begin_study


@pytest.fixture(scope="module")
def prostates(tmp_path_factory):
    """Ten MR prostates of 8×16×16 voxels, two of them a test part."""
    folder = tmp_path_factory.mktemp("cv") / "prostates"
    write_phantoms("prostate", folder, cases=10, shape=(8, 16, 16), split="0.8,0,0.2")
    return folder


@pytest.fixture
def recipe():
    return parse_recipe({
        "name": "small", "method": "fang2023", "grid": {"size": [16, 16, 16]},
        "data": {"domain": "mr"},
        "settings": {"network": {"kind": "voxelmorph", "encoder": [4], "decoder": [4],
                                 "final": [4]}},
        "training": {"epochs": 1, "batch": 2},
    })  # fmt: skip


def test_patients_are_dealt_out_whole(prostates):
    cases = read_cohort(prostates).select(domain="mr").cases
    pairs = tuple(replace(case, patient=f"p{k // 2}") for k, case in enumerate(cases))
    folds = divide(pairs, 3, seed=4)
    patient = {case.case: case.patient for case in pairs}
    assert sorted(c for fold in folds for c in fold) == sorted(patient)
    seen = [{patient[c] for c in fold} for fold in folds]
    assert sum(map(len, seen)) == 5  # no patient in two folds
    assert {len(s) for s in seen} == {1, 2}
    assert divide(pairs, 3, seed=4) == folds != divide(pairs, 3, seed=5)
    for folds in (1, 6):
        with pytest.raises(UsageError, match=f"5 patients cannot be divided into {folds} folds"):
            divide(pairs, folds, seed=0)


def test_each_case_is_found_by_a_model_that_has_not_seen_it(prostates, recipe, tmp_path):
    out = tmp_path / "cv"
    done = crossvalidate(recipe, prostates, out, folds=2)
    cohort = read_cohort(prostates).select(domain="mr")
    expected = {c.case for c in cohort.cases if c.split == "train"}
    assert {c for fold in done.folds for c in fold} == expected  # the test part stays untouched
    assert set(done.evaluation.table.cases) == expected
    for number, fold in enumerate(done.folds, 1):
        used = json.loads((out / f"fold-{number}" / "cases.json").read_text())
        assert not {*used["train"], *used["validation"]} & set(fold)
        assert {*used["train"], *used["validation"], *fold} == expected
    assert {p.name.split(".")[0] for p in (out / "found").iterdir()} == expected
    assert done.report.is_file()

    # What is there is not done again; what was stopped is.
    kept = out / "fold-1" / "model.safetensors"
    before = kept.stat().st_mtime_ns
    (out / "fold-2" / "model.safetensors").unlink()
    again = crossvalidate(recipe, prostates, out, folds=2)
    assert kept.stat().st_mtime_ns == before
    assert again.evaluation.pooled.summary.mean == done.evaluation.pooled.summary.mean
    other = parse_recipe(recipe.complete() | {"seed": 1})
    with pytest.raises(UsageError, match="was begun with other recipe and other folds"):
        crossvalidate(other, prostates, out, folds=2)


def test_on_the_command_line(prostates, recipe, tmp_path, capsys):
    (tmp_path / "r.toml").write_text(format_recipe(recipe))
    words = ["crossvalidate", str(tmp_path / "r.toml"), "--data", str(prostates), "--folds", "2"]
    words += ["--out", str(tmp_path / "cv"), "--device", "cpu"]
    assert main([*words, "--picture"]) == 0
    assert "apex" in capsys.readouterr().out
    assert "data:image/png" in (tmp_path / "cv" / "evaluation" / "report.html").read_text()
    assert main([*words, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["pooled"]["count"] == 8 * 3
    assert len(said["folds"]) == 2


def test_a_cohort_without_a_training_part(prostates, recipe, tmp_path):
    strange = parse_recipe(recipe.complete() | {"data": {"domain": "mr", "train": "learn"}})
    with pytest.raises(UsageError, match="no cases of the parts learn and val"):
        crossvalidate(strange, prostates, tmp_path / "cv")


def test_a_study_begun_before_a_setting_existed_goes_on(tmp_path):
    recipe = parse_recipe(
        {"name": "r", "method": "fang2023", "grid": {"size": (16, 16)}}
    ).complete()
    older = {key: value for key, value in recipe.items() if key != "domains"}
    begin_study(tmp_path / "cv", "folds.json", {"recipe": older})
    begin_study(tmp_path / "cv", "folds.json", {"recipe": recipe})
    with pytest.raises(UsageError, match="was begun with other recipe"):
        begin_study(tmp_path / "cv", "folds.json", {"recipe": {**recipe, "seed": 5}})

"""Comparison of runs: only what is common counts, and only one truth."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from anatomark.errors import LandmarkError, UsageError
from anatomark.metrics.comparison import compare, comparison_rows, write_comparison
from anatomark.metrics.records import Run


def run(evaluation, name, cases=None):
    table = evaluation.table if cases is None else evaluation.table.select(cases)
    return Run(name, table, evaluation.thresholds, "the truth", Path(name) / "metrics.json")


def test_against_scipy_on_the_means_of_the_cases(make_evaluation):
    one, two = make_evaluation(20, seed=1), make_evaluation(20, sd=1.6, seed=2)
    compared = compare([run(one, "a"), run(two, "b")])
    means = [e.table.errors.mean(axis=1) for e in (one, two)]
    [test] = compared.tests
    assert test.p == pytest.approx(stats.wilcoxon(*means).pvalue)
    assert test.p_holm == test.p
    assert test.difference == pytest.approx(float(np.median(means[1] - means[0])))
    assert [g.summary.mean for g in compared.groups] == pytest.approx([m.mean() for m in means])
    points = compare([run(one, "a"), run(two, "b")], by="point").tests[0]
    errors = [e.table.errors.ravel() for e in (one, two)]
    assert points.p == pytest.approx(stats.wilcoxon(*errors, method="asymptotic").pvalue)


def test_only_common_cases_and_points(make_evaluation):
    one, two = make_evaluation(8, seed=1), make_evaluation(8, seed=2)
    offsets, found = one.table.offsets.copy(), one.table.found.copy()
    offsets[3, 1], found[3, 1] = np.nan, False
    one = replace(one, table=replace(one.table, offsets=offsets, found=found))
    compared = compare([run(one, "a", [3, 1, 0, 2]), run(two, "b", [0, 1, 3, 5])])
    assert compared.tables[0].cases == ("case_3", "case_1", "case_0")
    assert compared.cases_left_out == ("case_2", "case_5")
    assert compared.points_left_out == 1
    assert [g.summary.count for g in compared.groups] == [11, 11]
    assert [g.presence.missed for g in compared.groups] == [1, 0]
    kept = two.table.errors[[3, 1, 0]].ravel()
    assert compared.groups[1].summary.mean == pytest.approx(np.delete(kept, 1).mean())


def test_a_run_against_itself(make_evaluation, tmp_path):
    one = make_evaluation(6)
    compared = compare([run(one, "a"), run(one, "a")])
    assert compared.names == ("1. " + "/".join(Path("a").resolve().parts[-2:]),
                              "2. " + "/".join(Path("a").resolve().parts[-2:]))  # fmt: skip
    assert compared.tests[0].p == 1.0


def test_files_and_marks(make_evaluation, tmp_path):
    runs = [run(make_evaluation(40, sd=s, seed=k), n)
            for k, (n, s) in enumerate([("base_1", 3), ("var", 1.5), ("dist", 0.5)])]  # fmt: skip
    compared = compare(runs)
    assert [row[1] for row in comparison_rows(compared)[1]] == ["–", "*", "*†"]
    write_comparison(compared, tmp_path)
    record = json.loads((tmp_path / "compare.json").read_text())
    assert [r["marks"] for r in record["runs"]] == ["", "*", "*†"]
    assert len(record["tests"]) == 3
    assert r"base\_1 & " in (tmp_path / "table.tex").read_text()
    assert r"$^{*\dagger}$" in (tmp_path / "table.tex").read_text()
    html = (tmp_path / "report.html").read_text()
    assert "Holm" in html
    assert "http" not in html
    assert (tmp_path / "plots" / "cumulative.png").exists()


def test_runs_that_do_not_fit(make_evaluation):
    one = run(make_evaluation(4), "a")
    with pytest.raises(UsageError, match="nothing to compare"):
        compare([one])
    with pytest.raises(LandmarkError, match="in px, those of .* in mm"):
        compare([one, replace(one, table=replace(one.table, unit="px"))])
    with pytest.raises(LandmarkError, match="other true points"):
        compare([one, replace(one, table=replace(one.table, digests=("x",) * 4))])
    with pytest.raises(UsageError, match="no case in common"):
        compare([one, replace(one, table=replace(one.table, cases=tuple("wxyz")))])
    with pytest.raises(UsageError, match="no landmark in common"):
        compare([one, replace(one, table=replace(one.table, names=tuple("wxyz")))])
    with pytest.raises(UsageError, match="no point has an error in every run"):
        compare([one, replace(one, table=replace(one.table, offsets=one.table.offsets * np.nan))])


@pytest.mark.parametrize(
    ("p", "text"), [(1e-9, "< 0.001"), (0.001, "0.001"), (0.0421, "0.042"), (1.0, "1.000")]
)
def test_small_p_values_are_not_written_out(p, text):
    from anatomark.metrics.comparison import p_text

    assert p_text(p) == text

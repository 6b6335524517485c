"""Runs of measurements: what is compared, timed, weighed and reported."""

from __future__ import annotations

import json
import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.bench import tasks as made
from tests.bench.tasks import task

from anatomark.bench import fits, plain, reading
from anatomark.bench.measure import BenchError, Setting, compared
from anatomark.bench.processes import in_a_process
from anatomark.bench.report import (
    duration,
    from_record,
    heading,
    read_report,
    save,
    table,
    to_record,
)
from anatomark.bench.runs import GROUPS, check_groups, measure_all, tasks_of
from anatomark.bench.textbook import textbook
from anatomark.errors import UsageError

EVERY = [(group, one) for group, some in tasks_of(GROUPS).items() for one in some]


@pytest.fixture(scope="module")
def report():
    """Two that work and four that do not, of which one lacks a package."""
    some = [
        task(made.sleeping, repeats=3), task(made.different), task(made.broken), task(made.ended),
        task(made.sleeping, needs="no_such_package"), task(made.large),
    ]  # fmt: skip
    return measure_all({"own": some}, device="cpu")


@pytest.mark.parametrize(("group", "one"), EVERY, ids=[f"{g}-{t.name[:30]}" for g, t in EVERY])
def test_both_ways_give_the_same(group, one, tmp_path):
    """What is compared in the benchmark is the same thing, on the small size."""
    if one.missing:
        pytest.skip(f"{one.needs} is not installed")
    work = one.make(Setting(one.quick, "cpu", tmp_path))
    assert 0 <= compared(one, work) <= work.tolerance
    assert one.said.format(*one.size) != one.said


@pytest.mark.parametrize(("group", "one"), EVERY, ids=[f"{g}-{t.name[:30]}" for g, t in EVERY])
def test_what_is_measured_can_be_sent_to_a_process(group, one):
    assert pickle.loads(pickle.dumps(one)).name == one.name


def test_times_are_those_of_the_ways(report):
    row = report.rows[0]
    assert row.state == "measured"
    assert row.ours_s == pytest.approx(made.FAST_S, rel=0.7)
    assert row.reference_s > made.SLOW_S
    assert row.ratio == pytest.approx(row.reference_s / row.ours_s)
    assert row.ratio > 1  # the reference is the slower one


def test_memory_is_that_of_the_ways(report):
    row = report.rows[-1]
    if row.ours_mib is None:
        pytest.skip("this system does not say how much memory a process holds")
    assert row.ours_mib == pytest.approx(made.MIB, rel=0.2)
    assert row.reference_mib == pytest.approx(2 * made.MIB, rel=0.2)


def test_what_fails_is_a_row_with_its_reason_and_the_others_are_done(report):
    states = [row.state for row in report.rows]
    assert states == ["measured", "failed", "failed", "failed", "not installed", "measured"]
    assert report.failed == 3
    reasons = [row.reason for row in report.rows]
    assert reasons[1].startswith("the results differ (0.5 apart, at most 0.1 allowed)")
    assert reasons[2] == "ValueError: no such thing"
    assert reasons[3] == "its process ended with code 3"
    assert reasons[4] == "no_such_package is not installed"


def test_no_number_is_not_an_agreement(tmp_path):
    one = task(made.nothing)
    with pytest.raises(BenchError, match="no number apart"):
        compared(one, one.make(Setting((1,), "cpu", tmp_path)))


def test_a_process_of_its_own():
    import os

    assert in_a_process(os.getpid) != os.getpid()


@pytest.mark.parametrize("one", [fits.TASKS[0], reading.TASKS[0]], ids=lambda t: t.name)
def test_rows_of_the_product(one):
    (row,) = measure_all({"some": [one]}, device="cpu", quick=True).rows
    assert row.state == "measured"
    assert row.ours_s > 0
    assert row.reference_s > 0
    assert math.isfinite(row.ratio)
    assert row.apart <= row.tolerance


def test_json_and_back(report, tmp_path):
    assert from_record(json.loads(json.dumps(to_record(report)))) == report
    files = save(report, tmp_path, "a table\n")
    assert read_report(files[0]) == report
    assert files[1].read_text() == "a table\n"
    record = json.loads(files[0].read_text())
    assert record["machine"]["torch"].startswith("2.")
    assert record["rows"][0]["size"] == f"{made.MIB} things"
    (tmp_path / "other.json").write_text("[1]")
    with pytest.raises(UsageError, match="no run of anatomark bench"):
        read_report(tmp_path / "other.json")


def test_a_run_of_the_same_day_overwrites_nothing(report, tmp_path):
    first, second, third = (save(report, tmp_path, str(n)) for n in range(3))
    assert [f.name for f in first] == [f"{report.date}-bench.json", f"{report.date}-bench.txt"]
    assert [f[0].name for f in (second, third)] == [f"{report.date}-bench-{n}.json" for n in (2, 3)]
    assert [f[1].read_text() for f in (first, second, third)] == ["0", "1", "2"]
    first[0].unlink()  # its table is still there
    assert save(report, tmp_path, "new")[1].name == f"{report.date}-bench-4.txt"


def test_cells_of_the_table(report):
    rate = replace(report.rows[0], ours_s=0.25, reference_s=0.5, ratio=2.0, rate="steps")
    cells = table([rate, *report.rows[1:]])
    assert cells[0][3:7] == ("250 ms (4.00 steps/s)", "a nap", "500 ms", "2.00")
    assert cells[1][3:5] == ("failed", report.rows[1].reason)
    assert {len(row) for row in cells} == {9}
    assert "time of the reference / time of anatomark" in heading(report)
    assert " 1 thread of torch" in heading(report._replace(threads=1))
    assert " 2 threads of torch" in heading(report._replace(threads=2))


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(2.5, "2.50 s"), (0.9999, "1.00 s"), (0.0123, "12.3 ms"), (4e-6, "4.00 µs"), (120, "120 s")],
)
def test_durations(seconds, said):
    assert duration(seconds) == said


def test_groups_are_checked_and_in_order():
    assert check_groups([]) == GROUPS
    assert check_groups(["fits", "decode", "fits"]) == ("decode", "fits")
    with pytest.raises(UsageError, match=r"no group 'fit'.*there is decode, methods"):
        check_groups(["fit"])


def test_every_method_is_measured():
    from anatomark.methods import MATCHERS

    for group in ("methods", "training"):
        names = {one.name.split(":")[0] for one in tasks_of([group])[group]}
        assert {"fang2023", "zhu2021", "noothout2020", "grewal2020"} <= names
        assert set(MATCHERS) <= names


def test_the_textbook_by_hand():
    """A map with two voxels: 3/4 of the probability at x = -2, 1/4 at x = 2."""
    maps = torch.tensor([[[[0.0, math.log(1 / 3)]]]])
    found = textbook(maps, torch.tensor([[8.0, 1.0]]), torch.tensor([[[-0.5, 0.0]]]))
    np.testing.assert_allclose(found.points_mm[0, 0], [-1, 0], atol=1e-6)
    assert float(found.variance_mm2) == pytest.approx(0.75 * 1 + 0.25 * 9)
    assert float(found.distance_mm) == pytest.approx(0.25 * 4)


def test_local_networks_apart_are_those_together():
    from anatomark.networks.fcnn import LocalNets

    torch.manual_seed(0)
    config = plain.Noothout2020Config(local_widths=(4, 6), local_head=5)
    together = LocalNets(2, 1, 3, widths=(4, 6), head=5).eval()
    images = torch.randn(2, 3, 1, 8, 8)
    with torch.no_grad():
        ours, other = together(images), plain.OneByOne(together, config).eval()(images)
    torch.testing.assert_close(other.displacement, ours.displacement)
    torch.testing.assert_close(other.logits, ours.logits)

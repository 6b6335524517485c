"""All papers: one page with every table, and a paper that fails does not stop the others."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pytest
import torch

from anatomark import reproduce as package
from anatomark.cli.app import main
from anatomark.errors import TrainingError, UsageError
from anatomark.reproduce import PAPERS
from anatomark.reproduce import every as module
from anatomark.reproduce.common import Plot, Reproduced, Table
from anatomark.reproduce.every import reproduce_every, shown

ONE_PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b55"
    "0000000a49444154789c63f80f00010101001bb6ee560000000049454e44ae426082"
)


def paper(out, *, name="first", value=1.25, budget, seed, machine, progress):
    """What a paper's module gives, without any training; importable by a fresh process."""
    progress(0, 2)
    folder = Path(out)
    folder.mkdir(parents=True)
    (folder / "plot.png").write_bytes(ONE_PIXEL)
    sys.stderr.write(f"training of {name}\n")
    progress(2, 2)
    done = Reproduced(
        name, [Table("Table 1", ["", "here", "published"], [["error", f"{value}", "5.77"]])],
        [f"{name}: the order holds"], "phantoms, not patients", {"value": value, "seed": seed},
        f"budget {budget}", [Plot(folder / "plot.png", "a curve")],
    )  # fmt: skip
    done.write(folder)
    return done


def second(out, **settings):
    return paper(out, name="second <&>", value=2.5, **settings)


def broken(out, **_):
    raise TrainingError("the loss is not a number", path=out)


def faulty(out, **_):
    raise RuntimeError("no such\nlayer")


def killed(out, **_):
    sys.stderr.write("so far\n")
    os._exit(1)


def talkative(out, *, progress, **settings):
    for done in range(300):
        progress(done, 300)
    return paper(out, progress=lambda *_: None, **settings)


def crowded(out, **settings):
    """How many papers were computed while this one was, and on how many threads."""
    here = Path(out).parent / f"{Path(out).name}.here"
    here.touch()
    time.sleep(0.5)
    count = len(list(here.parent.glob("*.here")))
    here.unlink()
    return paper(out, value=f"{count}, {torch.get_num_threads()}", **settings)


def endless(out, *, progress, **_):
    Path(f"{out}.pid").write_text(str(os.getpid()))
    progress(1, 2)
    time.sleep(60)


@pytest.mark.parametrize("jobs", [1, 2])
def test_one_page_has_every_table(tmp_path, jobs):
    steps = []
    found = reproduce_every(
        {"a": paper, "b": broken, "c": second}, tmp_path / "all", seed=3, jobs=jobs,
        progress=lambda *said: steps.append(said),
    )  # fmt: skip
    assert list(found.found) == ["a", "c"]
    assert found.found["c"].record == {"value": 2.5, "seed": 3}
    page = found.page.read_text()
    for said in ("1.25", "2.5", "5.77", "first: the order holds", "second &lt;&amp;&gt;",
                 "phantoms, not patients", "budget small", "data:image/png;base64,",
                 "Not reproduced", "the loss is not a number"):  # fmt: skip
        assert said in page
    assert ("a", 0, 2) in steps
    assert "the loss is not a number" in found.failed["b"]
    if jobs > 1:  # the terminal is for the bar
        assert "training of first" in (tmp_path / "all" / "a.log").read_text()


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_fault_does_not_stop_the_others(tmp_path, jobs):
    papers = {"a": faulty, "c": second}
    if jobs > 1:
        # Python cannot send a function without a name to another process.
        papers = {"b": killed, "l": lambda *_, **__: None, **papers}
    found = reproduce_every(papers, tmp_path, jobs=jobs)
    assert list(found.found) == ["c"]
    assert found.failed["a"] == "RuntimeError: no such layer"
    assert "in faulty" in (tmp_path / "a.log").read_text()
    page = (tmp_path / "index.html").read_text()
    assert "RuntimeError: no such layer" in page
    assert "second &lt;&amp;&gt;" in page
    if jobs > 1:
        assert found.failed["b"] == "its process ended with code 1"
        assert "so far" in (tmp_path / "b.log").read_text()
        assert "pickle" in found.failed["l"]


def test_every_step_arrives(tmp_path):
    steps = []
    reproduce_every(
        {"a": talkative, "b": talkative}, tmp_path, jobs=2,
        progress=lambda *said: steps.append(said),
    )  # fmt: skip
    for name in "ab":
        assert [s for s in steps if s[0] == name] == [(name, done, 300) for done in range(300)]


def test_papers_share_the_machine(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "cores", lambda: 6)
    found = reproduce_every(dict.fromkeys("abc", crowded), tmp_path / "three", jobs=2)
    said = [one.record["value"] for one in found.found.values()]
    assert {one.split(", ")[1] for one in said} == {"3"}
    assert max(one.split(", ")[0] for one in said) <= "2"
    alone = reproduce_every({"a": crowded}, tmp_path / "one", jobs=2).found["a"]
    assert alone.record["value"] == "1, 6"


def test_an_interruption_ends_the_processes_at_once(tmp_path):
    begun = time.monotonic()

    def interrupt(name, done, total):
        nonlocal begun
        begun = time.monotonic()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reproduce_every(dict.fromkeys("abc", endless), tmp_path, jobs=2, progress=interrupt)
    assert time.monotonic() - begun < 20
    pids = [int(file.read_text()) for file in tmp_path.glob("*.pid")]
    assert pids
    assert not (tmp_path / "c.pid").exists()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_paper_has_a_page_of_its_own(tmp_path):
    paper(tmp_path / "x", budget="small", seed=0, machine=None, progress=lambda *_: None)
    page = (tmp_path / "x" / "report.html").read_text()
    assert "5.77" in page
    assert "a curve" in page
    assert "5.77" in (tmp_path / "x" / "tables.md").read_text()


def test_one_bar_for_all_of_them():
    seen = []
    note = shown(lambda *said: seen.append(said))
    note("a", 0, 4)
    note("b", 0, 6)
    note("a", 3, 4)
    assert seen == [(0, 4), (0, 10), (3, 10)]


def test_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(package, "PAPERS", {"one": paper, "two": broken})
    out = str(tmp_path / "all")
    assert main(["reproduce", "all", "--out", out, "--jobs", "1", "--device", "cpu"]) == 1
    said = capsys.readouterr()
    assert "5.77" in said.out
    assert "index.html" in said.out
    assert "two was not reproduced" in said.err
    again = str(tmp_path / "again")
    main(["reproduce", "all", "--out", again, "--jobs", "1", "--device", "cpu", "--json"])
    record = json.loads(capsys.readouterr().out)
    assert record["one"]["value"] == 1.25
    assert list(record["failed"]) == ["two"]
    assert "the loss is not a number" in record["failed"]["two"]
    monkeypatch.setattr(package, "PAPERS", {"one": paper, "two": faulty})
    again = str(tmp_path / "fault")
    assert main(["reproduce", "all", "--out", again, "--jobs", "1", "--device", "cpu"]) == 1
    assert "two was not reproduced: RuntimeError: no such layer" in capsys.readouterr().err


def test_what_is_refused(tmp_path, capsys):
    out = str(tmp_path / "all")
    assert main(["reproduce", "all", "--out", out, "--data", "here"]) == 2
    assert "name one paper with --data" in capsys.readouterr().err
    assert main(["reproduce", "zhu2021", "--out", out, "--jobs", "2"]) == 2
    with pytest.raises(UsageError, match="jobs is 1 or more"):
        reproduce_every({}, tmp_path, jobs=0)


def test_all_four_papers_are_there():
    assert set(PAPERS) == {"fang2023", "noothout2020", "grewal2020", "zhu2021"}

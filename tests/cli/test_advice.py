"""Advice is given in options of the command that was run."""

from __future__ import annotations

import pytest

from anatomark.cli.advice import in_options
from anatomark.cli.app import main

CONVERT = {"--unit", "--from-frame", "--frame", "--by", "--image"}


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("say unit=…", {"--unit"}, "say --unit …"),
        ("say frame='LPS'", {"--from-frame", "--frame"}, "say --from-frame 'LPS'"),
        ("say frame='LPS'", {"--frame"}, "say --frame 'LPS'"),
        ("say fixed_unit=…", {"--fixed-unit"}, "say --fixed-unit …"),
        ("give the image (grid=…)", {"--image"}, "give the image (--image …)"),
        # A command without the option: where else it is to be had.
        ("say unit=…", {"--out"}, "say --unit … of anatomark convert"),
        ("say nonfinite=…", {"--out"}, "say nonfinite=…"),
        ("another, or overwrite it", {"--overwrite"}, "another, or say --overwrite"),
        ("another, or overwrite it", {"--out"}, "another, or overwrite it"),
        ("x=5 is not y == z", {"--x", "--y"}, "x=5 is not y == z"),
    ],
)
def test_keywords_become_options_that_there_are(text, options, said):
    assert in_options(text, options, CONVERT) == said


def test_a_command_that_lacks_the_option_sends_to_the_one_that_has_it(tmp_path, capsys):
    table = tmp_path / "p.csv"
    table.write_text("case,landmark,x_mm,y_mm,z_mm\na,tip,3,4,5\n")
    words = ["--truth", str(table), "--prediction", str(table), "--out", str(tmp_path / "e")]
    assert main(["evaluate", *words]) == 2
    said = capsys.readouterr().err
    assert "or say --from-frame 'LPS' of anatomark convert or" in said
    assert "=…" not in said

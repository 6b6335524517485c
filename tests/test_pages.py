"""Reports in one file."""

from __future__ import annotations

import re

from anatomark.pages import Page


def test_numbers_stand_at_the_right_also_beside_a_dash(tmp_path):
    page = Page("a page")
    page.table(["name", "value", "none"], [["one", "1.5", "–"], ["two", "–", "–"]])
    page.write(tmp_path / "page.html")
    html = (tmp_path / "page.html").read_text()
    assert re.findall(r'<th(?: class="(number)")?>', html) == ["", "number", ""]

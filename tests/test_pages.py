"""Reports in one file."""

from __future__ import annotations

import re

import pytest

from anatomark.pages import Page


def test_numbers_stand_at_the_right_also_beside_a_dash(tmp_path):
    page = Page("a page")
    page.table(["name", "value", "none"], [["one", "1.5", "–"], ["two", "–", "–"]])
    page.write(tmp_path / "page.html")
    html = (tmp_path / "page.html").read_text()
    assert re.findall(r'<th(?: class="(number)")?>', html) == ["", "number", ""]


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("7.99 ± 26.14", True), ("0.00 (0.00–0.00)", True), ("22 (61 %)", True), ("1.50†", True),
        ("1.5 *‡", True), ("< 0.001", True), ("−0.25", True), ("1e-05", True), ("12.5 %", True),
        ("nan", True), ("5 of 7", False), ("a1", False), ("2 points", False), ("", False),
    ],
)  # fmt: skip
def test_what_is_a_number(cell, expected, tmp_path):
    page = Page("a page")
    page.table(["name", "value"], [["one", cell]])
    page.write(tmp_path / "page.html")
    assert (f'<td class="number">{cell}' in _html(tmp_path)) == expected, cell


def _html(folder) -> str:
    return (folder / "page.html").read_text().replace("&lt;", "<")


def test_words_may_break_numbers_may_not_and_paper_is_white(tmp_path):
    Page("a page").write(tmp_path / "page.html")
    style = _html(tmp_path)
    assert re.search(r"body {[^}]*overflow-wrap: anywhere", style)
    assert re.search(r"td.number {[^}]*white-space: nowrap", style)
    printed = style[style.index("@media print") :]
    assert "--paper: #fff" in printed
    assert re.search(r"figure[^}]*{ break-inside: avoid", printed)

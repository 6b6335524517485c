"""Starting is quick because heavy modules are imported where they are used.

What counts is which modules are loaded, not seconds: those depend on the machine.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"torch", "SimpleITK", "scipy", "matplotlib", "pydicom", "pydantic", "skimage", "lightning"}


def loaded_by(code: str) -> set[str]:
    end = "\nimport sys; print('LOADED', *{m.split('.')[0] for m in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", code + end], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split("LOADED")[1].split())


def test_import_loads_nothing_at_all():
    loaded = loaded_by("import anatomark")
    assert not loaded & (HEAVY | {"numpy", "rich", "typer"})


def test_help_loads_nothing_heavy():
    for words in (["--help"], ["show", "--help"], ["import", "--help"], ["phantom", "--help"]):
        loaded = loaded_by(f"from anatomark.cli import main; main({words})")
        # Typer itself loads pydantic for a command with choices.
        assert not loaded & ((HEAVY - {"pydantic"}) | {"numpy"}), words


def test_converting_points_needs_neither_torch_nor_simpleitk(tmp_path):
    source = tmp_path / "a.csv"
    source.write_text("name,x_mm,y_mm,z_mm,frame\ntip,1,2,3,LPS\n")
    words = ["convert", str(source), str(tmp_path / "a.fcsv")]
    loaded = loaded_by(f"from anatomark.cli import main; main({words})")
    assert not loaded & {"torch", "SimpleITK", "scipy", "matplotlib"}
    assert (tmp_path / "a.fcsv").exists()


def test_the_heavy_names_are_what_their_owners_load():
    """The list is not stale: using a thing does load its library."""
    pytest.importorskip("torch")
    assert "torch" in loaded_by(
        "import anatomark; anatomark.ThinPlate([[0,0],[1,0],[0,1]],[[0,0],[1,0],[0,1]])([[0.,0.]])"
    )


def test_public_names_are_there_and_no_others():
    import anatomark

    for name in anatomark.__all__:
        assert getattr(anatomark, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        anatomark.nothing  # noqa: B018
    assert "Grid" in dir(anatomark)

"""Shipped weights say in words where their data are from, and no path of a machine."""

from __future__ import annotations

import pytest
from tools.ship_weights import main, with_source

from anatomark.models.files import DomainInfo, ModelInfo, read_info, save_model

ONE, LONGER = "/c/head", "/c/head-2"


@pytest.fixture
def run(tmp_path):
    """A run of three domains: two of one cohort, and one whose path begins as theirs."""
    sources = {"skull": ONE, "jaw": ONE, "other": LONGER}
    domains = {d: DomainInfo(landmarks=("a",), trained={"source": s}) for d, s in sources.items()}
    folder = tmp_path / "run"
    folder.mkdir()
    info = ModelInfo(recipe={"name": "many"}, domains=domains)
    save_model(folder / "model.safetensors", info, {})
    cards = (f"# many/{d}\n\n| data | {s} |\n| cases | 3 |\n" for d, s in sources.items())
    (folder / "model-card.md").write_text("\n".join(cards))
    return folder


def test_every_domain_gets_its_own_words(run, tmp_path):
    words = {"skull": "skulls = heads of a", "jaw": "jaws of b", "other": "others of c"}
    given = [f"{domain}={said}" for domain, said in words.items()]
    file = main(run, given, "free", tmp_path)
    card = file.with_suffix(".md").read_text()
    assert "/c/" not in card
    for domain, said in words.items():
        assert f"# many/{domain}\n\n| data | {said} |\n| cases | 3 |\n" in card
    info = read_info(file)
    assert {d: own.trained["source"] for d, own in info.domains.items()} == words
    assert card.endswith("Terms: free\n")


def test_what_is_missing_or_not_known_is_named(run, tmp_path):
    with pytest.raises(SystemExit, match="missing for .'jaw', 'other'., not known: .''."):
        main(run, ["skull=a", "foot=b"], "free", tmp_path)
    with pytest.raises(SystemExit, match="names the data of jaw 0 times: /c/else"):
        with_source((run / "model-card.md").read_text(), "jaw", "/c/else", "jaws")


def test_a_sentence_of_the_only_domain_may_hold_an_equals_sign(tmp_path):
    save_model(
        tmp_path / "model.safetensors",
        ModelInfo(recipe={"name": "one"}, landmarks=("a",), trained={"source": ONE}), {},
    )  # fmt: skip
    (tmp_path / "model-card.md").write_text(f"# one\n\n| data | {ONE} |\n")
    file = main(tmp_path, ["made with n = 3"], "free", tmp_path)
    assert "| data | made with n = 3 |" in file.with_suffix(".md").read_text()

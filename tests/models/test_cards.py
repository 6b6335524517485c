"""What is read of a model card: that of one domain, and the terms of use in a few words."""

from __future__ import annotations

import pytest

from anatomark.models.cards import card_of, terms_of

WHOLE = """\
# many/head

Finds 19 landmarks.

## Errors

| # | mm |

# many/overhead

Finds 3 landmarks.

Terms: for teaching, not for sale.

# many/foot

Finds 5 landmarks.

Terms: research only; as the data say.
"""


@pytest.fixture
def model(tmp_path):
    (tmp_path / "many.md").write_text(WHOLE)
    return tmp_path / "many.safetensors"


def test_the_card_of_one_domain_has_the_terms_of_all(model):
    assert card_of(model, "head") == (
        "# many/head\n\nFinds 19 landmarks.\n\n## Errors\n\n| # | mm |\n\n"
        "Terms: for teaching, not for sale.\n\nTerms: research only; as the data say.\n"
    )
    assert card_of(model, "foot") == (
        "# many/foot\n\nFinds 5 landmarks.\n\nTerms: research only; as the data say.\n\n"
        "Terms: for teaching, not for sale.\n"
    )
    assert card_of(model) == card_of(model, "") == WHOLE
    assert card_of(model, "hand") == WHOLE  # rather too much than nothing


def test_a_model_without_a_card(tmp_path):
    assert card_of(tmp_path / "model.safetensors", "head") == ""
    assert terms_of("") == ""


def test_the_card_of_a_run_is_found_by_its_own_name(tmp_path):
    (tmp_path / "model-card.md").write_text("# small\n")
    assert card_of(tmp_path / "model.safetensors") == "# small\n"


def test_terms_are_the_first_words(model):
    assert terms_of("Terms: Apache-2.0, the licence of the package.") == "Apache-2.0"
    assert terms_of("x\nTerms: free\n") == "free"
    assert terms_of(card_of(model)) == "for teaching, research only"

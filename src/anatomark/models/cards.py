"""Model cards: what is read of them. They are written by training, and ended by a person."""

from __future__ import annotations

import re
from pathlib import Path

_TERMS = "Terms:"
_TITLE = re.compile(r"^(?=# )", re.MULTILINE)
_CLAUSE = re.compile(r"[,;.](?:\s|$)")


def card_of(file: Path, domain: str | None = None) -> str:
    """The model card beside a shipped model, or in a run folder; "" where there is none.

    Of a universal model that of one ``domain``, with the terms that hold for all of its weights.
    """
    cards = [file.with_suffix(".md"), file.with_name("model-card.md")]
    whole = next((card.read_text(encoding="utf-8") for card in cards if card.is_file()), "")
    if not domain:
        return whole
    own = [part for part in _TITLE.split(whole) if _title(part).endswith(f"/{domain}")]
    if not own:
        return whole
    card = own[-1].rstrip()
    terms = [line for line in _terms(whole) if line not in card]
    return "\n\n".join([card, *terms]) + "\n"


def terms_of(card: str) -> str:
    """In a few words what the weights may be used for, as the card says first; "" if unsaid."""
    said = [_CLAUSE.split(line.removeprefix(_TERMS).strip())[0] for line in _terms(card)]
    return ", ".join(dict.fromkeys(said))


def _title(part: str) -> str:
    return part.partition("\n")[0].rstrip()


def _terms(card: str) -> list[str]:
    return [line for line in card.splitlines() if line.startswith(_TERMS)]

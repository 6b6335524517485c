"""Put the model of a run among the weights that come with the package, as float16, with its card.

    python tools/ship_weights.py RUN --data "how they were made" --terms "terms of the data"

A universal model needs --data DOMAIN="…" for each domain. Paths of this machine are replaced by
these sentences; everything else is as the run left it.
"""

from __future__ import annotations

import argparse
from collections.abc import Collection
from pathlib import Path

from anatomark.models.files import WEIGHTS_FILE, read_weights, save_model

WEIGHTS = Path(__file__).parents[1] / "src" / "anatomark" / "weights"


def main(run: Path, given: list[str], terms: str, weights_folder: Path = WEIGHTS) -> Path:
    info, weights = read_weights(run / WEIGHTS_FILE)
    card = (run / "model-card.md").read_text(encoding="utf-8")
    parts = info.domains or {"": info}
    said = parse_said(given, info.domains)
    if said.keys() != parts.keys():
        missing, unknown = parts.keys() - said.keys(), said.keys() - parts.keys()
        raise SystemExit(f"--data is missing for {sorted(missing)}, not known: {sorted(unknown)}")
    named = {}
    for domain, part in parts.items():
        card = with_source(card, domain, str(part.trained["source"]), said[domain])
        trained = {**part.trained, "source": said[domain]}
        named[domain] = part.model_copy(update={"trained": trained})
    info = info.model_copy(update={"domains": named}) if info.domains else named[""]
    file = weights_folder / f"{info.recipe['name']}.safetensors"
    save_model(file, info, weights, half=True)
    file.with_suffix(".md").write_text(card + f"\nTerms: {terms}\n", encoding="utf-8")
    print(f"{file}: {file.stat().st_size / 1e6:.2f} MB")
    return file


def parse_said(given: list[str], domains: Collection[str]) -> dict[str, str]:
    """Sentences by domain; only a domain of the model before ``=`` is one."""
    said = {}
    for text in given:
        domain, equals, sentence = text.partition("=")
        if equals and domain in domains:
            said[domain] = sentence
        else:
            said[""] = text
    return said


def with_source(card: str, domain: str, source: str, sentence: str) -> str:
    """The card with the row about data in the part of one domain, and nothing else, replaced.

    Two domains may have one source, and one source may begin as another does.
    """
    lines, found, inside = card.splitlines(), 0, not domain
    for number, line in enumerate(lines):
        if domain and line.startswith("# "):
            inside = line.endswith(f"/{domain}")
        if inside and line == f"| data | {source} |":
            lines[number] = f"| data | {sentence} |"
            found += 1
    if found != 1:
        raise SystemExit(
            f"the card names the data of {domain or 'the model'} {found} times: {source}"
        )
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", action="append", required=True)
    parser.add_argument("--terms", required=True)
    chosen = parser.parse_args()
    main(chosen.run, chosen.data, chosen.terms)

"""Put the model of a run among the weights that come with the package, as float16, with its card.

    python tools/ship_weights.py RUN --data "how they were made" --terms "terms of the data"

A universal model needs --data DOMAIN="…" for each domain. Paths of this machine are replaced by
these sentences; everything else is as the run left it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from anatomark.models.files import WEIGHTS_FILE, read_weights, save_model

WEIGHTS = Path(__file__).parents[1] / "src" / "anatomark" / "weights"


def main(run: Path, said: dict[str, str], terms: str) -> None:
    info, weights = read_weights(run / WEIGHTS_FILE)
    card = (run / "model-card.md").read_text(encoding="utf-8")
    parts = info.domains or {"": info}
    named = {}
    for domain, part in parts.items():
        source = str(part.trained["source"])
        if source not in card:
            raise SystemExit(f"the card of {run} does not name its data, {source}")
        card = card.replace(source, said[domain])
        trained = {**part.trained, "source": said[domain]}
        named[domain] = part.model_copy(update={"trained": trained})
    info = info.model_copy(update={"domains": named}) if info.domains else named[""]
    file = WEIGHTS / f"{info.recipe['name']}.safetensors"
    save_model(file, info, weights, half=True)
    file.with_suffix(".md").write_text(card + f"\nTerms: {terms}\n", encoding="utf-8")
    print(f"{file}: {file.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", action="append", required=True)
    parser.add_argument("--terms", required=True)
    given = parser.parse_args()
    pairs = [text.partition("=") if "=" in text else ("", "", text) for text in given.data]
    main(given.run, {domain: sentence for domain, _, sentence in pairs}, given.terms)

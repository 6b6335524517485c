"""Put the model of a run among the weights that come with the package, with its card.

    python tools/ship_weights.py RUN "how the data were made" "terms of the data"

Paths of this machine are replaced by the two sentences; everything else is as the run left it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from anatomark.models.files import load_model, save_model

WEIGHTS = Path(__file__).parents[1] / "src" / "anatomark" / "weights"


def main(run: str, data: str, terms: str) -> None:
    model = load_model(run)
    source = str(model.info.trained["source"])
    trained = {**model.info.trained, "source": data}
    info = model.info.model_copy(update={"trained": trained})
    file = WEIGHTS / f"{model.name}.safetensors"
    save_model(file, info, model.method.state_dict())
    card = (Path(run) / "model-card.md").read_text(encoding="utf-8")
    if source not in card:
        raise SystemExit(f"the card of {run} does not name its data, {source}")
    card = card.replace(source, data) + f"\nTerms: {terms}\n"
    file.with_suffix(".md").write_text(card, encoding="utf-8")
    print(f"{file}: {file.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main(*sys.argv[1:])

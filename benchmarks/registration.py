"""Tables 2 to 4 of Fang 2023 with the models that come with the package, on fresh phantoms.

    anatomark phantom prostate --cases 40 --shape 32,64,64 --seed 7000 --split 0,0,1 --out fresh
    python benchmarks/registration.py fresh OUT

OUT gets ``registration.json`` with all pairs and ``capture.png``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib as mpl

from anatomark.io.cohorts.files import read_cohort
from anatomark.reproduce.fang2023_registration import register_all, tables, verdict

MODELS = {"us": "prostate-phantom-us", "mr": "prostate-phantom-mr"}


def main() -> None:
    """Print the tables as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cohort", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    mpl.use("agg")
    found = register_all(
        given.out, read_cohort(given.cohort), MODELS,
        progress=lambda done, total: print(f"\r{done} of {total}", end="", flush=True),
    )  # fmt: skip
    if found is None:
        raise SystemExit("the cohort has no test pairs with masks")
    print()
    for table in tables(found):
        print(f"\n**{table.title}**\n\n| {' | '.join(table.head)} |\n|{'---|' * len(table.head)}")
        for row in table.rows:
            print(f"| {' | '.join(row)} |")
    print()
    for sentence in verdict(found):
        print(f"- {sentence}")


if __name__ == "__main__":
    main()

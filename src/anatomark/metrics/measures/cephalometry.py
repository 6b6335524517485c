"""Cephalometry: angles, distances and ratios of a lateral X-ray of the head.

Eight of them, with their classes, are those of the ISBI 2015 challenge (Wang et al., A benchmark
for comparison of dental radiography analysis algorithms, Medical Image Analysis 31, 2016; Lindner
et al., Scientific Reports 6, 2016): ANB, SNB, SNA, ODI, APDI, FHI, FHA, MW. The challenge leaves
open what a modified Wits between 0 and 2 mm is; here it is edge to edge.

Everything but three additional points (the tips of the incisors' roots, the tip of the nose)
follows from the 19 points of the challenge. *Forwards* is the direction from porion to orbitale.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from anatomark.geometry import FloatArray
from anatomark.metrics.measures.base import Class, Kind, Measure, MeasureSet
from anatomark.metrics.measures.plane import along, between, beyond, corner, length, towards

#: The letters of the literature, and the names of the points.
POINTS = {
    "S": "sella", "N": "nasion", "Or": "orbitale", "Po": "porion", "A": "subspinale",
    "B": "supramentale", "Pog": "pogonion", "Me": "menton", "Gn": "gnathion", "Go": "gonion",
    "L1": "lower_incisal_incision", "U1": "upper_incisal_incision", "UL": "upper_lip",
    "LL": "lower_lip", "Sn": "subnasale", "Pog'": "soft_tissue_pogonion",
    "PNS": "posterior_nasal_spine", "ANS": "anterior_nasal_spine", "Ar": "articulare",
}  # fmt: skip
#: Points that the challenge does not have; what needs them is measured where they are there.
MORE_POINTS = {
    "L1r": "lower_incisor_apex", "U1r": "upper_incisor_apex", "Prn": "pronasale",
}  # fmt: skip
_NAMES = POINTS | MORE_POINTS
_OPEN = math.inf


def _row(
    name: str,
    title: str,
    kind: Kind,
    points: str,
    of: Callable[..., FloatArray],
    source: str,
    *classes: tuple[float, int, str],
) -> Measure:
    names = tuple(_NAMES[letter] for letter in points.split())
    return Measure(name, title, kind, names, of, tuple(Class(*c) for c in classes), source)


def _anb(s: FloatArray, n: FloatArray, a: FloatArray, b: FloatArray) -> FloatArray:
    """SNA − SNB: positive where A lies in front of B, whichever way the face looks."""
    return np.asarray(corner(n, s, a) - corner(n, s, b))


def _odi(
    a: FloatArray, b: FloatArray, me: FloatArray, go: FloatArray, po: FloatArray, r: FloatArray,
    pns: FloatArray, ans: FloatArray,
) -> FloatArray:  # fmt: skip
    """A–B to the mandibular plane, and the palatal plane to Frankfort: positive if it falls."""
    return np.asarray(between(a - b, go - me) + towards(r - po, ans - pns, b - a))


def _apdi(
    po: FloatArray, r: FloatArray, n: FloatArray, pog: FloatArray, a: FloatArray, b: FloatArray,
    pns: FloatArray, ans: FloatArray,
) -> FloatArray:  # fmt: skip
    """Facial angle, A–B to the facial line (positive where B is in front), palatal plane."""
    facial, forwards = pog - n, r - po
    return np.asarray(
        between(-forwards, facial)
        + towards(facial, b - a, forwards)
        + towards(forwards, ans - pns, facial)
    )


def _modified_wits(u: FloatArray, low: FloatArray, po: FloatArray, r: FloatArray) -> FloatArray:
    """The whole distance of the two edges, negative where the upper one is behind."""
    ahead = along(u - low, r - po)
    return np.asarray(np.where(ahead > 0, 1.0, np.where(ahead <= 0, -1.0, np.nan)) * length(low, u))


def _overbite(u: FloatArray, low: FloatArray, po: FloatArray, r: FloatArray) -> FloatArray:
    """How far the upper edge is below the lower one; the teeth are below Frankfort."""
    return np.asarray(beyond(low, po, r, low) - beyond(u, po, r, low))


def _ratio(a: FloatArray, b: FloatArray, c: FloatArray, d: FloatArray) -> FloatArray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(length(a, b) / length(c, d))


CEPHALOMETRIC = (
    # -- the jaws, forwards and backwards
    _row("SNA", "upper jaw to the skull base", "angle", "S N A",
         lambda s, n, a: corner(n, s, a), "Riedel 1952, Steiner 1953; classes ISBI 2015",
         (79.4, 3, "retrognathic maxilla"), (83.2, 1, "normal"), (_OPEN, 2, "prognathic maxilla")),
    _row("SNB", "lower jaw to the skull base", "angle", "S N B",
         lambda s, n, b: corner(n, s, b), "Riedel 1952, Steiner 1953; classes ISBI 2015",
         (74.6, 2, "retrognathic mandible"), (78.7, 1, "normal"),
         (_OPEN, 3, "prognathic mandible")),
    _row("ANB", "upper to lower jaw, SNA − SNB", "angle", "S N A B", _anb,
         "Riedel 1952, Steiner 1953; classes ISBI 2015",
         (3.2, 3, "class III"), (5.7, 1, "class I"), (_OPEN, 2, "class II")),
    _row("APDI", "anteroposterior dysplasia indicator", "angle", "Po Or N Pog A B PNS ANS", _apdi,
         "Kim and Vietas 1978; classes ISBI 2015",
         (77.6, 2, "class II"), (85.2, 1, "class I"), (_OPEN, 3, "class III")),
    _row("FH-NPog", "facial angle", "angle", "Po Or N Pog",
         lambda po, r, n, pog: between(po - r, pog - n), "Downs 1948"),
    _row("NAPog", "convexity, positive where A is in front", "angle", "N A Pog S",
         lambda n, a, pog, s: towards(a - n, pog - a, s - n), "Downs 1948"),
    # -- the face, up and down
    _row("ODI", "overbite depth indicator", "angle", "A B Me Go Po Or PNS ANS", _odi,
         "Kim 1974; classes ISBI 2015",
         (68.4, 3, "open bite tendency"), (80.5, 1, "normal"), (_OPEN, 2, "deep bite tendency")),
    _row("FMA", "Frankfort to the mandibular plane Go–Me", "angle", "Po Or Go Me",
         lambda po, r, go, me: towards(r - po, me - go, me - po), "Tweed 1946, 1954"),
    _row("FHA", "S–N to Go–Gn, as the challenge has it", "angle", "S N Go Gn",
         lambda s, n, go, gn: towards(n - s, gn - go, gn - s), "Steiner 1953; classes ISBI 2015",
         (26.8, 3, "low angle tendency"), (31.4, 1, "normal"), (_OPEN, 2, "high angle tendency")),
    _row("SN-PP", "S–N to the palatal plane", "angle", "S N PNS ANS",
         lambda s, n, pns, ans: towards(n - s, ans - pns, ans - s), ""),
    _row("PP-MP", "palatal to mandibular plane", "angle", "PNS ANS Go Me",
         lambda pns, ans, go, me: towards(ans - pns, me - go, me - pns), "after A. M. Schwarz"),
    _row("Y-axis", "Frankfort to S–Gn", "angle", "Po Or S Gn",
         lambda po, r, s, gn: between(r - po, gn - s), "Downs 1948"),
    _row("NSAr", "saddle angle", "angle", "N S Ar",
         lambda n, s, ar: corner(s, n, ar), "Björk 1947"),
    _row("SArGo", "articular angle", "angle", "S Ar Go",
         lambda s, ar, go: corner(ar, s, go), "Björk 1947"),
    _row("ArGoMe", "gonial angle", "angle", "Ar Go Me",
         lambda ar, go, me: corner(go, ar, me), "after Björk 1947"),
    _row("FHI", "facial heights, S–Go / N–Me", "ratio", "S Go N Me", _ratio,
         "Jarabak and Fizzell 1972; classes ISBI 2015",
         (0.65, 3, "long face tendency"), (0.75, 1, "normal"), (_OPEN, 2, "short face tendency")),
    _row("LFH", "lower facial height, ANS–Me / N–Me", "ratio", "ANS Me N",
         lambda ans, me, n: _ratio(ans, me, n, me),
         "cf. Wylie and Johnson 1952"),
    _row("S-N", "front skull base", "length", "S N", length, ""),
    _row("S-Go", "back facial height", "length", "S Go", length, ""),
    _row("N-Me", "front facial height", "length", "N Me", length, ""),
    _row("ANS-Me", "lower front facial height", "length", "ANS Me", length, ""),
    _row("Go-Me", "lower jaw", "length", "Go Me", length, ""),
    # -- teeth and lips
    _row("MW", "modified Wits: distance of the incisors' edges", "length", "U1 L1 Po Or",
         _modified_wits, "classes ISBI 2015", (0, 3, "anterior cross bite"),
         (2, 2, "edge to edge"), (4.5, 1, "normal"), (_OPEN, 4, "large overjet")),
    _row("overjet", "upper edge in front of the lower, along Frankfort", "length", "U1 L1 Po Or",
         lambda u, low, po, r: along(u - low, r - po), ""),
    _row("overbite", "upper edge below the lower, across Frankfort", "length", "U1 L1 Po Or",
         _overbite, ""),
    _row("UL-SnPog", "upper lip in front of Sn–Pog'", "length", "UL Sn Pog' Po", beyond,
         "Burstone 1967"),
    _row("LL-SnPog", "lower lip in front of Sn–Pog'", "length", "LL Sn Pog' Po", beyond,
         "Burstone 1967"),
    # -- with the roots and the nose, which the challenge does not have
    _row("IMPA", "lower incisor to the mandibular plane", "angle", "L1 L1r Go Me",
         lambda low, root, go, me: between(go - me, low - root), "Tweed 1946, 1954"),
    _row("FMIA", "lower incisor to Frankfort", "angle", "L1 L1r Po Or",
         lambda low, root, po, r: between(r - po, low - root), "Tweed 1946, 1954"),
    _row("U1-L1", "interincisal angle", "angle", "U1 U1r L1 L1r",
         lambda u, top, low, root: between(top - u, root - low), "Downs 1948"),
    _row("UL-E", "upper lip in front of the E-line", "length", "UL Prn Pog' Po", beyond,
         "Ricketts 1968"),
    _row("LL-E", "lower lip in front of the E-line", "length", "LL Prn Pog' Po", beyond,
         "Ricketts 1968"),
)  # fmt: skip


def _table(names: Sequence[str]) -> tuple[Measure, ...]:  # noqa: ARG001
    return CEPHALOMETRIC


CEPH = MeasureSet("ceph", "cephalometric measures", _table, tuple(POINTS.values()))

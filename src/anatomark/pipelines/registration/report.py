"""What a registration found, in words and numbers: a record for programs, a page for readers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import numpy as np

from anatomark import __version__
from anatomark.maps import Affine
from anatomark.pages import Page
from anatomark.pipelines.registration.run import Measure, Registered
from anatomark.registration.overlap import residual_turn_degrees

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DIRECTION = (
    "pushes points of the moving image onto the fixed one, LPS, x, y(, z); transform.tfm and "
    "transform.h5 hold the inverse, from fixed to moving points, by which ITK and 3D Slicer "
    "resample the moving image"
)
_LIBRARIES = ("numpy", "scipy", "torch", "SimpleITK", "itk-elastix")
_ROWS = 30  # points that the page lists


def to_record(
    found: Registered, *, names: Mapping[str, str], files: Sequence[str]
) -> dict[str, Any]:
    """All numbers, in the unit of the images, for ``report.json``; NaN where one is unknown.

    ``names`` are those of what went in (``fixed``, ``moving``, …), ``files`` of what was written.
    """
    return {
        "anatomark": __version__, "versions": _versions(), "input": dict(names),
        "unit": found.pairs.unit, "transform": _transform(found), "points": _points(found),
        "landmarks": _landmarks(found), "errors": _errors(found),
        "mutual_information": _measure(found.mutual_information, "nats"),
        "covered": _measure(found.covered, ""),
        "dice": None if found.dice is None else _measure(found.dice, ""),
        "stages": [
            {"name": s.name, "before": s.before, "after": s.after, "kept": s.kept}
            for r in found.refinements for s in r.stages
        ],
        "refinement": _refinement(found),
        "flags": {k: list(v) for k, v in found.evidence.flags.items()},
        "fill": found.fill, "doubts": list(found.doubts), "warnings": list(found.warnings),
        "files": list(files),
    }  # fmt: skip


def _versions() -> dict[str, str]:
    known = {}
    for name in _LIBRARIES:
        try:
            known[name] = version(name)
        except PackageNotFoundError:
            continue
    return known


def _transform(found: Registered) -> dict[str, Any]:
    record: dict[str, Any] = {
        "kind": found.plan.transform, "refine": found.plan.refine, "around": found.plan.around,
        "direction": DIRECTION,
        "frame": "LPS", "matrix": None, "turn_degrees": None, "volume_ratio": None,
    }  # fmt: skip
    if isinstance(found.map, Affine):
        still, ratio = Affine.identity(found.map.dimension), float(np.linalg.det(found.map.matrix))
        record.update(
            matrix=found.map.homogeneous.tolist(),
            turn_degrees=residual_turn_degrees(found.map, still) if ratio > 0 else None,
            volume_ratio=ratio,
        )
    return record


def _refinement(found: Registered) -> dict[str, Any]:
    """Which stages of grey values are in the map, which are not, and why they were undone."""
    stages = [stage for result in found.refinements for stage in result.stages]
    return {
        "kept": [stage.name for stage in stages if stage.kept],
        "left_out": [stage.name for stage in stages if not stage.kept],
        "undone": list(found.undone),
    }


def refinement_words(record: Mapping[str, Any]) -> str:
    """What became of the refinement, for one line; empty where none was asked for."""
    kept, out = record["refinement"]["kept"], record["refinement"]["left_out"]
    said = [f"refined by grey values ({', '.join(kept)})"] if kept else []
    if out:
        why = "undone" if record["refinement"]["undone"] else "left out"
        said.append(f"refinement by grey values ({', '.join(out)}) {why}")
    return ", ".join(said)


def _points(found: Registered) -> dict[str, Any]:
    known = found.pairs.fixed_covariance_mm2 is not None or (
        found.pairs.moving_covariance_mm2 is not None
    )
    return {
        "sources": list(found.evidence.sources), "count": len(found.pairs),
        "used": int(found.fit.inliers.sum()), "names": list(found.pairs.names),
        "weighed_by_covariances": bool(known), "left_out": list(found.evidence.unpaired()),
    }  # fmt: skip


def _landmarks(found: Registered) -> list[dict[str, Any]]:
    pairs, fit = found.pairs, found.fit
    lying = np.linalg.norm(pairs.moving_mm - pairs.fixed_mm, axis=1)
    expected = fit.expected_error_mm(pairs.moving_mm)
    moved, left = found.moved, found.residuals
    flags, unit = found.evidence.flags, pairs.unit
    return [
        {
            "name": name, "fixed": pairs.fixed_mm[i].tolist(),
            "moving": pairs.moving_mm[i].tolist(), "moved": moved[i].tolist(),
            "apart_before": float(lying[i]), "fit_residual": float(fit.distances_mm[i]),
            "residual": float(left[i]), "expected_error": float(expected[i]),
            "used": bool(fit.inliers[i]),
            "flags": [
                f"{side}: {flag}" for side in ("fixed", "moving")
                for flag in flags.get(f"{side} {name}", ())
            ] + ([] if fit.inliers[i] else [f"{fit.distances_mm[i]:.1f} {unit} off the fit"]),
        }
        for i, name in enumerate(pairs.names)
    ]  # fmt: skip


def _errors(found: Registered) -> dict[str, Any]:
    expected = found.expected_error
    return {
        "rms": found.rms, "fit_rms": found.fit.rms_mm, "largest": float(found.residuals.max()),
        "misfit": found.fit.misfit,
        "expected": {
            "what": "target error of the map of the points alone, root of the expected square",
            "where": "fixed image" if found.fixed_mask is None else "fixed mask",
            "mean": float(expected.mean()), "largest": float(expected.max()),
        },
    }  # fmt: skip


def _measure(one: Measure, unit: str) -> dict[str, Any]:
    record: dict[str, Any] = {"before": one.before, "points": one.fitted, "after": one.after}
    return {**record, "unit": unit} if unit else record


# -- the page --------------------------------------------------------------------------------------


def page_of(record: Mapping[str, Any], overlay: Figure | None) -> Page:
    """The record as one page that opens offline."""
    given, unit = record["input"], record["unit"]
    page = Page(
        "Registration",
        lead=f"{given.get('moving', 'moving')} onto {given.get('fixed', 'fixed')}; "
        f"anatomark {record['anatomark']}",
    )
    for text in record["doubts"]:
        page.text(f"This map is not to be trusted: {text}.")
    for text in record["warnings"]:
        page.text(f"Warning: {text}.")
    page.table(["", "before", "points", "at the end"], list(summary_rows(record)))
    page.text(
        "Before: as the files lie. Expected error: how far the map of the points is off, by what "
        "is known of them; none is given where residuals of neighbours agree, as they do where "
        "anatomy bends. It knows nothing of what grey values mended or spoiled: of a B-spline it "
        "says nothing. Compare mutual information only where as much of the fixed image is covered."
    )
    if words := refinement_words(record):
        page.text(f"{_capital(words)}.")
    if overlay is not None:
        page.heading("On each other")
        page.picture(overlay, "Edges and squares of the moving image on the fixed one.")
    page.heading("Points")
    page.text(f"Points: {'; '.join(record['points']['sources'])}. Lengths in {unit}.")
    page.table(
        ["point", "before", "fit", "at the end", "expected (map)", "used", "flags"], _rows(record)
    )
    page.text(_about_points(len(record["landmarks"])))
    _transform_section(page, record)
    return page


def _about_points(count: int) -> str:
    said = (
        "Before, fit and at the end: how far the moving point is from the fixed one. Expected "
        "(map): how far the map of the points is off there; a point that was placed badly lies "
        "farther away than that."
    )
    if count > _ROWS:
        said += (
            f" Those that are not used and those that lie farthest apart are shown, {_ROWS} of "
            f"{count}; all are in report.json."
        )
    return said


def summary_rows(record: Mapping[str, Any]) -> list[list[str]]:
    """Measures before, after the fit of points, and at the end; the expected error."""
    unit, errors, expected = record["unit"], record["errors"], record["errors"]["expected"]
    used = [one["apart_before"] for one in record["landmarks"] if one["used"]]
    lying = float(np.sqrt(np.mean(np.square(used)))) if used else float("nan")
    rows = [[
        f"points used, RMS ({unit})", _number(lying, 2), _number(errors["fit_rms"], 2),
        _number(errors["rms"], 2),
    ]]  # fmt: skip
    for name, key, digits in (("mutual information (nats)", "mutual_information", 4),
                              ("Dice of the masks", "dice", 3)):  # fmt: skip
        if record[key] is not None:
            values = (record[key][k] for k in ("before", "points", "after"))
            rows.append([name, *(_number(v, digits) for v in values)])
    shares = (record["covered"][k] for k in ("before", "points", "after"))
    rows.append(["fixed image covered", *map(_percent, shares)])
    where = f"expected error, {expected['where']}"
    rows += [
        [f"{where}, mean ({unit})", "–", _number(expected["mean"], 2), "–"],
        [f"{where}, largest ({unit})", "–", _number(expected["largest"], 2), "–"],
    ]
    return rows


def _rows(record: Mapping[str, Any]) -> list[list[str]]:
    """Pairs that are not used first, then the others, the largest residual of each on top.

    Of many, each kind has half of the rows, and what the other leaves.
    """
    parts = [
        sorted(
            (one for one in record["landmarks"] if one["used"] == used),
            key=lambda one: -one["residual"],
        )
        for used in (False, True)
    ]
    unused = parts[0][: max(_ROWS // 2, _ROWS - len(parts[1]))]
    shown = [*unused, *parts[1][: _ROWS - len(unused)]]
    return [
        [
            one["name"], *(_number(one[key], 2) for key in (
                "apart_before", "fit_residual", "residual", "expected_error",
            )), "yes" if one["used"] else "no", "; ".join(one["flags"]),
        ]
        for one in shown
    ]  # fmt: skip


def _transform_section(page: Page, record: Mapping[str, Any]) -> None:
    transform = record["transform"]
    page.heading("Transform")
    page.text(
        f"{_capital(transform['kind'])} map, refined: {transform['refine']}. The map {DIRECTION}."
    )
    if transform["matrix"] is not None:
        rows = [[f"{value:.6f}" for value in row] for row in transform["matrix"]]
        page.table([*"xyz"[: len(rows) - 1], "shift"], rows[:-1])
        turned = transform["turn_degrees"]
        page.text(
            ("It mirrors the image" if turned is None else f"It turns by {turned:.2f}°")
            + f" and makes volumes {abs(transform['volume_ratio']):.3f} times as large."
        )
    if record["stages"]:
        page.heading("Refinement")
        page.table(
            ["stage", "mutual information before", "after", "kept"],
            [
                [s["name"], *(_number(s[key], 4) for key in ("before", "after")),
                 "yes" if s["kept"] else "no"]
                for s in record["stages"]
            ],
        )  # fmt: skip


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _number(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if np.isfinite(value) else "–"

"""X-rays that lie on their side or are mirrored: looked at again in each of the eight ways."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from anatomark.data import Image
from anatomark.inference.detection import Detection
from anatomark.inference.flags import ABSENT, UNLIKELY

# What was done to the image: axes exchanged, then x and y reversed. Only its grid is turned too, so
# that points stay where they are in the world.
_WAYS = {
    (False, True, False): "mirrored left to right",
    (False, False, True): "mirrored top to bottom",
    (False, True, True): "turned by 180°",
    (True, False, True): "turned by 90° to the left",
    (True, True, False): "turned by 90° to the right",
    (True, False, False): "mirrored about a diagonal",
    (True, True, True): "mirrored about a diagonal",
}
_DOUBTFUL, _FINE = 0.5, 0.25  # parts of the points that are in unlikely places


def upright(image: Image, first: Detection, look: Callable[[Image], Detection]) -> Detection:
    """The way of looking at a 2D image in which the points are most like those of training.

    ``first`` is what was found in the image as it is; unless half of its points are in unlikely
    places, or no other way makes sense of them, it is returned.
    """
    if image.grid.dimension != 2 or unlikely(first) < _DOUBTFUL:
        return first
    best, said = first, ""
    for (exchanged, x, y), done in _WAYS.items():
        found = look(turned(image, exchanged, x, y))
        if unlikely(found) < unlikely(best):
            best, said = found, done
    if unlikely(best) > _FINE:
        return first
    note = f"was {said} to be recognised"
    return replace(best, findings=replace(best.findings, image=(note, *best.findings.image)))


def turned(image: Image, exchanged: bool, x: bool, y: bool) -> Image:
    """The image with its axes exchanged and reversed; every pixel keeps its place in the world."""
    shown = image.permute([1, 0]) if exchanged else image
    shown = shown.flip(0) if x else shown
    return shown.flip(1) if y else shown


def unlikely(found: Detection) -> float:
    """The part of the points in unlikely places or not found; all, if they do not fit together."""
    findings = found.findings
    if any(note.startswith(UNLIKELY) for note in findings.image):
        return 1.0  # of the whole set, none standing out
    odd = (UNLIKELY, ABSENT)
    count = sum(any(f.startswith(odd) for f in flags) for flags in findings.flags.values())
    return count / max(len(findings.landmarks), 1)

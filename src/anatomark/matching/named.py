"""A matcher by its name: a hand-made one, or a trained model."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import Any, Literal, cast

from anatomark.data import Image
from anatomark.errors import AnatomarkError, UsageError
from anatomark.matching.matcher import LearntMatcher, Matching
from anatomark.matching.sift import KINDS, SiftMatcher
from anatomark.models.files import load_matcher


def matcher_named(
    name: str | PathLike[str],
    *,
    least: float = 0.0,
    most: int | None = None,
    guided: bool | None = None,
    device: Literal["auto", "cpu", "gpu"] = "auto",
) -> Matching:
    """``sift``, ``sift-ratio``, ``rootsift`` and their like, or a model: shipped, file or run.

    ``least`` confidence of a match, at ``most`` so many landmarks of an image and ``guided`` are
    for models; the others have neither, and refuse them.
    """
    if name in KINDS:
        given = {"least": least > 0, "most": most is not None, "guided": guided is not None}
        if any(given.values()):
            said = " and ".join(word for word, there in given.items() if there)
            raise UsageError(
                f"{said}: for models only, {name} has nothing of the kind",
                fix="leave that away, or name a model",
            )
        return SiftMatcher(cast("Any", name))
    return LearntMatcher(load_matcher(name), least=least, most=most, guided=guided, device=device)


def check_images(
    matcher: Matching, images: Sequence[Image], paths: Sequence[str | PathLike[str]]
) -> None:
    """Refuse an image that the matcher cannot match, and name its file."""
    for image, path in zip(images, paths, strict=True):
        try:
            matcher.check(image)
        except AnatomarkError as fault:
            raise fault.at(path) from None

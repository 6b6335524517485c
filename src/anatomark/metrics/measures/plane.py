"""Angles and distances in the plane, of points ``(..., 2)``; NaN where they are not defined.

Which way a figure is turned or mirrored makes no difference to any of them. Where a sign has to
say *in front* or *below*, another point of the figure that always lies there says which side.
"""

from __future__ import annotations

import numpy as np

from anatomark.geometry import FloatArray


def length(a: FloatArray, b: FloatArray) -> FloatArray:
    """Distance of two points."""
    return np.asarray(np.hypot(*_axes(b - a)))


def corner(at: FloatArray, a: FloatArray, b: FloatArray) -> FloatArray:
    """Angle at a point between the directions to two others, 0…180°."""
    return between(a - at, b - at)


def between(u: FloatArray, v: FloatArray) -> FloatArray:
    """Angle between two directions, 0…180°."""
    return np.abs(_turn(u, v))


def towards(u: FloatArray, v: FloatArray, side: FloatArray) -> FloatArray:
    """Angle from direction ``u`` to ``v``, positive where it turns to where ``side`` points."""
    return np.asarray(_side(u, side) * _turn(u, v))


def beyond(point: FloatArray, a: FloatArray, b: FloatArray, back: FloatArray) -> FloatArray:
    """Distance of a point from the line through ``a`` and ``b``, negative where ``back`` lies."""
    line = b - a
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(-_side(line, back - a) * _cross(line, point - a) / _norm(line))


def along(vector: FloatArray, direction: FloatArray) -> FloatArray:
    """The part of a vector in a direction."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((vector * direction).sum(axis=-1) / _norm(direction))


def _turn(u: FloatArray, v: FloatArray) -> FloatArray:
    angle = np.degrees(np.arctan2(_cross(u, v), (u * v).sum(axis=-1)))
    return np.asarray(np.where((_norm(u) > 0) & (_norm(v) > 0), angle, np.nan))


def _side(u: FloatArray, v: FloatArray) -> FloatArray:
    """1 or -1 for the side of ``u`` that ``v`` points to; NaN where it is neither."""
    side = np.sign(_cross(u, v))
    return np.asarray(np.where(side == 0, np.nan, side))


def _cross(u: FloatArray, v: FloatArray) -> FloatArray:
    return np.asarray(u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0])


def _norm(u: FloatArray) -> FloatArray:
    return np.asarray(np.hypot(*_axes(u)))


def _axes(u: FloatArray) -> tuple[FloatArray, FloatArray]:
    return u[..., 0], u[..., 1]

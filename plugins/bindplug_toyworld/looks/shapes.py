"""Outlines from which the looks are built: all return ``(n, 2)`` arrays of points, y downwards."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Path = Sequence[tuple[float, float]]


@lru_cache(maxsize=64)
def _unit_circle(n: int) -> Points:
    angle = np.linspace(0, 2 * np.pi, n, endpoint=False)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def ellipse(x: float, y: float, rx: float, ry: float, tilt_deg: float = 0.0, n: int = 26) -> Points:
    """An ellipse about (x, y), turned clockwise by ``tilt_deg``."""
    points = _unit_circle(n) * (rx, ry)
    if tilt_deg:
        points = turn(points, tilt_deg)
    return points + np.array((x, y))


def turn(points: Points, degrees: float, about: tuple[float, float] = (0.0, 0.0)) -> Points:
    """``points`` turned clockwise, as seen with y downwards."""
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return (points - about) @ np.array([[cos, sin], [-sin, cos]]) + about


@lru_cache(maxsize=8)
def _spline_weights(steps: int) -> Points:
    t = np.arange(steps) / steps
    rows = [-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, -(t**2) + t**3]
    return np.stack(rows, axis=1) / 2


def _spline(controls: Points, steps: int) -> Points:
    """Catmull-Rom curve from ``controls[1]`` to ``controls[-2]``, ``steps`` points a span."""
    windows = np.stack([controls[i : len(controls) - 3 + i] for i in range(4)], axis=1)
    return np.einsum("sk,wkc->wsc", _spline_weights(steps), windows).reshape(-1, 2)


def blob(path: Path, steps: int = 5) -> Points:
    """A smooth closed outline through the points of ``path``."""
    points = np.asarray(path, dtype=np.float64)
    return _spline(np.concatenate([points[-1:], points, points[:2]]), steps)


def curve(path: Path, steps: int = 5) -> Points:
    """A smooth open line through the points of ``path``."""
    points = np.asarray(path, dtype=np.float64)
    padded = np.concatenate([points[:1], points, points[-1:]])
    return np.concatenate([_spline(padded, steps), points[-1:]])


def polygon(path: Path) -> Points:
    """A straight-edged outline."""
    return np.asarray(path, dtype=np.float64)


def box(x0: float, y0: float, x1: float, y1: float, radius: float = 0.0) -> Points:
    """An upright rectangle, its corners rounded by ``radius``."""
    if not radius:
        return polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
    circle = _unit_circle(20) * radius
    corners = [(x1 - radius, y1 - radius), (x0 + radius, y1 - radius), (x0 + radius, y0 + radius)]
    corners.append((x1 - radius, y0 + radius))
    return np.concatenate(
        [circle[5 * i : 5 * i + 6 if i < 3 else 20] + corner for i, corner in enumerate(corners)]
    )


def stroke(
    path: Path | Points, width: float, end_width: float | None = None, *, smooth: bool = True
) -> Points:
    """The outline of a round-ended line along ``path``, tapering from ``width`` to ``end_width``."""
    points = curve(list(path)) if smooth and len(path) > 2 else np.asarray(path, dtype=np.float64)
    tangent = np.empty_like(points)
    tangent[1:-1] = points[2:] - points[:-2]
    tangent[0], tangent[-1] = points[1] - points[0], points[-1] - points[-2]
    tangent /= np.maximum(np.hypot(tangent[:, 0], tangent[:, 1]), 1e-9)[:, None]
    taper = 0.0 if end_width is None else end_width - width
    half = (width + taper * (np.arange(len(points)) / (len(points) - 1)))[:, None] / 2
    aside = tangent[:, ::-1] * half * (-1, 1)
    head = points[-1] + half[-1] * tangent[-1] * 0.8
    tail = points[0] - half[0] * tangent[0] * 0.8
    return np.concatenate([points + aside, head[None], (points - aside)[::-1], tail[None]])


def ring(x: float, y: float, radius: float, width: float, n: int = 30) -> Points:
    """A circle's rim, open in the middle."""
    circle = _unit_circle(n)
    outline = np.concatenate([circle, circle[:1]])
    rims = np.concatenate([outline * (radius + width / 2), outline[::-1] * (radius - width / 2)])
    return rims + np.array((x, y))


def arc(x: float, y: float, radius: float, start_deg: float, end_deg: float, n: int = 12) -> Points:
    """Points along a circle, clockwise from the x axis, for :func:`stroke`."""
    angle = np.radians(np.linspace(start_deg, end_deg, n))
    return np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle)], axis=1)

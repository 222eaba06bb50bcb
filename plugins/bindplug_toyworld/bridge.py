"""The bundled bridge between the toy world's two spaces."""

from __future__ import annotations

from importlib.resources import as_file, files

from bindplug.bridges import Bridge, load_bridge


def load() -> Bridge:
    """The bridge from imagebind_tiny's space to the foreign toy CLIP's, fitted from captions alone."""
    with as_file(files("bindplug_toyworld") / "weights" / "toy_bridge") as directory:
        return load_bridge(directory)

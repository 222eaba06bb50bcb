"""The diffusers library, in a release that works."""

from __future__ import annotations

from bindplug.lazy import require

OLDEST = (0, 32)
"""The oldest diffusers release that is supported."""


def require_diffusers(module: str = "") -> None:
    """Return if diffusers is there and new enough.

    Args:
        module: which module of this package needs it; all of them do.

    Raises:
        MissingDependency: it is absent, too old, or does not import.
    """
    require("diffusers", owner="bindplug_diffusers", extra="diffusers", oldest=OLDEST)

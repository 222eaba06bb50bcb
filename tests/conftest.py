"""How hypothesis runs everywhere: no example is timed, and a run under CI draws the same examples each time."""

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "bindplug",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=bool(os.environ.get("CI")),
)
settings.load_profile("bindplug")

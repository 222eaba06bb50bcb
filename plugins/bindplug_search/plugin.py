"""The search plugin: the commands ``bindplug index`` and ``bindplug search``."""

from __future__ import annotations

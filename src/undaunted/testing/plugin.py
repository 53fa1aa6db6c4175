"""The pytest plugin: loaded by every run of pytest where undaunted is installed, so it imports no driver and no lab."""

from __future__ import annotations

from undaunted.testing.fixtures import fresh_mongo_lab, healthy_mongo_lab, mongo_lab

__all__ = ["fresh_mongo_lab", "healthy_mongo_lab", "mongo_lab"]

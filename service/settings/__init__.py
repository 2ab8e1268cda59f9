"""The settings: what there is, what makes sense, and where they come from. No other package reads the environment."""

from service.settings.loading import (
    BadSettings,
    Inspection,
    find_unknown_settings,
    inspect_settings,
    load_settings,
)
from service.settings.model import ENV_FILE, SECTIONS, Settings
from service.settings.types import MIN_SECRET_BYTES
from service.settings.warnings import find_warnings

__all__ = [
    "ENV_FILE",
    "MIN_SECRET_BYTES",
    "SECTIONS",
    "BadSettings",
    "Inspection",
    "Settings",
    "find_unknown_settings",
    "find_warnings",
    "inspect_settings",
    "load_settings",
]

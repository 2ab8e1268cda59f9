"""Routes that say what an export would take."""

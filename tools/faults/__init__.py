"""Attack a running system in every way that is known, and hold each promise against a figure."""

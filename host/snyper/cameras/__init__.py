"""Cameras at checkpoints: what they detect and how they are, kept."""

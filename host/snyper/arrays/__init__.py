"""Stored arrays: numpy's `.npy` files, safely on disk, whole or in slices."""

"""Stored arrays: numpy's `.npy` files, safely on disk, whole or in slices; and a client for them."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from snyper.arrays.numpy_client import NumpyClient

__all__ = ["NumpyClient"]

if not TYPE_CHECKING:

    def __getattr__(name):
        """Load the client with its first use: whoever stores arrays needs none."""
        if name not in __all__:
            raise AttributeError(f"module 'snyper.arrays' has no attribute {name!r}")
        from snyper.arrays.numpy_client import NumpyClient

        return NumpyClient

    def __dir__():
        return sorted(set(globals()) | set(__all__))

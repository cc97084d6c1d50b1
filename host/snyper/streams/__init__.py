"""Numeric streams as a client sees them: what they are, their blocks, and who reads them."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from snyper.streams.block import Block, Mark
    from snyper.streams.spec import StreamSpec

__all__ = ["Block", "Mark", "StreamSpec"]

if not TYPE_CHECKING:

    def __getattr__(name):
        """Load what is asked for, so that numpy is needed by whoever reads samples alone."""
        if name not in __all__:
            raise AttributeError(f"module 'snyper.streams' has no attribute {name!r}")
        from snyper.streams import block, spec

        return getattr(spec if name == "StreamSpec" else block, name)

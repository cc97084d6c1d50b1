"""Serves HTTP for who receives: heads, bodies, forms, keys; on any ASGI server, and on one of its own."""

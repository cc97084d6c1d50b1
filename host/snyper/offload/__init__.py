"""Heavy work for small devices: a person's functions, run in worker processes. No HTTP in it."""

"""HTTP for existing clients: heavy work, received files, the hub's state."""

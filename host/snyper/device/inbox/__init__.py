"""Receives files and data of others: one folder, each whole or not at all, each once."""

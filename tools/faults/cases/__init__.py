"""The cases of `make faults`: one attack each."""

"""Random faults in a range, and its promises checked: with real processes, or simulated."""

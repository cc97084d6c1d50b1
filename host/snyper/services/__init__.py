"""Functions and objects of this computer, served to others."""

"""Simulated robots, drawn by processes of their own: filmed, or shown in a window."""

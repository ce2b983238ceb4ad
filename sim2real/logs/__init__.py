"""Recordings of robots, and what a model would have done with their commands."""

"""MJCF of robots, and how it is read."""

"""Faults of a served robot: real processes, which are killed, flooded and cut off."""

"""Measurements, checks and faults on purpose."""

"""Delays, measured from recordings."""

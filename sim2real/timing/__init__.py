"""Delays: simulated, and measured from recordings."""

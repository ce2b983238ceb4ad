"""Scheduling, memory and clocks: what makes a loop punctual, and what made it late."""

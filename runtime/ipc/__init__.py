"""Shared memory between the control process and those around it."""

"""A robot on four legs: what becomes of it when it is held in a stride, and how it is driven by low-level messages."""

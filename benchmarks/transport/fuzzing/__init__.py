"""Damaged inputs for the parsers that read what others wrote, shared by the benchmark and the tests."""

"""Typed goals and what becomes of them."""

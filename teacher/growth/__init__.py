"""Depth chosen by evidence: when a run deepens its networks (`rule`), and how it does so without changing what they
compute (`blocks`).
"""

"""Robots drawn from a randomisation: as numbers, as models, and as disturbed signals.

`sampling` draws them, `dynamics` makes models of them, `disturbances` does to readings and commands what wires, filters
and clocks do, and `robots` says which environment simulates which.
"""

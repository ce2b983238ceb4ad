"""What differs between simulation and robot, as distributions, as numbers, as models, and as disturbed signals.

`config` describes it, `sampling` draws robots from the description, `dynamics` makes models of them and `disturbances`
does to readings and commands what wires, filters and clocks do.
"""

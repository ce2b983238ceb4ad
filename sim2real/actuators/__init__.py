"""Drives: what those of a model hold and how fast they follow, and torque laws for where MuJoCo's position servo is too
good to be true.

`servo_simulation` tries a model's own, `models` has the laws, `residual` a network for what no law explains, fitted
from logs.
"""

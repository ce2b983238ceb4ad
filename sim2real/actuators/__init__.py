"""Torque models of drives, for where MuJoCo's position servo is too good to be true.

`models` has the laws, `residual` a network for what no law explains, fitted from logs.
"""

"""Robots, simulated or real, behind one small interface, see `runtime.drivers.base`."""

"""Quadrupeds of Unitree's by their low-level interface: motor commands and states over DDS."""

"""Recordings of a control loop as MCAP files, and what can be done with them later."""

"""From logs to parameters, with intervals, and from intervals to randomisation ranges."""

"""Arms of Universal Robots, by way of RTDE."""

"""From a robot's MJCF or URDF to a task file that trains: what is missing is said at once, what is guessed too."""

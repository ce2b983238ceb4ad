"""What stands around a robot: the walls of a map, objects, and the contacts with them that count."""

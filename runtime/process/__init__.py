"""What every process of a server has: signals that it understands, and output that never makes it wait."""

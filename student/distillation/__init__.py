"""How a student learns: states that are visited, the labels on them, the losses, the loop."""

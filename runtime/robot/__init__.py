"""What a robot says, and the model of it."""

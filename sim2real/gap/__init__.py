"""What lies between a model and a robot (or another simulator), measured: errors, delays, and what they cost."""

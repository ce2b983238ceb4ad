"""What teachers cost and which of their settings matter."""

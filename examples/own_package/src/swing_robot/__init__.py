"""A two-joint arm for Shoal."""

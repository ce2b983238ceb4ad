"""How well policy files do."""

"""Tasks: YAML files, and the starts and goals that follow from them."""

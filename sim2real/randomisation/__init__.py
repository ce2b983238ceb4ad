"""How robots differ from the model, as distributions in a file: the terms, and the presets that ship."""

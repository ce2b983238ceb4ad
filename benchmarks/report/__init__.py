"""The demo's report and the README's picture, drawn without OpenGL and without a network."""

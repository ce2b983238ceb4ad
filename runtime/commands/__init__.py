"""Sub-commands of the console script `runtime`, each a frozen dataclass of options with `run`.

Nothing heavy is imported before `run`, so that `runtime goal` does not load MuJoCo and onnxruntime.
"""

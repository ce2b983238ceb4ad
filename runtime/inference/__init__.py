"""The policy file as a function: ONNX Runtime, or a kernel compiled from its graph."""

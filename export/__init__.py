"""Student to one self-contained ONNX file, with contract, certificate and metadata.

export-onnx --student runs/pose_student -o student.onnx
"""

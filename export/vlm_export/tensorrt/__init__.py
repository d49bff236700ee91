"""TensorRT engines from ONNX graphs, through the Python APIs of TensorRT 8.5 to 11 and of TensorRT-RTX."""

"""What an ONNX graph asks of a device: its operations, fused as runtimes fuse them, and what each costs."""

"""An ONNX file as its bytes have it: read, within a budget, before any runtime sees it."""

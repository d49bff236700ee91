"""The fields that are read of an ONNX file, by their numbers in onnx.proto of ONNX 1.23, which no version changes."""

from vlm_profile.onnxfile.wire import Field

MODEL = {
    7: Field("graph", "bytes"),
    8: Field("operator_sets", "bytes", many=True),
    25: Field("functions", "bytes", many=True),
}
OPERATOR_SET = {1: Field("domain", "text"), 2: Field("version", "number")}
GRAPH = {
    1: Field("nodes", "bytes", many=True),
    5: Field("initializers", "bytes", many=True),
    11: Field("inputs", "bytes", many=True),
    12: Field("outputs", "bytes", many=True),
    13: Field("values", "bytes", many=True),
    15: Field("sparse_initializers", "bytes", many=True),
}
FUNCTION = {
    1: Field("name", "text"),
    7: Field("nodes", "bytes", many=True),
    10: Field("domain", "text"),
    11: Field("defaults", "bytes", many=True),
    13: Field("overload", "text"),
}
NODE = {
    1: Field("inputs", "text", many=True),
    2: Field("outputs", "text", many=True),
    3: Field("name", "text"),
    4: Field("operator", "text"),
    5: Field("attributes", "bytes", many=True),
    7: Field("domain", "text"),
    8: Field("overload", "text"),
}
ATTRIBUTE = {
    1: Field("name", "text"),
    2: Field("float", "data"),
    3: Field("int", "number"),
    4: Field("text", "bytes"),
    5: Field("tensor", "bytes"),
    6: Field("graph", "bytes"),
    7: Field("floats", "data", many=True),
    8: Field("ints", "data", many=True),
    10: Field("tensors", "bytes", many=True),
    11: Field("graphs", "bytes", many=True),
    22: Field("sparse_tensor", "bytes"),
    23: Field("sparse_tensors", "bytes", many=True),
}
TENSOR = {
    1: Field("shape", "number", many=True),
    2: Field("type", "number"),
    4: Field("floats", "data", many=True),
    5: Field("int32s", "data", many=True),
    6: Field("strings", "data", many=True),
    7: Field("int64s", "data", many=True),
    8: Field("name", "text"),
    9: Field("raw", "bytes"),
    10: Field("doubles", "data", many=True),
    11: Field("uint64s", "data", many=True),
    13: Field("external", "bytes", many=True),
    14: Field("location", "number"),
}
SPARSE = {1: Field("values", "bytes"), 2: Field("indices", "bytes"), 3: Field("shape", "number", many=True)}
ENTRY = {1: Field("key", "text"), 2: Field("value", "text")}
VALUE = {1: Field("name", "text"), 2: Field("type", "bytes")}
TYPE = {1: Field("tensor", "bytes")}
TENSOR_TYPE = {1: Field("type", "number"), 2: Field("shape", "bytes")}
SHAPE = {1: Field("dimensions", "bytes", many=True)}
DIMENSION = {1: Field("size", "number"), 2: Field("name", "text")}

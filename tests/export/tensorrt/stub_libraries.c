/* Stands for TensorRT's libraries: what its Python bindings need to be imported, and a builder that cannot start.
 * LOG_METHOD is the place of nvinfer1::ILogger::log() among its virtual functions: 0, and 4 from TensorRT 11 on. */

typedef void (*Log)(void *logger, int severity, const char *text);

static void *fail(void *logger)
{
    Log *methods = *(Log **)logger;
    methods[LOG_METHOD](logger, 1, "this stub has no GPU");
    return 0;
}

#define NOTHING(name) void *name(void) { return 0; }

void *createInferBuilder_INTERNAL(void *logger, int version) { return fail(logger); }
void *createInferRuntime_INTERNAL(void *logger, int version) { return fail(logger); }
NOTHING(createInferRefitter_INTERNAL)
NOTHING(createNvOnnxParserRefitter_INTERNAL)
NOTHING(createNvOnnxParser_INTERNAL)
NOTHING(getBuilderPluginRegistry)
NOTHING(getNvOnnxParserVersion)
NOTHING(getPluginRegistry)
NOTHING(initLibNvInferPlugins)
/* TensorRT 8: parsers of Caffe and UFF */
NOTHING(_ZN11nvuffparser15createUffParserEv)
NOTHING(_ZN11nvuffparser8FieldMapC1EPKcPKvNS_9FieldTypeEi)
NOTHING(_ZN14nvcaffeparser117createCaffeParserEv)
NOTHING(_ZN14nvcaffeparser123shutdownProtobufLibraryEv)

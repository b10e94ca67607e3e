#ifndef BITBUDGET_TOOLS_API_SENTENCEPIECE_PLUGIN_H_
#define BITBUDGET_TOOLS_API_SENTENCEPIECE_PLUGIN_H_

#include <cstddef>

// What libbitbudget.so calls SentencePiece by (cmake/protobuf_beside_sentencepiece.cmake says why).
// No memory changes hands, as the two sides may allocate by different functions: texts and errors
// are told to a sink.
namespace bitbudget::api {

struct SentencePieceFunctions {
  using TextSink = void (*)(void* context, const char* text, size_t size);
  using IdSink = void (*)(void* context, int id);

  // Null, with the reason told to `error`, when the bytes are no model. To be passed to `close`.
  void* (*open)(const char* bytes, size_t size, TextSink error, void* context);
  void (*close)(void* model);
  int (*size)(const void* model);
  bool (*encode)(
      const void* model, const char* text, size_t size, IdSink id, TextSink error, void* context);
  bool (*decode)(const void* model, const int* ids, size_t count, TextSink text, void* context);
  bool (*is_special)(const void* model, int id);
};

// The plugin's only symbol, of type SentencePieceFunctions.
inline constexpr char kSentencePieceFunctions[] = "bitbudget_sentencepiece_functions";

}  // namespace bitbudget::api

#endif  // BITBUDGET_TOOLS_API_SENTENCEPIECE_PLUGIN_H_

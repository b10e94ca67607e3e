#include "tools/api/sentencepiece_plugin.h"

#include <memory>
#include <string>
#include <vector>

#include "runtime/model/tokenizer/sentencepiece_shim.h"

namespace bitbudget::api {
namespace {

void Tell(SentencePieceFunctions::TextSink sink, void* context, const std::string& text) {
  sink(context, text.data(), text.size());
}

void* Open(const char* bytes, size_t size, SentencePieceFunctions::TextSink error, void* context) {
  std::string reason;
  std::unique_ptr<SentencePieceShim> model =
      SentencePieceShim::Load(std::string(bytes, size), &reason);
  if (model == nullptr) Tell(error, context, reason);
  return model.release();
}

const SentencePieceShim& ModelOf(const void* model) {
  return *static_cast<const SentencePieceShim*>(model);
}

void Close(void* model) { delete static_cast<SentencePieceShim*>(model); }

int Size(const void* model) { return ModelOf(model).size(); }

bool Encode(const void* model,
            const char* text,
            size_t size,
            SentencePieceFunctions::IdSink id,
            SentencePieceFunctions::TextSink error,
            void* context) {
  std::vector<int> ids;
  std::string reason;
  if (!ModelOf(model).Encode(std::string(text, size), &ids, &reason)) {
    Tell(error, context, reason);
    return false;
  }
  for (const int i : ids) id(context, i);
  return true;
}

bool Decode(const void* model,
            const int* ids,
            size_t count,
            SentencePieceFunctions::TextSink text,
            void* context) {
  std::string decoded;
  if (!ModelOf(model).Decode(std::vector<int>(ids, ids + count), &decoded)) return false;
  Tell(text, context, decoded);
  return true;
}

bool IsSpecial(const void* model, int id) { return ModelOf(model).IsSpecial(id); }

}  // namespace
}  // namespace bitbudget::api

extern "C" __attribute__((visibility("default")))
const bitbudget::api::SentencePieceFunctions bitbudget_sentencepiece_functions = {
    bitbudget::api::Open,
    bitbudget::api::Close,
    bitbudget::api::Size,
    bitbudget::api::Encode,
    bitbudget::api::Decode,
    bitbudget::api::IsSpecial};

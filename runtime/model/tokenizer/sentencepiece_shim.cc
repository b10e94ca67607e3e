#include "runtime/model/tokenizer/sentencepiece_shim.h"

#include <sentencepiece_processor.h>

#include <exception>
#include <utility>

// Exported by the library, but declared in none of its installed headers.
namespace sentencepiece::logging {
void SetMinLogLevel(int level);
}

namespace bitbudget {

struct SentencePieceShim::Impl {
  sentencepiece::SentencePieceProcessor processor;
};

SentencePieceShim::SentencePieceShim(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
SentencePieceShim::~SentencePieceShim() = default;

std::unique_ptr<SentencePieceShim> SentencePieceShim::Load(const std::string& bytes,
                                                           std::string* error) {
  constexpr int kFatalOnly = 3;
  sentencepiece::logging::SetMinLogLevel(kFatalOnly);
  auto impl = std::make_unique<Impl>();
  try {
    const sentencepiece::util::Status status = impl->processor.LoadFromSerializedProto(bytes);
    if (!status.ok()) {
      *error = status.message();
      return nullptr;
    }
  } catch (const std::exception& e) {
    *error = e.what();
    return nullptr;
  }
  return std::unique_ptr<SentencePieceShim>(new SentencePieceShim(std::move(impl)));
}

int SentencePieceShim::size() const { return impl_->processor.GetPieceSize(); }

bool SentencePieceShim::Encode(const std::string& text,
                               std::vector<int>* ids,
                               std::string* error) const {
  const sentencepiece::util::Status status = impl_->processor.Encode(text, ids);
  if (!status.ok()) *error = status.message();
  return status.ok();
}

bool SentencePieceShim::Decode(const std::vector<int>& ids, std::string* text) const {
  return impl_->processor.Decode(ids, text).ok();
}

bool SentencePieceShim::IsSpecial(int id) const {
  const sentencepiece::SentencePieceProcessor& p = impl_->processor;
  return p.IsControl(id) || p.IsUnknown(id) || p.IsUnused(id);
}

}  // namespace bitbudget

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "runtime/base/mapped_file.h"
#include "runtime/base/status_macros.h"
#include "runtime/model/json.h"
#include "runtime/model/sentencepiece_shim.h"
#include "runtime/model/tokenizer.h"

namespace bitbudget {
namespace {

class SentencePieceTokenizer : public Tokenizer {
 public:
  SentencePieceTokenizer(std::unique_ptr<SentencePieceShim> model, std::string path)
      : model_(std::move(model)), path_(std::move(path)) {}

  int64_t vocab_size() const override { return model_->size(); }

  absl::StatusOr<std::vector<int32_t>> Encode(absl::string_view text) const override {
    std::vector<int> ids;
    std::string error;
    if (!model_->Encode(std::string(text), &ids, &error)) {
      return absl::InvalidArgumentError(
          absl::StrCat(path_, ": cannot encode ", Quoted(text), ": ", error));
    }
    return std::vector<int32_t>(ids.begin(), ids.end());
  }

  std::string Decode(std::span<const int32_t> tokens) const override {
    // The model may have rows, and so produce ids, that the tokenizer has no piece for.
    std::vector<int> ids;
    for (const int32_t id : tokens) {
      if (id >= 0 && id < model_->size()) ids.push_back(id);
    }
    std::string text;
    if (!model_->Decode(ids, &text)) text.clear();
    return text;
  }

  bool IsSpecial(int32_t token) const override {
    return token < 0 || token >= model_->size() || model_->IsSpecial(token);
  }

 private:
  std::unique_ptr<SentencePieceShim> model_;
  std::string path_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> OpenSentencePiece(const std::string& path) {
  BB_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(path));
  std::string error;
  std::unique_ptr<SentencePieceShim> model = SentencePieceShim::Load(bytes, &error);
  if (model == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(
        path, ": not a SentencePiece model (", bytes.size(), " bytes): ", Quoted(error)));
  }
  return std::make_unique<SentencePieceTokenizer>(std::move(model), path);
}

}  // namespace bitbudget

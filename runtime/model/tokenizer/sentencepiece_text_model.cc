#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "runtime/base/json.h"
#include "runtime/model/tokenizer/sentencepiece_shim.h"
#include "runtime/model/tokenizer/text_model.h"

namespace bitbudget {
namespace {

class SentencePieceModel : public TextModel {
 public:
  explicit SentencePieceModel(std::unique_ptr<SentencePieceShim> model)
      : model_(std::move(model)) {}

  absl::Status Encode(std::span<const absl::string_view> pieces,
                      std::vector<int32_t>* ids) const override {
    for (const absl::string_view piece : pieces) {
      std::vector<int> found;
      std::string error;
      if (!model_->Encode(std::string(piece), &found, &error)) {
        return absl::InvalidArgumentError(
            absl::StrCat("cannot encode ", Quoted(piece), ": ", error));
      }
      ids->insert(ids->end(), found.begin(), found.end());
    }
    return absl::OkStatus();
  }

  std::string Decode(std::span<const int32_t> ids) const override {
    std::string text;
    if (!model_->Decode(std::vector<int>(ids.begin(), ids.end()), &text)) text.clear();
    return text;
  }

 private:
  std::unique_ptr<SentencePieceShim> model_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<TextModel>> MakeSentencePiece(const TokenizerData& data) {
  std::string error;
  std::unique_ptr<SentencePieceShim> model = SentencePieceShim::Load(data.sentencepiece, &error);
  if (model == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(
        "not a SentencePiece model (", data.sentencepiece.size(), " bytes): ", Quoted(error)));
  }
  return std::make_unique<SentencePieceModel>(std::move(model));
}

}  // namespace bitbudget

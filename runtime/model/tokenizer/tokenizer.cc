#include "runtime/model/tokenizer/tokenizer.h"

#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "runtime/base/json.h"
#include "runtime/base/mapped_file.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/utf8.h"
#include "runtime/model/tokenizer/gguf_tokenizer.h"
#include "runtime/model/tokenizer/pre_tokenizer.h"
#include "runtime/model/tokenizer/special_tokens.h"
#include "runtime/model/tokenizer/text_model.h"

namespace bitbudget {
namespace {

// Spaces before parts of the text are put there by the normalizer (kEveryPart), or later, when
// tokens have been looked for in what the normalizer made.
bool PrefixesLate(const TokenizerData& data) {
  return data.space_prefix == SpacePrefix::kPartsWithoutSpace ||
         data.space_prefix == SpacePrefix::kStartWithoutSpace;
}

class TokenizerOfData : public Tokenizer {
 public:
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Create(TokenizerData data) {
    auto tokenizer = std::make_unique<TokenizerOfData>(std::move(data));
    const absl::Status status = tokenizer->Build();
    if (status.ok()) return tokenizer;
    return absl::Status(status.code(),
                        absl::StrCat(tokenizer->data_.source, ": ", status.message()));
  }

  explicit TokenizerOfData(TokenizerData data) : data_(std::move(data)) {}

  const TokenizerData& data() const override { return data_; }

  absl::StatusOr<std::vector<int32_t>> Encode(absl::string_view text,
                                              const EncodeOptions& options) const override {
    std::string valid;
    if (needs_utf8_) {
      valid = ReplaceInvalidUtf8(text);
      text = valid;
    }
    std::vector<int32_t> ids;
    for (const SpecialTokens::Part& part : raw_tokens_.Split(text, options.parse_special)) {
      if (part.id >= 0) {
        ids.push_back(part.id);
        continue;
      }
      const std::string normalized = Normalize(part.text);
      const bool at_start = part.text.data() == text.data();
      for (const SpecialTokens::Part& rest :
           normalized_tokens_.Split(normalized, options.parse_special)) {
        if (rest.id >= 0) {
          ids.push_back(rest.id);
          continue;
        }
        const bool first = at_start && rest.text.data() == normalized.data();
        if (absl::Status status = EncodePart(rest.text, first, &ids); !status.ok()) {
          return absl::InvalidArgumentError(absl::StrCat(data_.source, ": ", status.message()));
        }
      }
    }
    return ids;
  }

  std::string Decode(std::span<const int32_t> tokens) const override {
    std::string text;
    std::vector<int32_t> run;  // of tokens that the model decodes together
    const auto end_run = [&] {
      if (!run.empty()) text += model_->Decode(run);
      run.clear();
    };
    for (const int32_t id : tokens) {
      if (id < 0 || id >= vocab_size()) continue;
      const TokenType type = data_.tokens[id].type;
      if (type == TokenType::kControl) continue;
      if (IsLibrarys(id) || (type != TokenType::kUserDefined && type != TokenType::kUnknown)) {
        run.push_back(id);
        continue;
      }
      end_run();
      if (type == TokenType::kUserDefined) text += data_.tokens[id].text;
    }
    end_run();
    // The library takes its space away itself.
    if (data_.sentencepiece.empty() && data_.space_prefix != SpacePrefix::kNone &&
        absl::StartsWith(text, " ")) {
      text.erase(0, 1);
    }
    return text;
  }

 private:
  absl::Status Build() {
    BB_RETURN_IF_ERROR(Check());
    if (!data_.sentencepiece.empty()) {
      BB_ASSIGN_OR_RETURN(model_, MakeSentencePiece(data_));
    } else {
      switch (data_.kind) {
        case TokenizerKind::kUnigram:
          return absl::UnimplementedError("a unigram tokenizer needs its tokenizer.model");
        case TokenizerKind::kScoreBpe: {
          BB_ASSIGN_OR_RETURN(model_, MakeScoreBpe(data_));
          break;
        }
        case TokenizerKind::kByteLevelBpe: {
          BB_ASSIGN_OR_RETURN(model_, MakeByteLevelBpe(data_));
          break;
        }
        case TokenizerKind::kByteFallbackBpe: {
          BB_ASSIGN_OR_RETURN(model_, MakeByteFallbackBpe(data_));
          break;
        }
      }
    }
    BB_ASSIGN_OR_RETURN(pre_tokenizer_, PreTokenizer::Create(data_.pre_steps));
    needs_utf8_ = data_.sentencepiece.empty() && data_.kind != TokenizerKind::kScoreBpe;
    for (size_t i = 0; i < data_.tokens.size(); ++i) {
      const VocabularyToken& token = data_.tokens[i];
      const auto id = static_cast<int32_t>(i);
      const bool user_defined = token.type == TokenType::kUserDefined;
      if (!user_defined && token.type != TokenType::kControl && token.type != TokenType::kUnknown) {
        continue;
      }
      if (token.text.empty() || (user_defined && IsLibrarys(id))) continue;
      if (token.left_strip || token.right_strip) needs_utf8_ = true;
      const SpecialTokens::Token special{id, user_defined, token.left_strip, token.right_strip};
      if (token.normalized) {
        normalized_tokens_.Add(Normalize(token.text), special);
      } else {
        raw_tokens_.Add(token.text, special);
      }
    }
    return absl::OkStatus();
  }

  absl::Status Check() const {
    const auto count = static_cast<int32_t>(data_.tokens.size());
    for (size_t i = 0; i < data_.merges.size(); ++i) {
      const auto [left, right] = data_.merges[i];
      if (left < 0 || left >= count || right < 0 || right >= count) {
        return absl::InvalidArgumentError(absl::StrCat(
            "merge ", i, " names token ", left, " or ", right, ", but there are ", count));
      }
    }
    for (const auto& [name, id] : {std::pair("beginning-of-sequence", data_.bos_id),
                                   std::pair("end-of-sequence", data_.eos_id),
                                   std::pair("unknown", data_.unknown_id),
                                   std::pair("padding", data_.padding_id)}) {
      if (id < -1 || id >= count) {
        return absl::InvalidArgumentError(
            absl::StrCat("the ", name, " token is ", id, ", but there are ", count, " tokens"));
      }
    }
    return absl::OkStatus();
  }

  // Whether SentencePiece's library knows the token.
  bool IsLibrarys(int32_t id) const {
    return !data_.sentencepiece.empty() && !data_.tokens[id].added;
  }

  std::string Normalize(absl::string_view text) const {
    if (!data_.sentencepiece.empty()) return std::string(text);  // the library does it
    std::string normalized = data_.nfc ? ToNfc(text) : std::string(text);
    if (data_.space_prefix == SpacePrefix::kEveryPart) normalized.insert(0, 1, ' ');
    if (data_.escape_spaces && !PrefixesLate(data_)) Escape(&normalized);
    return normalized;
  }

  // `first`: the part begins the text.
  absl::Status EncodePart(absl::string_view part, bool first, std::vector<int32_t>* ids) const {
    std::string changed;
    if (PrefixesLate(data_) && data_.sentencepiece.empty()) {
      changed = std::string(part);
      if (data_.escape_spaces) Escape(&changed);
      const absl::string_view space = data_.escape_spaces ? kBlockSpace : " ";
      if ((first || data_.space_prefix == SpacePrefix::kPartsWithoutSpace) &&
          !absl::StartsWith(changed, space)) {
        changed.insert(0, space.data(), space.size());
      }
      part = changed;
    }
    BB_ASSIGN_OR_RETURN(const std::vector<absl::string_view> pieces, pre_tokenizer_.Split(part));
    return model_->Encode(pieces, ids);
  }

  static void Escape(std::string* text) { absl::StrReplaceAll({{" ", kBlockSpace}}, text); }

  const TokenizerData data_;
  SpecialTokens raw_tokens_;         // looked for before the normalizer
  SpecialTokens normalized_tokens_;  // and after it
  PreTokenizer pre_tokenizer_;
  std::unique_ptr<TextModel> model_;
  bool needs_utf8_ = false;
};

absl::StatusOr<std::optional<TokenizerData>> ReadGgufTokenizer(const std::string& path) {
  BB_ASSIGN_OR_RETURN(const MappedFile mapped, MappedFile::Open(path));
  BB_ASSIGN_OR_RETURN(const GgufFile file, ParseGguf(mapped.bytes(), path));
  return TokenizerDataFromGguf(file);
}

}  // namespace

bool Tokenizer::IsSpecial(int32_t token) const {
  if (token < 0 || token >= vocab_size()) return true;
  const TokenType type = data().tokens[token].type;
  return type == TokenType::kControl || type == TokenType::kUnknown || type == TokenType::kUnused;
}

absl::StatusOr<std::unique_ptr<Tokenizer>> MakeTokenizer(TokenizerData data) {
  return TokenizerOfData::Create(std::move(data));
}

absl::StatusOr<std::unique_ptr<Tokenizer>> OpenTokenizer(const std::string& path) {
  std::error_code error;
  const bool is_folder = std::filesystem::is_directory(path, error);
  BB_ASSIGN_OR_RETURN(std::optional<TokenizerData> data,
                      is_folder ? ReadTokenizerData(path) : ReadGgufTokenizer(path));
  if (!data.has_value()) return nullptr;
  return MakeTokenizer(*std::move(data));
}

}  // namespace bitbudget

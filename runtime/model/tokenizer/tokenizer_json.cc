#include "runtime/model/tokenizer/tokenizer_json.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "runtime/base/json.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/utf8.h"
#include "runtime/model/tokenizer/byte_level.h"
#include "runtime/model/tokenizer/json_part.h"
#include "runtime/model/tokenizer/post_processor.h"
#include "runtime/model/tokenizer/pre_tokenizer.h"

namespace bitbudget {
namespace {

using nlohmann::json;

// Ids may have holes, so a small file could ask for any memory. The largest vocabularies that are
// in use have 0.9 million tokens.
constexpr int64_t kMaxTokens = 1 << 20;

class Reader {
 public:
  explicit Reader(const std::string& path) { data_.source = path; }

  absl::StatusOr<TokenizerData> Read(const JsonPart& root) {
    if (!root.value().is_object()) return root.Invalid("is not an object");
    BB_RETURN_IF_ERROR(ReadNormalizer(root.Get("normalizer")));
    BB_RETURN_IF_ERROR(ReadPreTokenizer(root.Get("pre_tokenizer")));
    BB_RETURN_IF_ERROR(ReadModel(root.Get("model")));
    BB_RETURN_IF_ERROR(ReadAddedTokens(root));
    BB_RETURN_IF_ERROR(ReadPostProcessor(root.Get("post_processor"), ids_, &data_));
    if (data_.kind == TokenizerKind::kByteLevelBpe) {
      data_.pre_name = NameOfPreTokenizer(data_.pre_steps, data_.ignore_merges);
    }
    return std::move(data_);
  }

 private:
  absl::Status ReadNormalizer(const JsonPart& part) {
    if (part.is_null()) return absl::OkStatus();
    BB_ASSIGN_OR_RETURN(const absl::string_view type, part.Type());
    if (type == "Sequence") {
      BB_ASSIGN_OR_RETURN(const std::vector<JsonPart> items, part.Items("normalizers"));
      for (const JsonPart& item : items) BB_RETURN_IF_ERROR(ReadNormalizer(item));
      return absl::OkStatus();
    }
    if (type == "NFC") {
      data_.nfc = true;
      return absl::OkStatus();
    }
    if (type == "Prepend") {
      BB_ASSIGN_OR_RETURN(const absl::string_view text, part.Text("prepend", ""));
      if (text != kBlockSpace) return part.NotSupported(" (U+2581 is)");
      data_.space_prefix = SpacePrefix::kEveryPart;
      return absl::OkStatus();
    }
    if (type == "Replace") {
      BB_ASSIGN_OR_RETURN(const absl::string_view from, part.Get("pattern").Text("String", ""));
      BB_ASSIGN_OR_RETURN(const absl::string_view to, part.Text("content", ""));
      if (from != " " || to != kBlockSpace) return part.NotSupported(" (\" \" by U+2581 is)");
      data_.escape_spaces = true;
      return absl::OkStatus();
    }
    return part.Get("type").NotSupported(" (NFC, Prepend, Replace and Sequence are)");
  }

  absl::Status ReadPreTokenizer(const JsonPart& part) {
    if (part.is_null()) return absl::OkStatus();
    BB_ASSIGN_OR_RETURN(const absl::string_view type, part.Type());
    if (type == "Sequence") {
      BB_ASSIGN_OR_RETURN(const std::vector<JsonPart> items, part.Items("pretokenizers"));
      for (const JsonPart& item : items) BB_RETURN_IF_ERROR(ReadPreTokenizer(item));
      return absl::OkStatus();
    }
    // What follows sees GPT-2's characters for bytes.
    if (byte_level_) return part.NotSupported(" after ByteLevel");
    if (type == "ByteLevel") return ReadByteLevel(part);
    if (type == "Split") return ReadSplit(part);
    if (type == "Digits") {
      BB_ASSIGN_OR_RETURN(const bool individual, part.Bool("individual_digits", false));
      data_.pre_steps.push_back({individual ? R"(\p{N})" : R"(\p{N}+)"});
      return absl::OkStatus();
    }
    if (type == "Metaspace") return ReadMetaspace(part);
    return part.Get("type").NotSupported(" (ByteLevel, Digits, Metaspace, Sequence and Split are)");
  }

  absl::Status ReadByteLevel(const JsonPart& part) {
    byte_level_ = true;
    BB_ASSIGN_OR_RETURN(const bool use_regex, part.Bool("use_regex", true));
    BB_ASSIGN_OR_RETURN(const bool prefix, part.Bool("add_prefix_space", true));
    if (use_regex) data_.pre_steps.push_back({kGpt2Expression});
    if (prefix) {
      // The space comes before this step, but after those before it.
      if (data_.pre_steps.size() > (use_regex ? 1 : 0)) {
        return part.Get("add_prefix_space").NotSupported(" after other steps");
      }
      data_.space_prefix = SpacePrefix::kPartsWithoutSpace;
    }
    return absl::OkStatus();
  }

  absl::Status ReadSplit(const JsonPart& part) {
    SplitStep step;
    const JsonPart pattern = part.Get("pattern");
    if (!pattern.Get("Regex").is_null()) {
      BB_ASSIGN_OR_RETURN(const absl::string_view expression, pattern.Text("Regex", ""));
      step.expression = std::string(expression);
    } else {
      BB_ASSIGN_OR_RETURN(const absl::string_view literal, pattern.Text("String", ""));
      if (literal.empty()) return pattern.Invalid("has neither a Regex nor a String");
      step.expression =
          absl::StrCat("\\Q", absl::StrReplaceAll(literal, {{"\\E", "\\E\\\\E\\Q"}}), "\\E");
    }
    BB_ASSIGN_OR_RETURN(const bool invert, part.Bool("invert", false));
    BB_ASSIGN_OR_RETURN(const absl::string_view behavior, part.Text("behavior", ""));
    if (behavior == "Isolated") {
      step.behavior = SplitBehavior::kIsolated;  // the same pieces when it is inverted
    } else if (invert) {
      return part.Get("invert").NotSupported(absl::StrCat(" with ", Quoted(behavior)));
    } else if (behavior == "Removed") {
      step.behavior = SplitBehavior::kRemoved;
    } else if (behavior == "MergedWithPrevious") {
      step.behavior = SplitBehavior::kMergedWithPrevious;
    } else if (behavior == "MergedWithNext") {
      step.behavior = SplitBehavior::kMergedWithNext;
    } else {
      return part.Get("behavior").NotSupported("");
    }
    data_.pre_steps.push_back(std::move(step));
    return absl::OkStatus();
  }

  absl::Status ReadMetaspace(const JsonPart& part) {
    BB_ASSIGN_OR_RETURN(const absl::string_view replacement, part.Text("replacement", kBlockSpace));
    if (replacement != kBlockSpace) {
      return part.Get("replacement").NotSupported(" (U+2581 is)");
    }
    if (!data_.pre_steps.empty() || data_.space_prefix != SpacePrefix::kNone) {
      return part.NotSupported(" after other steps");
    }
    // Older files say whether, newer ones where.
    BB_ASSIGN_OR_RETURN(const bool prefix, part.Bool("add_prefix_space", true));
    BB_ASSIGN_OR_RETURN(const absl::string_view scheme,
                        part.Text("prepend_scheme", prefix ? "always" : "never"));
    if (scheme == "always") {
      data_.space_prefix = SpacePrefix::kPartsWithoutSpace;
    } else if (scheme == "first") {
      data_.space_prefix = SpacePrefix::kStartWithoutSpace;
    } else if (scheme != "never") {
      return part.Get("prepend_scheme").NotSupported("");
    }
    data_.escape_spaces = true;
    BB_ASSIGN_OR_RETURN(const bool split, part.Bool("split", true));
    if (split) {
      data_.pre_steps.push_back({std::string(kBlockSpace), SplitBehavior::kMergedWithNext});
    }
    return absl::OkStatus();
  }

  absl::Status ReadModel(const JsonPart& part) {
    BB_ASSIGN_OR_RETURN(const absl::string_view type, part.Type());
    if (!type.empty() && type != "BPE") return part.Get("type").NotSupported(" (BPE is)");
    for (const char* const name : {"dropout", "continuing_subword_prefix", "end_of_word_suffix"}) {
      const JsonPart field = part.Get(name);
      if (!field.is_null() && field.value() != "" && field.value() != 0) {
        return field.NotSupported("");
      }
    }
    BB_ASSIGN_OR_RETURN(data_.ignore_merges, part.Bool("ignore_merges", false));
    BB_ASSIGN_OR_RETURN(const bool byte_fallback, part.Bool("byte_fallback", false));
    if (!byte_level_ && !byte_fallback) {
      return part.Get("byte_fallback").NotSupported(" without a ByteLevel pre-tokenizer");
    }
    data_.kind = byte_level_ ? TokenizerKind::kByteLevelBpe : TokenizerKind::kByteFallbackBpe;

    const JsonPart vocabulary = part.Get("vocab");
    if (!vocabulary.value().is_object()) return vocabulary.Invalid("is not an object");
    for (const auto& [text, id] : vocabulary.value().items()) {
      BB_RETURN_IF_ERROR(AddToken(text, JsonPart(id, data_.source + ": model.vocab")));
    }
    if (!byte_level_) {
      for (VocabularyToken& token : data_.tokens) {
        if (ByteOfToken(token.text) >= 0) token.type = TokenType::kByte;
      }
    }
    BB_RETURN_IF_ERROR(ReadMerges(part));
    BB_ASSIGN_OR_RETURN(const absl::string_view unknown, part.Text("unk_token", ""));
    if (!unknown.empty()) {
      const auto found = ids_.find(unknown);
      if (found == ids_.end()) return part.Get("unk_token").Invalid("is not in model.vocab");
      data_.unknown_id = found->second;
      data_.tokens[found->second].type = TokenType::kUnknown;
    }
    return absl::OkStatus();
  }

  absl::Status AddToken(const std::string& text, const JsonPart& id) {
    if (!id.value().is_number_integer() || id.value() < 0 || id.value() >= kMaxTokens) {
      return id.Invalid(absl::StrCat("of ", Quoted(text), " is not an id from 0 to ", kMaxTokens));
    }
    const auto index = id.value().get<size_t>();
    if (index >= data_.tokens.size()) {
      // Ids that no token has.
      data_.tokens.resize(index + 1, {.text = "", .type = TokenType::kUnused});
    }
    VocabularyToken& token = data_.tokens[index];
    if (token.type != TokenType::kUnused) {
      return id.Invalid(absl::StrCat("is the id of ", Quoted(token.text), " and ", Quoted(text)));
    }
    token.text = text;
    token.type = TokenType::kNormal;
    ids_.emplace(text, static_cast<int32_t>(index));
    return absl::OkStatus();
  }

  absl::Status ReadMerges(const JsonPart& part) {
    BB_ASSIGN_OR_RETURN(const std::vector<JsonPart> merges, part.Items("merges"));
    data_.merges.reserve(merges.size());
    for (const JsonPart& merge : merges) {
      std::string left, right;
      const json& value = merge.value();
      if (value.is_string()) {
        const auto& text = value.get_ref<const std::string&>();
        const size_t space = text.find(' ');
        if (space == std::string::npos || text.find(' ', space + 1) != std::string::npos) {
          return merge.Invalid("is not two tokens with a space between them");
        }
        left = text.substr(0, space);
        right = text.substr(space + 1);
      } else if (value.is_array() && value.size() == 2 && value[0].is_string() &&
                 value[1].is_string()) {
        left = value[0].get<std::string>();
        right = value[1].get<std::string>();
      } else {
        return merge.Invalid("is not a pair of tokens");
      }
      const auto left_id = ids_.find(left);
      const auto right_id = ids_.find(right);
      if (left_id == ids_.end() || right_id == ids_.end() || !ids_.contains(left + right)) {
        const std::string& missing =
            left_id == ids_.end() ? left : (right_id == ids_.end() ? right : left + right);
        return merge.Invalid(absl::StrCat("needs ", Quoted(missing), ", which is no token"));
      }
      data_.merges.emplace_back(left_id->second, right_id->second);
    }
    return absl::OkStatus();
  }

  absl::Status ReadAddedTokens(const JsonPart& root) {
    if (root.Get("added_tokens").is_null()) return absl::OkStatus();
    BB_ASSIGN_OR_RETURN(const std::vector<JsonPart> items, root.Items("added_tokens"));
    for (const JsonPart& item : items) {
      BB_ASSIGN_OR_RETURN(const absl::string_view content, item.Text("content", ""));
      const std::string text(content);
      if (text.empty()) return item.Invalid("has no content");
      const auto known = ids_.find(text);
      if (known == ids_.end()) {
        BB_RETURN_IF_ERROR(AddToken(text, item.Get("id")));
      } else if (item.Get("id").value() != known->second) {
        return item.Get("id").Invalid(
            absl::StrCat("of ", Quoted(text), " is ", known->second, " in model.vocab"));
      }
      VocabularyToken& token = data_.tokens[ids_.at(text)];
      BB_ASSIGN_OR_RETURN(const bool special, item.Bool("special", false));
      if (ids_.at(text) != data_.unknown_id) {
        token.type = special ? TokenType::kControl : TokenType::kUserDefined;
      }
      BB_ASSIGN_OR_RETURN(token.left_strip, item.Bool("lstrip", false));
      BB_ASSIGN_OR_RETURN(token.right_strip, item.Bool("rstrip", false));
      BB_ASSIGN_OR_RETURN(token.normalized, item.Bool("normalized", !special));
      BB_ASSIGN_OR_RETURN(const bool single_word, item.Bool("single_word", false));
      if (single_word) return item.NotSupported(": single_word");
    }
    return absl::OkStatus();
  }

  TokenizerData data_;
  absl::flat_hash_map<std::string, int32_t> ids_;
  bool byte_level_ = false;
};

}  // namespace

absl::StatusOr<TokenizerData> ParseTokenizerJson(absl::string_view text, const std::string& path) {
  BB_ASSIGN_OR_RETURN(const json document, ParseJson(text, path));
  return Reader(path).Read(JsonPart(document, path + ":"));
}

}  // namespace bitbudget

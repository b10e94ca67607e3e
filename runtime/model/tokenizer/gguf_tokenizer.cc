#include "runtime/model/tokenizer/gguf_tokenizer.h"

#include <glog/logging.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "runtime/base/json.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/utf8.h"
#include "runtime/model/tokenizer/gguf_ends.h"
#include "runtime/model/tokenizer/pre_tokenizer.h"

namespace bitbudget {
namespace {

constexpr char kModel[] = "tokenizer.ggml.model";
constexpr char kPre[] = "tokenizer.ggml.pre";
constexpr char kTokens[] = "tokenizer.ggml.tokens";
constexpr char kScores[] = "tokenizer.ggml.scores";
constexpr char kTypes[] = "tokenizer.ggml.token_type";
constexpr char kMerges[] = "tokenizer.ggml.merges";
constexpr char kBos[] = "tokenizer.ggml.bos_token_id";
constexpr char kEos[] = "tokenizer.ggml.eos_token_id";
constexpr char kUnknown[] = "tokenizer.ggml.unknown_token_id";
constexpr char kPadding[] = "tokenizer.ggml.padding_token_id";
constexpr char kAddBos[] = "tokenizer.ggml.add_bos_token";
constexpr char kAddEos[] = "tokenizer.ggml.add_eos_token";
constexpr char kAddSpacePrefix[] = "tokenizer.ggml.add_space_prefix";
constexpr char kRemoveExtraWhitespaces[] = "tokenizer.ggml.remove_extra_whitespaces";
constexpr char kChatTemplate[] = "tokenizer.chat_template";

constexpr float kAddedScore = -1000;  // of tokens that text never merges into
constexpr float kUnusedScore = -10000;

class Reader {
 public:
  explicit Reader(const GgufFile& file) : file_(file) {}

  absl::StatusOr<std::optional<TokenizerData>> Read() {
    const GgufValue* const model = file_.Find(kModel);
    if (model == nullptr) return std::nullopt;
    const std::optional<absl::string_view> name = model->Text();
    if (!name.has_value()) return Invalid(kModel, *model, "is not a string");
    if (*name == "none" || *name == "no_vocab") return std::nullopt;
    data_.source = file_.path;
    if (*name == "llama") {
      data_.kind = TokenizerKind::kScoreBpe;
    } else if (*name == "gpt2") {
      data_.kind = TokenizerKind::kByteLevelBpe;
    } else {
      return absl::UnimplementedError(absl::StrCat(
          file_.path, ": ", kModel, ": ", Quoted(*name), " is not supported (llama and gpt2 are)"));
    }
    BB_RETURN_IF_ERROR(ReadTokens());
    if (data_.kind == TokenizerKind::kScoreBpe) {
      BB_RETURN_IF_ERROR(ReadScoreBpe());
    } else {
      BB_RETURN_IF_ERROR(ReadByteLevelBpe());
    }
    BB_RETURN_IF_ERROR(ReadId(kBos, &data_.bos_id));
    BB_RETURN_IF_ERROR(ReadId(kEos, &data_.eos_id));
    BB_RETURN_IF_ERROR(ReadId(kUnknown, &data_.unknown_id));
    BB_RETURN_IF_ERROR(ReadId(kPadding, &data_.padding_id));
    BB_RETURN_IF_ERROR(ReadFlag(kAddBos, &data_.add_bos));
    BB_RETURN_IF_ERROR(ReadFlag(kAddEos, &data_.add_eos));
    // llama.cpp's defaults.
    const bool scores = data_.kind == TokenizerKind::kScoreBpe;
    if (!data_.add_bos.has_value()) data_.add_bos = scores;
    if (*data_.add_bos && data_.bos_id < 0) {
      const int32_t id = scores ? 1 : 11;
      data_.add_bos = id < static_cast<int32_t>(data_.tokens.size());
      if (*data_.add_bos) data_.bos_id = id;
    }
    if (const GgufValue* const value = file_.Find(kChatTemplate)) {
      const auto text = value->Text();
      if (!text.has_value()) return Invalid(kChatTemplate, *value, "is not a string");
      data_.chat_template = std::string(*text);
    }
    return std::move(data_);
  }

 private:
  absl::Status Invalid(const char* key, const GgufValue& value, absl::string_view problem) const {
    return absl::InvalidArgumentError(
        absl::StrCat(file_.path, ": ", key, ": ", value.Describe(), " ", problem));
  }

  absl::Status Missing(const char* key) const {
    return absl::InvalidArgumentError(absl::StrCat(file_.path, ": has no ", key));
  }

  absl::Status BadItem(const char* key, size_t item, absl::string_view problem) const {
    return absl::InvalidArgumentError(
        absl::StrCat(file_.path, ": ", key, "[", item, "]: ", problem));
  }

  absl::Status ReadTokens() {
    const GgufValue* const tokens = file_.Find(kTokens);
    if (tokens == nullptr) return Missing(kTokens);
    const auto texts = tokens->Texts();
    if (!texts.has_value()) return Invalid(kTokens, *tokens, "is not an array of strings");
    if (texts->empty() || texts->size() > std::numeric_limits<int32_t>::max()) {
      return Invalid(kTokens, *tokens, "is not a vocabulary");
    }
    data_.tokens.resize(texts->size());
    ids_.reserve(texts->size());
    for (size_t i = 0; i < texts->size(); ++i) {
      data_.tokens[i].text = std::string((*texts)[i]);
      if ((*texts)[i].empty()) continue;  // a hole
      const auto [first, inserted] = ids_.emplace((*texts)[i], static_cast<int32_t>(i));
      if (!inserted) {
        return BadItem(
            kTokens, i, absl::StrCat(Quoted((*texts)[i]), " is token ", first->second, " as well"));
      }
    }
    if (const GgufValue* const types = file_.Find(kTypes)) {
      const auto numbers = types->Integers();
      if (!numbers.has_value()) return Invalid(kTypes, *types, "is not an array of integers");
      if (numbers->size() != data_.tokens.size()) return WrongCount(kTypes, *types);
      for (size_t i = 0; i < numbers->size(); ++i) {
        const int64_t type = (*numbers)[i];
        if (type < 1 || type > 6) {
          return BadItem(kTypes, i, absl::StrCat(type, " is not a token type (1 to 6)"));
        }
        data_.tokens[i].type = static_cast<TokenType>(type);
      }
    }
    for (VocabularyToken& token : data_.tokens) {
      if (token.text.empty()) token.type = TokenType::kUnused;
    }
    return absl::OkStatus();
  }

  absl::Status WrongCount(const char* key, const GgufValue& value) const {
    return Invalid(
        key, value, absl::StrCat("is not one for each of ", data_.tokens.size(), " tokens"));
  }

  absl::Status ReadScoreBpe() {
    const GgufValue* const scores = file_.Find(kScores);
    if (scores == nullptr) return Missing(kScores);
    const auto numbers = scores->Numbers();
    if (!numbers.has_value()) return Invalid(kScores, *scores, "is not an array of numbers");
    if (numbers->size() != data_.tokens.size()) return WrongCount(kScores, *scores);
    for (size_t i = 0; i < numbers->size(); ++i) {
      const auto score = static_cast<float>((*numbers)[i]);
      if (!std::isfinite(score)) {
        return BadItem(kScores, i, absl::StrCat((*numbers)[i], " is not a finite float"));
      }
      data_.tokens[i].score = score;
    }
    data_.escape_spaces = true;
    std::optional<bool> prefix, remove;
    BB_RETURN_IF_ERROR(ReadFlag(kAddSpacePrefix, &prefix));
    BB_RETURN_IF_ERROR(ReadFlag(kRemoveExtraWhitespaces, &remove));
    if (prefix.value_or(true)) data_.space_prefix = SpacePrefix::kEveryPart;
    data_.remove_extra_whitespaces = remove.value_or(false);
    return absl::OkStatus();
  }

  absl::Status ReadByteLevelBpe() {
    std::string name = "default";
    if (const GgufValue* const pre = file_.Find(kPre)) {
      const auto text = pre->Text();
      if (!text.has_value()) return Invalid(kPre, *pre, "is not a string");
      name = std::string(*text);
    }
    const KnownPreTokenizer* const known = FindPreTokenizer(name);
    if (known == nullptr) {
      return absl::UnimplementedError(
          absl::StrCat(file_.path, ": ", kPre, ": ", Quoted(name), " is not supported"));
    }
    data_.pre_name = name;
    data_.pre_steps = known->steps;
    data_.ignore_merges = known->ignore_merges;
    data_.add_bos = known->add_bos;

    const GgufValue* const merges = file_.Find(kMerges);
    if (merges == nullptr) return Missing(kMerges);
    const auto texts = merges->Texts();
    if (!texts.has_value()) return Invalid(kMerges, *merges, "is not an array of strings");
    data_.merges.reserve(texts->size());
    for (size_t i = 0; i < texts->size(); ++i) {
      const absl::string_view text = (*texts)[i];
      const size_t space = text.empty() ? absl::string_view::npos : text.find(' ', 1);
      if (space == absl::string_view::npos) {
        return BadItem(
            kMerges, i, absl::StrCat(Quoted(text), " is not two tokens with a space between them"));
      }
      const absl::string_view left = text.substr(0, space);
      const absl::string_view right = text.substr(space + 1);
      for (const absl::string_view part : {left, right}) {
        if (!ids_.contains(part)) {
          return BadItem(
              kMerges, i, absl::StrCat(Quoted(text), ": ", Quoted(part), " is no token"));
        }
      }
      data_.merges.emplace_back(ids_.at(left), ids_.at(right));
    }
    return absl::OkStatus();
  }

  absl::Status ReadId(const char* key, int32_t* id) const {
    const GgufValue* const value = file_.Find(key);
    if (value == nullptr) return absl::OkStatus();
    const auto number = value->Integer();
    if (!number.has_value() || *number < 0 ||
        *number >= static_cast<int64_t>(data_.tokens.size())) {
      return Invalid(key, *value, absl::StrCat("is none of ", data_.tokens.size(), " tokens"));
    }
    *id = static_cast<int32_t>(*number);
    return absl::OkStatus();
  }

  absl::Status ReadFlag(const char* key, std::optional<bool>* flag) const {
    const GgufValue* const value = file_.Find(key);
    if (value == nullptr) return absl::OkStatus();
    const auto boolean = value->Bool();
    if (!boolean.has_value()) return Invalid(key, *value, "is not true or false");
    *flag = *boolean;
    return absl::OkStatus();
  }

  const GgufFile& file_;
  TokenizerData data_;
  absl::flat_hash_map<absl::string_view, int32_t> ids_;
};

// Whether a user-defined token can be written as a normal one: a character that stands in no other
// token is never merged, so it comes out as itself either way. llama.cpp puts a space before text
// that follows a user-defined token, SentencePiece does not.
bool IsLoneCharacter(const TokenizerData& data, size_t id) {
  const std::string& text = data.tokens[id].text;
  if (text.empty() || Utf8Length(text.front()) != text.size()) return false;
  for (size_t other = 0; other < data.tokens.size(); ++other) {
    if (other != id && data.tokens[other].type == TokenType::kNormal &&
        data.tokens[other].text.find(text) != std::string::npos) {
      return false;
    }
  }
  return true;
}

// Scores with which merging by score does what merging by rank does. They exist when all merges
// into a token are adjacent in the list, and no pair but the listed ones makes a token.
absl::StatusOr<std::vector<float>> ScoresOfMerges(const TokenizerData& data) {
  const auto fail = [&](absl::string_view reason) {
    return absl::UnimplementedError(
        absl::StrCat(data.source,
                     ": GGUF has no form for these merges (",
                     reason,
                     "); give the tokenizer.model that they come from"));
  };
  absl::flat_hash_map<absl::string_view, int32_t> ids;
  for (size_t i = 0; i < data.tokens.size(); ++i) {
    if (data.tokens[i].type == TokenType::kNormal) {
      ids.emplace(data.tokens[i].text, static_cast<int32_t>(i));
    }
  }
  std::vector<float> scores(data.tokens.size(), kAddedScore);
  std::vector<bool> made(data.tokens.size(), false);
  absl::flat_hash_set<std::pair<int32_t, int32_t>> pairs;
  int32_t previous = -1;
  int32_t distinct = 0;
  for (const auto& [left, right] : data.merges) {
    pairs.emplace(left, right);
    const auto token = ids.find(data.tokens[left].text + data.tokens[right].text);
    if (token == ids.end()) return fail("one makes no normal token");
    if (token->second == previous) continue;
    previous = token->second;
    if (made[previous]) {
      return fail(absl::StrCat("those into ", Quoted(token->first), " are not adjacent"));
    }
    made[previous] = true;
    // Exact in a float up to 2^24 merged tokens.
    scores[previous] = -static_cast<float>(distinct++);
  }
  for (const auto& [text, id] : ids) {
    for (size_t cut = Utf8Length(text[0]); cut < text.size(); cut += Utf8Length(text[cut])) {
      const absl::string_view left = text.substr(0, cut);
      const absl::string_view right = text.substr(cut);
      const auto left_id = ids.find(left);
      const auto right_id = ids.find(right);
      // Merging by score starts from any character, also one that is no token.
      const auto reached = [&](absl::string_view part, bool token) {
        return token || Utf8Length(part[0]) >= part.size();
      };
      if (!reached(left, left_id != ids.end()) || !reached(right, right_id != ids.end())) continue;
      if (left_id == ids.end() || right_id == ids.end() ||
          !pairs.contains({left_id->second, right_id->second})) {
        return fail(absl::StrCat(
            Quoted(left), " and ", Quoted(right), " are not merged into ", Quoted(text)));
      }
    }
  }
  return scores;
}

}  // namespace

absl::StatusOr<std::optional<TokenizerData>> TokenizerDataFromGguf(const GgufFile& file) {
  return Reader(file).Read();
}

absl::Status AddTokenizer(const TokenizerData& data,
                          int64_t vocab_size,
                          std::span<const int32_t> ends,
                          GgufWriter* writer) {
  const size_t count = data.tokens.size();
  CHECK_LE(static_cast<int64_t>(count), vocab_size);
  const bool byte_level = data.kind == TokenizerKind::kByteLevelBpe;
  if (data.kind == TokenizerKind::kUnigram) {
    return absl::UnimplementedError(
        absl::StrCat(data.source, ": a unigram tokenizer cannot be written into GGUF"));
  }
  if (byte_level && (data.pre_name.empty() || data.space_prefix != SpacePrefix::kNone)) {
    return absl::UnimplementedError(
        absl::StrCat(data.source, ": GGUF has no name for this pre-tokenizer"));
  }

  std::vector<float> scores;
  if (data.kind == TokenizerKind::kByteFallbackBpe) {
    BB_ASSIGN_OR_RETURN(scores, ScoresOfMerges(data));
  } else if (!byte_level) {
    for (const VocabularyToken& token : data.tokens) {
      scores.push_back(token.added ? kAddedScore : token.score);
    }
  }
  std::vector<std::string> texts;
  std::vector<int32_t> types;
  absl::flat_hash_set<std::string> seen;
  for (const VocabularyToken& token : data.tokens) seen.insert(token.text);
  for (int64_t id = 0; id < vocab_size; ++id) {
    const bool is_token = id < static_cast<int64_t>(count) && !data.tokens[id].text.empty();
    if (!is_token) {
      std::string text = absl::StrCat("[PAD", id, "]");
      while (seen.contains(text)) text += "_";
      texts.push_back(std::move(text));
      types.push_back(static_cast<int32_t>(TokenType::kUnused));
      if (!byte_level) scores.resize(id + 1, kUnusedScore);
      continue;
    }
    const VocabularyToken& token = data.tokens[id];
    TokenType type = token.type;
    if (type == TokenType::kUserDefined && !token.added && !data.sentencepiece.empty() &&
        data.space_prefix != SpacePrefix::kNone && IsLoneCharacter(data, id)) {
      type = TokenType::kNormal;
    }
    // It is looked for in the text before spaces are replaced.
    texts.push_back(!byte_level && type == TokenType::kUserDefined
                        ? absl::StrReplaceAll(token.text, {{kBlockSpace, " "}})
                        : token.text);
    types.push_back(static_cast<int32_t>(type));
  }

  writer->AddText(kModel, byte_level ? "gpt2" : "llama");
  writer->AddText(kPre, byte_level ? data.pre_name : "default");
  writer->AddTexts(kTokens, texts);
  if (!byte_level) writer->AddF32s(kScores, scores);
  writer->AddI32s(kTypes, types);
  if (byte_level) {
    std::vector<std::string> merges;
    for (const auto& [left, right] : data.merges) {
      merges.push_back(absl::StrCat(data.tokens[left].text, " ", data.tokens[right].text));
    }
    writer->AddTexts(kMerges, merges);
  }
  const auto add_id = [&](const char* key, int32_t id) {
    if (id >= 0) writer->AddU32(key, static_cast<uint32_t>(id));
  };
  add_id(kBos, data.bos_id);
  AddEndTokens(ends, data.eos_id, writer);
  add_id(kUnknown, data.unknown_id);
  add_id(kPadding, data.padding_id);
  // llama.cpp refuses a file that asks for a token that it does not have.
  const bool ends_with_eos = std::find(ends.begin(), ends.end(), data.eos_id) != ends.end();
  writer->AddBool(kAddBos, data.add_bos.value_or(false) && data.bos_id >= 0);
  writer->AddBool(kAddEos, data.add_eos.value_or(false) && ends_with_eos);
  if (!byte_level) {
    writer->AddBool(kAddSpacePrefix, data.space_prefix != SpacePrefix::kNone);
    writer->AddBool(kRemoveExtraWhitespaces, data.remove_extra_whitespaces);
  }
  if (!data.chat_template.empty()) writer->AddText(kChatTemplate, data.chat_template);
  return absl::OkStatus();
}

}  // namespace bitbudget

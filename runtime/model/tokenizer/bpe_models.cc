#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "runtime/base/json.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/utf8.h"
#include "runtime/model/tokenizer/byte_level.h"
#include "runtime/model/tokenizer/merge_neighbours.h"
#include "runtime/model/tokenizer/text_model.h"

namespace bitbudget {
namespace {

using Vocabulary = absl::flat_hash_map<absl::string_view, int32_t>;

// Whether text may become this token by merging.
bool IsMergeable(TokenType type) {
  return type != TokenType::kControl && type != TokenType::kUnknown && type != TokenType::kByte;
}

// The pairs that may be merged, with their ranks.
class MergeTable {
 public:
  static absl::StatusOr<MergeTable> Create(const TokenizerData& data) {
    Vocabulary vocabulary;
    for (size_t id = 0; id < data.tokens.size(); ++id) {
      if (IsMergeable(data.tokens[id].type)) {
        vocabulary.emplace(data.tokens[id].text, static_cast<int32_t>(id));
      }
    }
    MergeTable table;
    table.merges_.reserve(data.merges.size());
    for (size_t rank = 0; rank < data.merges.size(); ++rank) {
      const auto [left, right] = data.merges[rank];
      const std::string merged = data.tokens[left].text + data.tokens[right].text;
      const auto found = vocabulary.find(merged);
      if (found == vocabulary.end()) {
        return absl::InvalidArgumentError(
            absl::StrCat("merge ", rank, " makes ", Quoted(merged), ", which is no token"));
      }
      // Of equal pairs the first counts.
      table.merges_.emplace(Key(left, right), Merge{static_cast<double>(rank), found->second});
    }
    return table;
  }

  std::optional<Merge> operator()(const Symbol& left, const Symbol& right) const {
    if (left.token < 0 || right.token < 0) return std::nullopt;
    const auto found = merges_.find(Key(left.token, right.token));
    if (found == merges_.end()) return std::nullopt;
    return found->second;
  }

 private:
  static uint64_t Key(int32_t left, int32_t right) {
    return static_cast<uint64_t>(left) << 32 | static_cast<uint32_t>(right);
  }
  absl::flat_hash_map<uint64_t, Merge> merges_;
};

// The tokens of single bytes, "<0x00>" to "<0xFF>"; -1 where there is none.
std::array<int32_t, 256> ByteTokens(const TokenizerData& data) {
  std::array<int32_t, 256> ids;
  ids.fill(-1);
  for (size_t id = 0; id < data.tokens.size(); ++id) {
    if (data.tokens[id].type != TokenType::kByte) continue;
    const int byte = ByteOfToken(data.tokens[id].text);
    if (byte >= 0) ids[byte] = static_cast<int32_t>(id);
  }
  return ids;
}

// A model that merges neighbours. Text repeats its words, so each is merged once in a call.
class MergingModel : public TextModel {
 public:
  absl::Status Encode(std::span<const absl::string_view> pieces,
                      std::vector<int32_t>* ids) const final {
    struct Range {
      size_t begin;
      size_t count;
    };
    absl::flat_hash_map<absl::string_view, Range> known;  // where their ids stand in `ids`
    std::vector<absl::string_view> segments;
    for (const absl::string_view piece : pieces) {
      segments.clear();
      Divide(piece, &segments);
      for (const absl::string_view segment : segments) {
        const size_t begin = ids->size();
        if (segment.size() > kMaxKnownBytes) {
          EncodeSegment(segment, ids);
          continue;
        }
        const auto [found, is_new] = known.try_emplace(segment);
        if (is_new) {
          EncodeSegment(segment, ids);
          found->second = {begin, ids->size() - begin};
        } else {
          const Range range = found->second;
          for (size_t i = 0; i < range.count; ++i) ids->push_back((*ids)[range.begin + i]);
        }
      }
    }
    return absl::OkStatus();
  }

 private:
  static constexpr size_t kMaxKnownBytes = 64;

  // Appends parts of the piece between which nothing can be merged.
  virtual void Divide(absl::string_view piece, std::vector<absl::string_view>* segments) const {
    segments->push_back(piece);
  }
  virtual void EncodeSegment(absl::string_view segment, std::vector<int32_t>* ids) const = 0;
};

// What the models over characters share: U+2581 for spaces, bytes for what is no token.
class CharacterModel : public MergingModel {
 public:
  explicit CharacterModel(const TokenizerData& data) : data_(data), byte_tokens_(ByteTokens(data)) {
    for (size_t id = 0; id < data.tokens.size(); ++id) {
      if (!IsMergeable(data.tokens[id].type)) continue;
      const absl::string_view text = data.tokens[id].text;
      vocabulary_.emplace(text, static_cast<int32_t>(id));
      ForPairs(text, [&](size_t begin, size_t, size_t end) {
        pairs_.insert(text.substr(begin, end - begin));
      });
    }
  }

  std::string Decode(std::span<const int32_t> ids) const override {
    std::string text;
    for (const int32_t id : ids) {
      const VocabularyToken& token = data_.tokens[id];
      if (token.type == TokenType::kByte) {
        if (const int byte = ByteOfToken(token.text); byte >= 0) text += static_cast<char>(byte);
      } else if (data_.escape_spaces) {
        text += absl::StrReplaceAll(token.text, {{kBlockSpace, " "}});
      } else {
        text += token.text;
      }
    }
    return text;
  }

 protected:
  std::optional<int32_t> Find(absl::string_view text) const {
    const auto found = vocabulary_.find(text);
    if (found == vocabulary_.end()) return std::nullopt;
    return found->second;
  }

  void AppendBytes(absl::string_view text, std::vector<int32_t>* ids) const {
    for (const char c : text) {
      const int32_t id = byte_tokens_[static_cast<unsigned char>(c)];
      if (id >= 0) {
        ids->push_back(id);
      } else if (data_.unknown_id >= 0) {
        ids->push_back(data_.unknown_id);
      }
    }
  }

  // Its characters, with their tokens.
  std::vector<Symbol> Characters(absl::string_view text) const {
    std::vector<Symbol> symbols;
    for (size_t begin = 0; begin < text.size();) {
      const size_t end = std::min(begin + Utf8Length(text[begin]), text.size());
      symbols.push_back({begin, end, Find(text.substr(begin, end - begin)).value_or(-1)});
      begin = end;
    }
    return symbols;
  }

  // The ids of merged symbols.
  void Append(absl::string_view text,
              std::span<const Symbol> symbols,
              std::vector<int32_t>* ids) const {
    for (const Symbol& symbol : symbols) {
      if (symbol.token >= 0) {
        ids->push_back(symbol.token);
      } else {
        AppendBytes(text.substr(symbol.begin, symbol.end - symbol.begin), ids);
      }
    }
  }

  const TokenizerData& data_;

 private:
  // Calls `visit(begin, middle, end)` for every two neighbouring characters.
  template <typename Visit>
  static void ForPairs(absl::string_view text, Visit visit) {
    size_t begin = 0;
    size_t middle = text.empty() ? 0 : std::min(Utf8Length(text.front()), text.size());
    while (middle < text.size()) {
      const size_t end = std::min(middle + Utf8Length(text[middle]), text.size());
      visit(begin, middle, end);
      begin = middle;
      middle = end;
    }
  }

  // Two characters that stand side by side in no token are never merged.
  void Divide(absl::string_view piece, std::vector<absl::string_view>* segments) const final {
    if (data_.ignore_merges) {  // whole pieces are looked up
      segments->push_back(piece);
      return;
    }
    size_t start = 0;
    ForPairs(piece, [&](size_t begin, size_t middle, size_t end) {
      if (pairs_.contains(piece.substr(begin, end - begin))) return;
      segments->push_back(piece.substr(start, middle - start));
      start = middle;
    });
    if (start < piece.size()) segments->push_back(piece.substr(start));
  }

  Vocabulary vocabulary_;
  absl::flat_hash_set<absl::string_view> pairs_;  // of characters in tokens
  std::array<int32_t, 256> byte_tokens_;
};

class ScoreBpe : public CharacterModel {
 public:
  using CharacterModel::CharacterModel;

 private:
  void EncodeSegment(absl::string_view segment, std::vector<int32_t>* ids) const override {
    std::vector<Symbol> symbols = Characters(segment);
    MergeNeighbours(&symbols, [&](const Symbol& left, const Symbol& right) -> std::optional<Merge> {
      const auto token = Find(segment.substr(left.begin, right.end - left.begin));
      if (!token.has_value()) return std::nullopt;
      return Merge{-static_cast<double>(data_.tokens[*token].score), *token};
    });
    Append(segment, symbols, ids);
  }
};

class ByteFallbackBpe : public CharacterModel {
 public:
  ByteFallbackBpe(const TokenizerData& data, MergeTable merges)
      : CharacterModel(data), merges_(std::move(merges)) {}

 private:
  void EncodeSegment(absl::string_view segment, std::vector<int32_t>* ids) const override {
    if (data_.ignore_merges) {
      if (const auto whole = Find(segment)) {
        ids->push_back(*whole);
        return;
      }
    }
    std::vector<Symbol> symbols = Characters(segment);
    MergeNeighbours(&symbols, merges_);
    Append(segment, symbols, ids);
  }

  MergeTable merges_;
};

// Works on bytes; GPT-2's characters for them exist in the files only.
class ByteLevelBpe : public MergingModel {
 public:
  ByteLevelBpe(const TokenizerData& data, MergeTable merges)
      : data_(data), merges_(std::move(merges)), bytes_(data.tokens.size()) {
    byte_tokens_.fill(-1);
    for (size_t id = 0; id < data.tokens.size(); ++id) {
      const VocabularyToken& token = data.tokens[id];
      // A normal token of other characters is never made from text.
      const bool spelled = token.type == TokenType::kNormal || token.type == TokenType::kUnused;
      if (const auto bytes = CharactersToBytes(token.text); spelled && bytes.has_value()) {
        bytes_[id] = *bytes;
        if (!bytes->empty()) vocabulary_.emplace(bytes_[id], static_cast<int32_t>(id));
        if (bytes->size() == 1) {
          byte_tokens_[static_cast<unsigned char>(bytes->front())] = static_cast<int32_t>(id);
        }
      } else {
        bytes_[id] = token.text;
      }
    }
  }

  std::string Decode(std::span<const int32_t> ids) const override {
    std::string text;
    for (const int32_t id : ids) text += bytes_[id];
    return text;
  }

 private:
  void EncodeSegment(absl::string_view piece, std::vector<int32_t>* ids) const override {
    if (data_.ignore_merges) {
      if (const auto whole = vocabulary_.find(piece); whole != vocabulary_.end()) {
        ids->push_back(whole->second);
        return;
      }
    }
    std::vector<Symbol> symbols(piece.size());
    for (size_t i = 0; i < piece.size(); ++i) {
      symbols[i] = {i, i + 1, byte_tokens_[static_cast<unsigned char>(piece[i])]};
    }
    MergeNeighbours(&symbols, merges_);
    for (const Symbol& symbol : symbols) {
      if (symbol.token >= 0) {
        ids->push_back(symbol.token);
      } else if (data_.unknown_id >= 0) {
        ids->push_back(data_.unknown_id);
      }
    }
  }

  const TokenizerData& data_;
  MergeTable merges_;
  std::vector<std::string> bytes_;  // of each token
  Vocabulary vocabulary_;           // points into bytes_
  std::array<int32_t, 256> byte_tokens_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<TextModel>> MakeByteLevelBpe(const TokenizerData& data) {
  BB_ASSIGN_OR_RETURN(MergeTable merges, MergeTable::Create(data));
  return std::make_unique<ByteLevelBpe>(data, std::move(merges));
}

absl::StatusOr<std::unique_ptr<TextModel>> MakeByteFallbackBpe(const TokenizerData& data) {
  BB_ASSIGN_OR_RETURN(MergeTable merges, MergeTable::Create(data));
  return std::make_unique<ByteFallbackBpe>(data, std::move(merges));
}

absl::StatusOr<std::unique_ptr<TextModel>> MakeScoreBpe(const TokenizerData& data) {
  return std::make_unique<ScoreBpe>(data);
}

}  // namespace bitbudget

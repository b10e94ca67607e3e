#include "runtime/model/tokenizer/sentencepiece_model.h"

#include <cmath>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "runtime/base/json.h"
#include "runtime/base/status_macros.h"
#include "runtime/model/tokenizer/sentencepiece_shim.h"

namespace bitbudget {
namespace {

// One field of a protobuf message (developers.google.com/protocol-buffers/docs/encoding).
struct Field {
  uint64_t number = 0;
  uint64_t value = 0;       // varint and fixed
  absl::string_view bytes;  // length-delimited
};

// Walks over the fields of a message.
class Message {
 public:
  explicit Message(absl::string_view bytes) : rest_(bytes) {}

  // None at the end, and where the bytes are no message: see ok().
  std::optional<Field> Next() {
    if (rest_.empty() || !ok_) return std::nullopt;
    Field field;
    const uint64_t key = Varint();
    field.number = key >> 3;
    switch (key & 7) {
      case 0:
        field.value = Varint();
        break;
      case 1:
        field.value = Fixed(8);
        break;
      case 2: {
        const uint64_t size = Varint();
        if (size > rest_.size()) ok_ = false;
        field.bytes = rest_.substr(0, size);
        rest_.remove_prefix(field.bytes.size());
        break;
      }
      case 5:
        field.value = Fixed(4);
        break;
      default:
        ok_ = false;
    }
    if (!ok_) return std::nullopt;
    return field;
  }

  bool ok() const { return ok_; }

 private:
  uint64_t Varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (rest_.empty()) break;
      const auto byte = static_cast<unsigned char>(rest_.front());
      rest_.remove_prefix(1);
      value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    ok_ = false;
    return 0;
  }

  uint64_t Fixed(size_t size) {
    uint64_t value = 0;
    if (size > rest_.size()) {
      ok_ = false;
      return 0;
    }
    std::memcpy(&value, rest_.data(), size);
    rest_.remove_prefix(size);
    return value;
  }

  absl::string_view rest_;
  bool ok_ = true;
};

// Field numbers of sentencepiece_model.proto.
struct Specs {
  uint64_t model_type = 1;
  int32_t unknown = 0, bos = 1, eos = 2, padding = -1;
  bool dummy_prefix = true, remove_extra_whitespaces = true, escape_whitespaces = true;
};

bool ReadPiece(absl::string_view bytes, VocabularyToken* token) {
  Message message(bytes);
  while (const auto field = message.Next()) {
    if (field->number == 1) token->text = std::string(field->bytes);
    if (field->number == 2) {
      const auto bits = static_cast<uint32_t>(field->value);
      std::memcpy(&token->score, &bits, sizeof(bits));
    }
    if (field->number == 3) {
      if (field->value < 1 || field->value > 6) return false;
      token->type = static_cast<TokenType>(field->value);
    }
  }
  return message.ok() && std::isfinite(token->score);
}

bool ReadTrainer(absl::string_view bytes, Specs* specs) {
  Message message(bytes);
  while (const auto field = message.Next()) {
    const auto id = static_cast<int32_t>(field->value);
    if (field->number == 3) specs->model_type = field->value;
    if (field->number == 40) specs->unknown = id;
    if (field->number == 41) specs->bos = id;
    if (field->number == 42) specs->eos = id;
    if (field->number == 43) specs->padding = id;
  }
  return message.ok();
}

bool ReadNormalizer(absl::string_view bytes, Specs* specs) {
  Message message(bytes);
  while (const auto field = message.Next()) {
    if (field->number == 3) specs->dummy_prefix = field->value != 0;
    if (field->number == 4) specs->remove_extra_whitespaces = field->value != 0;
    if (field->number == 5) specs->escape_whitespaces = field->value != 0;
  }
  return message.ok();
}

}  // namespace

absl::StatusOr<TokenizerData> ParseSentencePieceModel(std::string bytes, const std::string& path) {
  const auto damaged = [&](absl::string_view problem) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": not a SentencePiece model (", bytes.size(), " bytes): ", problem));
  };
  // The library knows best whether it is one.
  std::string error;
  const std::unique_ptr<SentencePieceShim> model = SentencePieceShim::Load(bytes, &error);
  if (model == nullptr) return damaged(Quoted(error));

  TokenizerData data;
  data.source = path;
  Specs specs;
  Message message(bytes);
  while (const auto field = message.Next()) {
    bool read = true;
    if (field->number == 1) read = ReadPiece(field->bytes, &data.tokens.emplace_back());
    if (field->number == 2) read = ReadTrainer(field->bytes, &specs);
    if (field->number == 3) read = ReadNormalizer(field->bytes, &specs);
    if (!read) {
      return damaged(
          absl::StrCat("bad field ", field->number, " after ", data.tokens.size(), " pieces"));
    }
  }
  if (!message.ok() || data.tokens.size() != static_cast<size_t>(model->size())) {
    return damaged(
        absl::StrCat(data.tokens.size(), " pieces, but the library reads ", model->size()));
  }
  if (specs.model_type != 1 && specs.model_type != 2) {
    return absl::UnimplementedError(absl::StrCat(
        path, ": model_type ", specs.model_type, " is not supported (unigram and bpe are)"));
  }
  data.kind = specs.model_type == 1 ? TokenizerKind::kUnigram : TokenizerKind::kScoreBpe;
  data.space_prefix = specs.dummy_prefix ? SpacePrefix::kEveryPart : SpacePrefix::kNone;
  data.escape_spaces = specs.escape_whitespaces;
  data.remove_extra_whitespaces = specs.remove_extra_whitespaces;
  // The library ignores ids without a piece.
  const auto known = [&](int32_t id) { return id >= 0 && id < model->size() ? id : -1; };
  data.unknown_id = known(specs.unknown);
  data.bos_id = known(specs.bos);
  data.eos_id = known(specs.eos);
  data.padding_id = known(specs.padding);
  data.sentencepiece = std::move(bytes);
  return data;
}

}  // namespace bitbudget

#include "runtime/model/tokenizer/gguf_ends.h"

#include <algorithm>
#include <array>
#include <limits>
#include <optional>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace bitbudget {
namespace {

constexpr std::array kOne = {
    "tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"};
constexpr char kMore[] = "bitbudget.end_token_ids";

void AddOnce(int32_t id, std::vector<int32_t>* ids) {
  if (std::find(ids->begin(), ids->end(), id) == ids->end()) ids->push_back(id);
}

}  // namespace

void AddEndTokens(std::span<const int32_t> ends, int32_t first, GgufWriter* writer) {
  std::vector<int32_t> ids;
  if (std::find(ends.begin(), ends.end(), first) != ends.end()) ids.push_back(first);
  for (const int32_t id : ends) AddOnce(id, &ids);
  const size_t alone = std::min(ids.size(), kOne.size());
  for (size_t i = 0; i < alone; ++i) writer->AddU32(kOne[i], static_cast<uint32_t>(ids[i]));
  if (ids.size() > alone) writer->AddI32s(kMore, std::span(ids).subspan(alone));
}

absl::StatusOr<std::vector<int32_t>> EndTokens(const GgufFile& file, int64_t vocab_size) {
  std::vector<int32_t> ids;
  const auto read = [&](const char* key) -> absl::Status {
    const GgufValue* const value = file.Find(key);
    if (value == nullptr) return absl::OkStatus();
    std::vector<int64_t> numbers;
    if (const std::optional<int64_t> number = value->Integer(); number.has_value()) {
      numbers.push_back(*number);
    } else if (auto list = value->Integers(); list.has_value()) {
      numbers = *std::move(list);
    } else {
      return absl::InvalidArgumentError(
          absl::StrCat(file.path, ": ", key, ": ", value->Describe(), " is not an integer"));
    }
    for (const int64_t number : numbers) {
      if (number < 0 || number > std::numeric_limits<uint32_t>::max()) {
        return absl::InvalidArgumentError(absl::StrCat(
            file.path, ": ", key, ": ", value->Describe(), " (", number, ") is not a token id"));
      }
      if (number < vocab_size) AddOnce(static_cast<int32_t>(number), &ids);
    }
    return absl::OkStatus();
  };
  for (const char* const key : kOne) {
    if (absl::Status status = read(key); !status.ok()) return status;
  }
  if (absl::Status status = read(kMore); !status.ok()) return status;
  return ids;
}

}  // namespace bitbudget

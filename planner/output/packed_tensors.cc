#include "planner/output/packed_tensors.h"

#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/base/status_macros.h"

namespace bitbudget {
namespace {

using Bytes = std::vector<uint8_t>;

constexpr int kBitsPerWord = 32;

absl::Status CheckModule(const StoredMatrix& matrix, const FolderWeights& source) {
  BB_RETURN_IF_ERROR(CheckOneFormat(matrix, source, "compressed-tensors"));
  const ComponentId first = matrix.components.front();
  if (source.model.component(first).kind != ComponentKind::kEmbedding) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(source.model.component(first).name,
                   ": compressed-tensors holds linear layers, not an embedding in ",
                   source.assignment[first].Name(),
                   "; make the plan for target compressed-tensors"));
}

// A matrix in words: codes per word, and words for a number of codes.
int64_t PerWord(const Format& format) { return kBitsPerWord / format.bits; }
int64_t WordsFor(int64_t codes, const Format& format) {
  return (codes + PerWord(format) - 1) / PerWord(format);
}

// [rows, words]: a row's codes, the first in the lowest bits. compressed-tensors stores signed
// values plus 2^(bits-1), which are our unsigned codes.
absl::StatusOr<Bytes> PackCodes(const StoredMatrix& matrix, MatrixEncoder* encoder) {
  BB_ASSIGN_OR_RETURN(const std::vector<Encoding>* encodings, encoder->Encode(matrix));
  const Format& format = encodings->front().format;
  const int64_t row_bytes = WordsFor(matrix.cols, format) * 4;
  Bytes bytes(matrix.rows * row_bytes);
  uint8_t* to = bytes.data();
  for (const Encoding& encoding : *encodings) {
    const EncodingLayout layout(format, encoding.rows, encoding.cols);
    for (int64_t r = 0; r < encoding.rows; ++r, to += row_bytes) {
      // Words are little-endian and our codes have the low nibble first: the same bytes.
      std::memcpy(to,
                  encoding.bytes.data() + r * layout.code_row_bytes,
                  static_cast<size_t>(layout.code_row_bytes));
    }
  }
  return bytes;
}

// [rows, groups] in f16.
absl::StatusOr<Bytes> CollectScales(const StoredMatrix& matrix, MatrixEncoder* encoder) {
  BB_ASSIGN_OR_RETURN(const std::vector<Encoding>* encodings, encoder->Encode(matrix));
  Bytes bytes;
  for (const Encoding& encoding : *encodings) {
    const EncodingLayout layout(encoding.format, encoding.rows, encoding.cols);
    const auto begin = encoding.bytes.begin() + layout.scales_offset;
    bytes.insert(bytes.end(), begin, begin + encoding.rows * layout.groups * 2);
  }
  return bytes;
}

// [words, groups], packed down the rows: word w of a group holds the zero points of the rows from
// PerWord() * w on.
absl::StatusOr<Bytes> PackZeros(const StoredMatrix& matrix, MatrixEncoder* encoder) {
  BB_ASSIGN_OR_RETURN(const std::vector<Encoding>* encodings, encoder->Encode(matrix));
  const Format& format = encodings->front().format;
  const int64_t per_word = PerWord(format);
  const int64_t groups = format.GroupsPerRow(matrix.cols);
  std::vector<uint32_t> words(WordsFor(matrix.rows, format) * groups);
  int64_t row = 0;
  for (const Encoding& encoding : *encodings) {
    const EncodingLayout layout(format, encoding.rows, encoding.cols);
    for (int64_t r = 0; r < encoding.rows; ++r, ++row) {
      const uint8_t* zeros =
          encoding.bytes.data() + layout.zeros_offset + r * layout.zero_row_bytes;
      for (int64_t g = 0; g < groups; ++g) {
        const uint32_t zero = format.bits == 8 ? zeros[g] : (zeros[g / 2] >> (g % 2 * 4)) & 0xf;
        words[row / per_word * groups + g] |= zero << (row % per_word * format.bits);
      }
    }
  }
  Bytes bytes(words.size() * sizeof(uint32_t));
  std::memcpy(bytes.data(), words.data(), bytes.size());
  return bytes;
}

// [2]: rows and columns, which the words do not tell.
absl::StatusOr<Bytes> ShapeBytes(const StoredMatrix& matrix) {
  const int64_t shape[] = {matrix.rows, matrix.cols};
  Bytes bytes(sizeof(shape));
  std::memcpy(bytes.data(), shape, sizeof(shape));
  return bytes;
}

}  // namespace

absl::StatusOr<std::vector<OutputTensor>> PackedTensors(const std::string& module,
                                                        const StoredMatrix& matrix,
                                                        MatrixEncoder* encoder) {
  BB_RETURN_IF_ERROR(CheckModule(matrix, encoder->source()));
  const Format& format = encoder->source().assignment[matrix.components.front()];
  const int64_t words = WordsFor(matrix.cols, format);
  const int64_t groups = format.GroupsPerRow(matrix.cols);
  std::vector<OutputTensor> tensors = {
      {module + ".weight_packed",
       "I32",
       {matrix.rows, words},
       matrix.rows * words * 4,
       [matrix, encoder] { return PackCodes(matrix, encoder); }},
      {module + ".weight_scale",
       "F16",
       {matrix.rows, groups},
       matrix.rows * groups * 2,
       [matrix, encoder] { return CollectScales(matrix, encoder); }},
      {module + ".weight_shape", "I64", {2}, 16, [matrix] { return ShapeBytes(matrix); }}};
  if (format.zero_point) {
    const int64_t zero_words = WordsFor(matrix.rows, format);
    tensors.push_back({module + ".weight_zero_point",
                       "I32",
                       {zero_words, groups},
                       zero_words * groups * 4,
                       [matrix, encoder] { return PackZeros(matrix, encoder); }});
  }
  return tensors;
}

}  // namespace bitbudget

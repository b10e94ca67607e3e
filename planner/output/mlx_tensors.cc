#include "planner/output/mlx_tensors.h"

#include <glog/logging.h>

#include <algorithm>
#include <span>

#include "absl/strings/str_cat.h"
#include "runtime/base/status_macros.h"
#include "runtime/tensor/bit_packing.h"
#include "runtime/tensor/block_codec.h"

namespace bitbudget {
namespace {

using Bytes = std::vector<uint8_t>;

// An E8M0 exponent that is no number.
constexpr uint8_t kNoExponent = 0xff;

// Bytes [begin, end) of every block of a matrix.
absl::StatusOr<Bytes> FieldOfBlocks(const StoredMatrix& matrix,
                                    MatrixEncoder* encoder,
                                    int begin,
                                    int end) {
  BB_ASSIGN_OR_RETURN(const std::vector<Encoding>* encodings, encoder->Encode(matrix));
  Bytes bytes;
  bytes.reserve(matrix.rows * encodings->front().format.GroupsPerRow(matrix.cols) * (end - begin));
  for (const Encoding& encoding : *encodings) {
    const int block = BlockTraitsOf(encoding.format).bytes;
    const uint8_t* end_of_blocks = encoding.bytes.data() + encoding.bytes.size();
    for (const uint8_t* at = encoding.bytes.data(); at != end_of_blocks; at += block) {
      bytes.insert(bytes.end(), at + begin, at + end);
    }
  }
  return bytes;
}

// The codes of mxfp4 in the order of inputs: in a block, input i + 16 shares a byte with input i.
absl::StatusOr<Bytes> SequentialCodes(const StoredMatrix& matrix, MatrixEncoder* encoder) {
  BB_ASSIGN_OR_RETURN(const std::vector<Encoding>* encodings, encoder->Encode(matrix));
  Bytes bytes(matrix.rows * matrix.cols / 2);
  uint8_t* to = bytes.data();
  for (const Encoding& encoding : *encodings) {
    const BlockTraits& traits = BlockTraitsOf(encoding.format);
    BlockFields fields;
    for (size_t at = 0; at < encoding.bytes.size(); at += traits.bytes, to += traits.block / 2) {
      UnpackBlock(traits, encoding.bytes.data() + at, &fields);
      PackBits(std::span<const uint8_t>(fields.codes).first(traits.block), traits.bits, to);
    }
  }
  return bytes;
}

absl::StatusOr<Bytes> Exponents(const std::string& module,
                                const StoredMatrix& matrix,
                                MatrixEncoder* encoder) {
  BB_ASSIGN_OR_RETURN(Bytes bytes, FieldOfBlocks(matrix, encoder, 0, 1));
  if (std::find(bytes.begin(), bytes.end(), kNoExponent) == bytes.end()) return bytes;
  return absl::InvalidArgumentError(
      absl::StrCat(module, ": a scale of 2^128 in mxfp4, which MLX reads as infinity"));
}

}  // namespace

absl::StatusOr<std::vector<OutputTensor>> MlxTensors(const std::string& module,
                                                     const StoredMatrix& matrix,
                                                     MatrixEncoder* encoder) {
  BB_RETURN_IF_ERROR(CheckOneFormat(matrix, encoder->source(), "mlx"));
  const Format& format = encoder->source().assignment[matrix.components.front()];
  const int64_t words = matrix.cols * format.bits / 32;
  const int64_t groups = format.GroupsPerRow(matrix.cols);
  OutputTensor weight = {
      module + ".weight", "U32", {matrix.rows, words}, matrix.rows * words * 4, nullptr};
  if (format.kind == FormatKind::kMXFP4) {
    weight.produce = [matrix, encoder] { return SequentialCodes(matrix, encoder); };
    return std::vector<OutputTensor>{
        weight, {module + ".scales", "U8", {matrix.rows, groups}, matrix.rows * groups, [=] {
                   return Exponents(module, matrix, encoder);
                 }}};
  }
  CHECK(format.kind == FormatKind::kAffine) << format.Name();
  // A block is a scale, an offset and whole bytes of codes, which follow each other as in MLX.
  const auto field = [&](int begin, int end) {
    return [=] { return FieldOfBlocks(matrix, encoder, begin, end); };
  };
  weight.produce = field(4, BlockTraitsOf(format).bytes);
  const int64_t bytes = matrix.rows * groups * 2;
  return std::vector<OutputTensor>{
      weight,
      {module + ".scales", "F16", {matrix.rows, groups}, bytes, field(0, 2)},
      {module + ".biases", "F16", {matrix.rows, groups}, bytes, field(2, 4)}};
}

}  // namespace bitbudget

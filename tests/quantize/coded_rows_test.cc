#include "runtime/quantize/coded_rows.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "runtime/quantize/clip_encoder.h"
#include "runtime/quantize/rtn_encoder.h"
#include "tests/support/formats.h"
#include "tests/support/matrices.h"

namespace bitbudget {
namespace {

constexpr int64_t kRows = 3;

TEST(CodedRow, ReadAndWrittenGivesTheSameBytesInEveryFormatWithLevels) {
  for (const int64_t cols : {75, 256}) {
    const std::vector<float> weights = GaussianValues(kRows * cols, 0.1, 8);
    for (const Format& format : FormatsFor(cols)) {
      if (!format.HasLevels() || format.IsSparse()) continue;
      const Encoding encoding = *MakeClipEncoder()->Encode(ViewOf(weights, kRows, cols), format);
      const FormatLevels levels(format);
      Encoding copy = encoding;
      std::fill(copy.bytes.begin(), copy.bytes.end(), uint8_t{0xff});  // all is to be overwritten
      std::vector<float> decoded(cols);
      std::vector<float> errors(cols);
      for (int64_t row = 0; row < kRows; ++row) {
        const CodedRow coded = CodedRow::Read(encoding, levels, row);
        coded.Write(levels, row, &copy);
        DecodeReferenceRow(encoding, row, decoded);
        const int64_t group = format.GroupSize(cols);
        for (int64_t i = 0; i < cols; ++i) {
          EXPECT_EQ(coded.grids[i / group].Value(coded.levels[i]), decoded[i]) << format.Name();
        }
        coded.Errors(decoded, group, errors);
        EXPECT_EQ(errors, std::vector<float>(cols)) << format.Name();
      }
      EXPECT_EQ(copy.bytes, encoding.bytes) << format.Name();
    }
  }
}

TEST(CodedRow, SparseRowsAreWrittenBackWithTheirMask) {
  constexpr int64_t kCols = 75;
  const std::vector<float> weights = GaussianValues(kRows * kCols, 0.1, 9);
  for (const char* name : {"int4z-g64+s50", "int3-g32+s12.5", "int2z-g64+2:4", "int8+s99"}) {
    const Format format = *ParseFormat(name);
    const Encoding encoding = *MakeClipEncoder()->Encode(ViewOf(weights, kRows, kCols), format);
    std::vector<CodedRow> rows;
    for (int64_t row = 0; row < kRows; ++row) {
      rows.push_back(CodedRow::Read(encoding, FormatLevels(format.Dense()), row));
    }
    Encoding copy{format, kRows, kCols, std::vector<uint8_t>(encoding.bytes.size())};
    WriteSparseRows(rows, encoding, &copy);
    EXPECT_EQ(copy.bytes, encoding.bytes) << name;
  }
}

TEST(CodedRow, RoundsToGridsAsRoundToNearestDoes) {
  constexpr int64_t kCols = 75;
  const std::vector<float> weights = GaussianValues(kRows * kCols, 0.1, 8);
  for (const Format& format : SupportedFormats()) {
    if (!format.IsInteger()) continue;
    const Encoding encoding = *MakeRtnEncoder()->Encode(ViewOf(weights, kRows, kCols), format);
    const FormatLevels levels(format);
    Encoding copy = encoding;
    std::fill(copy.bytes.begin(), copy.bytes.end(), uint8_t{0xff});
    for (int64_t row = 0; row < kRows; ++row) {
      const std::vector<IntegerGrid> grids = CodedRow::Read(encoding, levels, row).IntegerGrids();
      CodedRow::Round(std::span(weights).subspan(row * kCols, kCols), grids, levels)
          .Write(levels, row, &copy);
    }
    EXPECT_EQ(copy.bytes, encoding.bytes) << format.Name();
  }
}

}  // namespace
}  // namespace bitbudget

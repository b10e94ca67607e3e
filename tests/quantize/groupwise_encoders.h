#ifndef BITBUDGET_TESTS_QUANTIZE_GROUPWISE_ENCODERS_H_
#define BITBUDGET_TESTS_QUANTIZE_GROUPWISE_ENCODERS_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <vector>

#include "runtime/quantize/clip_encoder.h"
#include "runtime/quantize/rtn_encoder.h"
#include "runtime/tensor/encoding.h"
#include "tests/support/matrices.h"

namespace bitbudget {

inline Format Parse(const char* name) { return ParseFormat(name).value(); }

inline std::vector<std::unique_ptr<Encoder>> GroupwiseEncoders() {
  std::vector<std::unique_ptr<Encoder>> encoders;
  encoders.push_back(MakeRtnEncoder());
  encoders.push_back(MakeClipEncoder());
  encoders.push_back(MakeImatrixEncoder());
  return encoders;
}

// Second moments of inputs as they are met: a few columns are far stronger than the others.
inline std::vector<float> MomentsOf(int64_t cols) {
  std::vector<float> moments = GaussianValues(cols, 1.5, cols + 77);
  for (float& moment : moments) moment = std::exp(moment);
  return moments;
}

inline Encoding MustEncode(const Encoder& encoder,
                           const TensorView& view,
                           const Format& format,
                           int threads = 1) {
  const int64_t known = std::min<int64_t>(view.cols, 1 << 20);
  const std::vector<float> moments = MomentsOf(known);
  absl::StatusOr<Encoding> encoding = encoder.Encode(view, format, {moments, nullptr}, threads);
  EXPECT_TRUE(encoding.ok()) << encoder.name() << " " << format.Name() << encoding.status();
  return encoding.ok() ? *std::move(encoding) : Encoding{};
}

inline std::vector<float> Decode(const Encoding& encoding) {
  std::vector<float> out(encoding.rows * encoding.cols);
  DecodeReference(encoding, out);
  return out;
}

}  // namespace bitbudget

#endif  // BITBUDGET_TESTS_QUANTIZE_GROUPWISE_ENCODERS_H_

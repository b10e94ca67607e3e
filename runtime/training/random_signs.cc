#include "runtime/training/random_signs.h"

#include <algorithm>

#include "runtime/base/random.h"
#include "runtime/tensor/one_bit.h"

namespace bitbudget {
namespace {

constexpr uint64_t kSignStream = 0x7369676e;

}  // namespace

void DrawSigns(const Model& model, uint64_t seed, ComponentEncodings* encodings) {
  for (auto& [component, encoding] : *encodings) {
    if (encoding.format.kind != FormatKind::kOneBit || model.component(component).layer < 0) {
      continue;
    }
    const OneBitLayout layout(encoding.rows, encoding.cols);
    Random random(seed, {kSignStream, static_cast<uint64_t>(component)});
    for (int64_t row = 0; row < encoding.rows; ++row) {
      uint8_t* const signs = encoding.bytes.data() + row * layout.sign_row_bytes;
      for (int64_t i = 0; i < layout.sign_row_bytes; ++i) {
        // Bits behind the last weight of a row stay 0.
        const int64_t bits = std::min<int64_t>(8, encoding.cols - 8 * i);
        signs[i] = static_cast<uint8_t>(random.Below(uint64_t{1} << bits));
      }
    }
  }
}

}  // namespace bitbudget

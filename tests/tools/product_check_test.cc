#include "tools/bench/product_check.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "runtime/kernels/linear.h"
#include "tools/bench/cases.h"

namespace bitbudget {
namespace {

// A product that is right, ready to be spoilt. Sizes that leave part panels, layers and groups.
struct Product {
  Product(const std::string& format, Activations activations, int64_t m = 7, int64_t n = 37)
      : m(m), encoding(*RandomWeights(format, n, kInputs)), x(RandomValues(m * kInputs, 5)) {
    panels = PackWeightsFor(encoding, activations);
    PackActivations(panels.packing(), x.data(), kInputs, m, kInputs, &packed);
    y.resize(static_cast<size_t>(m * n));
    Linear(packed, panels, y.data(), n);
  }

  absl::Status Check() const {
    return CheckProduct("test", panels.packing(), panels.flush, encoding, x, m, y);
  }

  static constexpr int64_t kInputs = 200;
  int64_t m;
  Encoding encoding;
  std::vector<float> x;
  WeightPanels panels;
  PackedActivations packed;
  std::vector<float> y;
};

class ProductCheckTest : public testing::TestWithParam<BenchCase> {
 protected:
  Product MakeProduct() const { return Product(GetParam().format, GetParam().activations); }
};

TEST_P(ProductCheckTest, RightProductsPass) { EXPECT_TRUE(MakeProduct().Check().ok()); }

TEST_P(ProductCheckTest, RowsThatWereNotWrittenFail) {
  for (int64_t row : {0, 6}) {
    Product product = MakeProduct();
    const int64_t n = product.encoding.rows;
    for (int64_t i = 0; i < n; ++i) product.y[static_cast<size_t>(row * n + i)] = NAN;
    EXPECT_EQ(product.Check().code(), absl::StatusCode::kInternal) << "row " << row;
  }
}

TEST_P(ProductCheckTest, PanelsThatWereNotWrittenFail) {
  for (int64_t panel = 0; panel < 3; ++panel) {
    Product product = MakeProduct();
    const int64_t n = product.encoding.rows;
    for (int64_t i = 16 * panel; i < std::min(16 * panel + 16, n); ++i) {
      product.y[static_cast<size_t>(i)] = NAN;
    }
    EXPECT_EQ(product.Check().code(), absl::StatusCode::kInternal) << "panel " << panel;
  }
}

TEST_P(ProductCheckTest, AnActivationThatWasLeftOutFails) {
  Product product = MakeProduct();
  Product spoilt = MakeProduct();
  spoilt.x[137] = 0;
  PackActivations(spoilt.panels.packing(), spoilt.x.data(), 200, spoilt.m, 200, &spoilt.packed);
  Linear(spoilt.packed, spoilt.panels, product.y.data(), product.encoding.rows);
  EXPECT_EQ(product.Check().code(), absl::StatusCode::kInternal);
}

TEST_P(ProductCheckTest, AnotherActivationRoundingFails) {
  if (GetParam().activations == Activations::kF32) return;
  Product product = MakeProduct();
  const bool int16 = GetParam().activations == Activations::kInt16;
  const Product other(GetParam().format, int16 ? Activations::kInt8 : Activations::kInt16);
  product.y = other.y;
  EXPECT_EQ(product.Check().code(), absl::StatusCode::kInternal);
}

INSTANTIATE_TEST_SUITE_P(AllPaths,
                         ProductCheckTest,
                         testing::ValuesIn(DefaultCases()),
                         [](const testing::TestParamInfo<BenchCase>& info) {
                           std::string name =
                               info.param.format + "_" + ActivationsName(info.param.activations);
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

}  // namespace
}  // namespace bitbudget

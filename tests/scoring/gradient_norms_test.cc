#include "scoring/gradient_norms.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/scoring/cost_bench.h"

namespace bitbudget {
namespace {

TEST(GradientNormsTest, AreThoseOfTheGradientFormedInDouble) {
  const std::vector<int64_t> lengths = {21, 1, 40};
  for (const TinyModelOptions& options : CostModels()) {
    const CostBench bench(options, lengths, {kFormatF32});
    const Model& model = bench.model();
    Progress progress;
    const auto norms = GradientNorms(bench.Context(&progress));
    ASSERT_TRUE(norms.ok()) << norms.status();
    CrossEntropy<double> loss(NextTokens(bench.sequences()));
    const SeenProducts seen(model, bench.sequences(), &loss);
    ASSERT_EQ(norms->size(), model.components().size());
    for (size_t c = 0; c < norms->size(); ++c) {
      const Matrix<double> gradient = seen.Gradient(static_cast<ComponentId>(c));
      EXPECT_NEAR((*norms)[c], gradient.squaredNorm(), 1e-4 * gradient.squaredNorm())
          << model.components()[c].name;
    }
    const auto threaded = GradientNorms(bench.Context(&progress, 3));
    ASSERT_TRUE(threaded.ok());
    EXPECT_EQ(*threaded, *norms);
  }
}

}  // namespace
}  // namespace bitbudget

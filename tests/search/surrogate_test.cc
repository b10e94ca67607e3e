#include "search/surrogate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "runtime/base/random.h"
#include "tests/support/synthetic_evaluator.h"

namespace bitbudget {
namespace {

using testing::MakeToy;
using testing::Toy;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Three components of four choices.
class SurrogateTest : public ::testing::Test {
 protected:
  const Toy toy_ = MakeToy(1, 3, 4, 0, 0.5);
  const CostTable errors_ = {
      {0.04, 0.01, 0.002, 0}, {0.08, 0.03, 0.001, 0}, {0.05, 0.02, kInfinity, 0}};
  Surrogate surrogate_{toy_.problem, errors_, SurrogateOptions()};
};

TEST_F(SurrogateTest, OneObservationPredictsAllChoicesOfItsComponent) {
  surrogate_.Observe(0, 1, 0.3, 0.01);
  surrogate_.Fit();
  EXPECT_DOUBLE_EQ(surrogate_.Predict(0, 0), 1.2);
  EXPECT_DOUBLE_EQ(surrogate_.Predict(0, 2), 0.06);
  EXPECT_EQ(surrogate_.Predict(0, 3), 0);
  EXPECT_EQ(surrogate_.Predict(1, 0), kInfinity) << "nothing is known of this one";
  EXPECT_EQ(surrogate_.Predict(1, 3), 0) << "but what changes nothing costs nothing";
}

TEST_F(SurrogateTest, ErrorsThatAreNotFiniteAreNeverProposed) {
  surrogate_.Observe(2, 0, 0.3, 0.01);
  surrogate_.Observe(2, 2, 0.3, 0.01);
  surrogate_.Fit();
  EXPECT_EQ(surrogate_.Predict(2, 2), kInfinity);
  EXPECT_DOUBLE_EQ(surrogate_.Predict(2, 1), 0.12);
}

TEST_F(SurrogateTest, SensitivitiesAreNotNegative) {
  surrogate_.Observe(0, 0, -0.5, 0.01);
  surrogate_.Observe(0, 1, -0.1, 0.01);
  surrogate_.Fit();
  EXPECT_EQ(surrogate_.alpha(0), 0);
  EXPECT_EQ(surrogate_.Predict(0, 2), 0);
}

TEST_F(SurrogateTest, TheSolutionIsTheWeightedLeastSquaresOne) {
  surrogate_.Observe(0, 0, 0.44, 0.01);
  surrogate_.Observe(0, 1, 0.09, 0.02);
  surrogate_.Fit();
  double up = 0, down = 0;
  const double cases[2][3] = {{0.04, 0.44, 0.01}, {0.01, 0.09, 0.02}};
  for (const auto& [error, loss, standard_error] : cases) {
    const double weight = 1 / (standard_error * standard_error + std::pow(0.25 * loss, 2) + 9e-16);
    up += weight * error * loss;
    down += weight * error * error;
  }
  EXPECT_NEAR(surrogate_.alpha(0), up / down, 1e-13 * up / down);
}

// One unit of nine choices with the same relative error.
struct OneUnit {
  static Toy NineChoices() {
    Toy toy = MakeToy(1, 1, 4, 0, 0.5);
    toy.problem.ladders[0].assign(9, toy.problem.ladders[0][0]);
    for (int i = 0; i < 9; ++i) toy.problem.ladders[0][i].bytes = 10 + i;
    return toy;
  }
  Toy toy = NineChoices();
  CostTable errors = {std::vector<double>(9, 0.1)};
  Surrogate surrogate{toy.problem, errors, SurrogateOptions()};
};

double Slope(double error, double loss, double standard_error) {
  return error / std::hypot(standard_error, 3e-8, 0.25 * loss);
}

TEST_F(SurrogateTest, AnOutlierPullsAsMuchAsWhatIsTwoDeviationsOff) {
  for (const double outlier : {2.0, 0.0}) {
    OneUnit unit;
    for (int i = 0; i < 8; ++i) unit.surrogate.Observe(0, i, 0.1, 0.02);
    unit.surrogate.Observe(0, 8, outlier, 0.02);
    unit.surrogate.Fit();
    const double slope = Slope(0.1, 0.1, 0.02);
    // 8 slope^2 (alpha - 1) = +-2 outlier's slope
    const double pull = 2 * Slope(0.1, outlier, 0.02) / (8 * slope * slope);
    const double expected = outlier > 1 ? 1 + pull : 1 - pull;
    EXPECT_NEAR(unit.surrogate.alpha(0), expected, 1e-12) << outlier;
  }
}

TEST_F(SurrogateTest, TheFitIsTheMinimumWhateverIsAnOutlier) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    Random random(seed, {2});
    OneUnit unit;
    std::vector<std::array<double, 2>> seen;  // loss, standard error
    for (int i = 0; i < 9; ++i) {
      const double loss = std::exp(6 * random.Uniform() - 3) * (random.Below(6) == 0 ? -1 : 1);
      seen.push_back({loss, 0.3 * random.Uniform()});
      unit.surrogate.Observe(0, i, seen[i][0], seen[i][1]);
    }
    unit.surrogate.Fit();
    const auto loss = [&](double alpha) {
      double sum = 0;
      for (const auto& [value, standard_error] : seen) {
        const double slope = Slope(0.1, value, standard_error);
        const double residual = std::abs(slope * alpha - slope / 0.1 * value);
        sum += residual <= 2 ? residual * residual : 4 * residual - 4;
      }
      return sum;
    };
    const double alpha = unit.surrogate.alpha(0);
    const double least = loss(alpha);
    ASSERT_GE(alpha, 0);
    for (const double step : {1e-3, 1e-1, 3.0, 100.0}) {
      EXPECT_LE(least, loss(alpha + step) * (1 + 1e-13)) << seed;
      EXPECT_LE(least, loss(std::max(alpha - step, 0.0)) * (1 + 1e-13)) << seed;
    }
  }
}

TEST_F(SurrogateTest, TheSpreadIsTheFirstGuessAndThatOfTheObservations) {
  EXPECT_EQ(surrogate_.spread(), 0.25);
  // Two observations that agree: four guesses of 0.25 and one degree of freedom without a residual.
  surrogate_.Observe(0, 0, 0.04, 0);
  surrogate_.Observe(0, 1, 0.01, 0);
  surrogate_.Fit();
  EXPECT_NEAR(surrogate_.spread(), std::sqrt(4 * 0.0625 / 5), 1e-12);
  // Two that are off by a fifth each way; a single one fits itself and says nothing.
  surrogate_.Observe(1, 0, 1.2 * 0.08, 0);
  surrogate_.Observe(1, 1, 0.8 * 0.03, 0);
  surrogate_.Observe(2, 0, 5, 0);
  surrogate_.Fit();
  const double up = 1 / 1.2 + 1 / 0.8;
  const double down = 1 / (1.2 * 1.2) + 1 / (0.8 * 0.8);
  const double alpha = up / down;  // weights are 1 / loss^2
  EXPECT_NEAR(surrogate_.alpha(1), alpha, 1e-9);
  const double high = (alpha - 1.2) / 1.2;
  const double low = (alpha - 0.8) / alpha;
  EXPECT_NEAR(surrogate_.spread(), std::sqrt((high * high + low * low + 4 * 0.0625) / 6), 1e-9);
}

TEST_F(SurrogateTest, TheOrderOfObservationsDoesNotMatter) {
  Surrogate other(toy_.problem, errors_, SurrogateOptions());
  surrogate_.Observe(0, 0, 0.44, 0.01);
  surrogate_.Observe(1, 1, 0.2, 0.01);
  surrogate_.Observe(0, 1, 0.09, 0.01);
  other.Observe(1, 1, 0.2, 0.01);
  other.Observe(0, 0, 7, 0.01);  // replaced below
  other.Observe(0, 1, 0.09, 0.01);
  other.Observe(0, 0, 0.44, 0.01);
  surrogate_.Fit();
  other.Fit();
  for (int c = 0; c < 2; ++c) {
    EXPECT_NEAR(surrogate_.alpha(c), other.alpha(c), 1e-12 * surrogate_.alpha(c));
  }
}

}  // namespace
}  // namespace bitbudget

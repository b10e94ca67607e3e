#include "search/surrogate.h"

#include <gtest/gtest.h>

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
  // Ceres stops at a relative change of 1e-6 of the cost, which here is zero at the start.
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
  EXPECT_NEAR(surrogate_.alpha(0), up / down, 1e-6 * up / down);
}

TEST_F(SurrogateTest, AnOutlierDoesNotDecide) {
  // A ladder of many choices with one measurement that is twenty times too large.
  Toy toy = MakeToy(1, 1, 4, 0, 0.5);
  CostTable errors(1);
  std::vector<Choice> ladder;
  for (int i = 0; i < 9; ++i) {
    ladder.push_back({toy.problem.ladders[0][i % 4].format, 10 + i});
    errors[0].push_back(0.1 / (1 + i));
  }
  toy.problem.ladders[0] = ladder;
  Surrogate surrogate(toy.problem, errors, SurrogateOptions());
  for (int i = 0; i < 9; ++i) surrogate.Observe(0, i, (i == 4 ? 20 : 1) * errors[0][i], 0);
  surrogate.Fit();
  EXPECT_GT(surrogate.alpha(0), 1);
  EXPECT_LT(surrogate.alpha(0), 1.2);
}

TEST_F(SurrogateTest, TheSpreadIsThatOfTheObservations) {
  for (const double spread : {0.02, 0.3}) {
    Toy toy = MakeToy(1, 60, 4, 0, 0.5);
    CostTable errors;
    Random random(3, {1});
    for (int c = 0; c < 60; ++c) errors.push_back({0.1, 0.05, 0.02, 0.01});
    Surrogate surrogate(toy.problem, errors, SurrogateOptions());
    EXPECT_EQ(surrogate.spread(), SurrogateOptions().spread);
    for (int c = 0; c < 60; ++c) {
      for (int i = 0; i < 4; ++i) {
        // Uniform in +- spread * sqrt(3): a standard deviation of `spread`.
        const double u = (2 * random.Uniform() - 1) * std::sqrt(3.0);
        surrogate.Observe(c, i, errors[c][i] * (c + 1) * (1 + spread * u), 0);
      }
    }
    surrogate.Fit();
    EXPECT_NEAR(surrogate.spread(), spread, 0.25 * spread + 0.02);
  }
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

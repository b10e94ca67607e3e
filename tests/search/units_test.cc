// Components that share a format are moved together by every method, and cost nothing else: a tied
// problem is searched as the problem of its units.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "search/additive.h"
#include "search/beam.h"
#include "search/evolution.h"
#include "search/greedy.h"
#include "search/ordered.h"
#include "search/uniform.h"
#include "tests/support/synthetic_evaluator.h"

namespace bitbudget {
namespace {

using testing::MakeToy;
using testing::SyntheticEvaluator;
using testing::Toy;
using testing::ToyFormats;

constexpr int kUnits = 8;

// Unit u gets 1 + u % 3 components, in another order than the units: the last component of every
// unit stands behind all others.
Toy Tied(Toy toy) {
  std::vector<Component> components;
  toy.problem.units.resize(kUnits);
  for (const bool last : {false, true}) {
    for (int u = 0; u < kUnits; ++u) {
      Component part = toy.problem.components[u];
      part.name += last ? ".last" : ".part";
      for (int i = 0; i < (last ? 1 : u % 3); ++i) {
        toy.problem.units[u].push_back(static_cast<int>(components.size()));
        components.push_back(part);
      }
    }
  }
  toy.problem.components = std::move(components);
  return toy;
}

std::vector<std::pair<std::string, std::unique_ptr<SearchMethod>>> Methods() {
  const Objective objective(Statistic::kKlMean);
  OrderedOptions ordered;
  ordered.name = "layerwise";
  ordered.layer_order = {2, 0, 3, 1};
  std::vector<std::pair<std::string, std::unique_ptr<SearchMethod>>> methods;
  methods.emplace_back("greedy", MakeGreedySearch(GreedyOptions(), objective));
  methods.emplace_back("additive", MakeAdditiveSearch());
  methods.emplace_back("layerwise", MakeOrderedSearch(ordered, objective));
  BeamOptions beam;
  beam.width = 2;
  methods.emplace_back("beam", MakeBeamSearch(beam));
  methods.emplace_back("evolution", MakeEvolutionSearch({}, objective));
  methods.emplace_back("uniform", MakeUniformSearch(objective));
  return methods;
}

SearchSummary RunOn(SearchMethod& method, const Toy& toy, const CostTable* errors) {
  SyntheticEvaluator::Options options;
  options.noise = 0.1;
  options.probes = 12;
  SyntheticEvaluator evaluator(toy, options);
  SearchContext context;
  context.problem = &toy.problem;
  context.evaluator = &evaluator;
  context.reference = evaluator.Reference();
  context.errors = errors;
  absl::StatusOr<SearchSummary> summary = method.Run(context);
  EXPECT_TRUE(summary.ok()) << summary.status();
  return *std::move(summary);
}

TEST(Units, ATiedProblemIsSearchedAsTheProblemOfItsUnits) {
  for (uint64_t seed = 0; seed < 6; ++seed) {
    const Toy single = MakeToy(seed, kUnits, 4, 3, 0.35);
    const Toy tied = Tied(single);
    CostTable errors;
    for (int u = 0; u < kUnits; ++u) {
      errors.emplace_back();
      for (int i = 0; i < 4; ++i) errors.back().push_back(single.loss.Alone(u, i));
    }
    for (const CostTable* given :
         {static_cast<const CostTable*>(nullptr), static_cast<const CostTable*>(&errors)}) {
      for (const auto& [name, method] : Methods()) {
        SCOPED_TRACE(name + " " + std::to_string(seed));
        const SearchSummary a = RunOn(*method, single, given);
        const SearchSummary b = RunOn(*method, tied, given);
        EXPECT_EQ(a.outcome, b.outcome);
        EXPECT_EQ(a.candidates, b.candidates);
        EXPECT_EQ(a.size_bytes, b.size_bytes);
        EXPECT_EQ(a.evaluation, b.evaluation);
        ASSERT_EQ(a.trace.size(), b.trace.size());
        ASSERT_EQ(b.assignment.size(), tied.problem.components.size());
        for (int u = 0; u < kUnits; ++u) {
          for (const ComponentId c : tied.problem.Parts(u)) {
            EXPECT_EQ(b.assignment[c], a.assignment[u]) << u << " " << c;
          }
        }
      }
    }
  }
}

TEST(Units, TheEvidenceIsOneEntryPerComponent) {
  const Toy single = MakeToy(1, kUnits, 3, 0, 0.4);
  const Toy tied = Tied(single);
  const SearchSummary a = RunOn(*MakeAdditiveSearch(), single, nullptr);
  const SearchSummary b = RunOn(*MakeAdditiveSearch(), tied, nullptr);
  size_t expected = 0;
  for (const AloneDivergence& alone : a.alone) {
    const std::vector<ComponentId>& parts = tied.problem.units[alone.change.component];
    expected += parts.size();
    for (const ComponentId c : parts) {
      EXPECT_NE(std::find_if(b.alone.begin(),
                             b.alone.end(),
                             [&](const AloneDivergence& other) {
                               return other.change == ComponentFormat{c, alone.change.format} &&
                                      other.kl_mean == alone.kl_mean;
                             }),
                b.alone.end());
    }
  }
  EXPECT_EQ(b.alone.size(), expected);
}

TEST(Units, SubstitutesStandForWhatTheyReplace) {
  SearchProblem problem;
  const std::vector<Format> formats = ToyFormats(3);
  problem.components = {{ComponentKind::kQ, 0, 8, 128, "whole"},
                        {ComponentKind::kK, 0, 8, 128, "odd"},
                        {ComponentKind::kV, 0, 8, 128, "fixed"}};
  problem.ladders = {{{formats[0], 40}, {formats[1], 50}, {formats[2], 90}},
                     {{formats[1], 50, {formats[0]}}, {formats[2], 90}},
                     {{kFormatBF16, 100}}};
  problem.limit = ByteBudget{1000};
  EXPECT_EQ(problem.IndexOf(1, formats[0]), 0);
  EXPECT_EQ(problem.IndexOf(1, formats[1]), 0);
  EXPECT_EQ(problem.SharedFormats(), (std::vector<Format>{formats[0], formats[1], formats[2]}));
  EXPECT_EQ(problem.Uniform(formats[0]), (Selection{0, 0, 0}));
  EXPECT_EQ(problem.TotalBytes(problem.Uniform(formats[0])), 190);
  EXPECT_EQ(problem.ToAssignment(problem.Uniform(formats[0])),
            (Assignment{formats[0], formats[1], kFormatBF16}));
  // Two formats that give the same assignment are one.
  problem.ladders[0].erase(problem.ladders[0].begin());
  problem.ladders[0][0].instead_of = {formats[0]};
  EXPECT_EQ(problem.SharedFormats(), (std::vector<Format>{formats[1], formats[2]}));
}

TEST(Units, CountBytesOfAllTheirComponents) {
  SearchProblem problem;
  const Format int8 = ToyFormats(3)[2];
  problem.components = {{ComponentKind::kQ, 0, 8, 128, "q"},
                        {ComponentKind::kO, 0, 8, 128, "o"},
                        {ComponentKind::kK, 0, 4, 128, "k"}};
  problem.units = {{0, 2}, {1}};
  problem.ladders = {{{int8, 12 * 130}}, {{int8, 8 * 130}, {kFormatBF16, 8 * 256}}};
  EXPECT_EQ(problem.UnitOf(0), 0);
  EXPECT_EQ(problem.UnitOf(1), 1);
  EXPECT_EQ(problem.UnitOf(2), 0);
  EXPECT_EQ(problem.BytesIn(0, kFormatBF16), 12 * 256);
  EXPECT_EQ(problem.Changes(0, 0), (std::vector<ComponentFormat>{{0, int8}, {2, int8}}));
  EXPECT_EQ(problem.TotalBytes(Selection{0, 1}), 12 * 130 + 8 * 256);
  EXPECT_EQ(problem.TotalBytes(Assignment{kFormatF32, int8, kFormatBF16}),
            8 * 512 + 8 * 130 + 4 * 256);
  // Rows that have no whole blocks count up to the next one.
  const Format q4_k = *ParseFormat("q4_k");
  EXPECT_EQ(problem.BytesIn(1, q4_k), 8 * 144);
}

}  // namespace
}  // namespace bitbudget

#ifndef BITBUDGET_TESTS_SUPPORT_SYNTHETIC_EVALUATOR_H_
#define BITBUDGET_TESTS_SUPPORT_SYNTHETIC_EVALUATOR_H_

#include <glog/logging.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "runtime/base/random.h"
#include "runtime/eval/candidate_evaluator.h"
#include "search/problem.h"

namespace bitbudget::testing {

// A known loss of an assignment. Choice i of component c makes an error vector; the loss of an
// assignment is the squared norm of the sum of its components' vectors, as the output errors of
// layers add up to first order. With one dimension per component the loss is exactly additive; the
// fewer dimensions, the more the components interact. Formats outside a ladder (the reference's)
// make no error.
struct SyntheticLoss {
  int dimensions = 0;
  std::vector<std::vector<std::vector<double>>> error;  // [component][choice][dimension]

  double Alone(int component, int choice) const {
    double sum = 0;
    for (const double e : error[component][choice]) sum += e * e;
    return sum;
  }

  double operator()(const Selection& selection) const {  // -1: the reference's format
    std::vector<double> total(dimensions, 0.0);
    for (size_t c = 0; c < selection.size(); ++c) {
      if (selection[c] < 0) continue;
      for (int d = 0; d < dimensions; ++d) total[d] += error[c][selection[c]][d];
    }
    double sum = 0;
    for (const double e : total) sum += e * e;
    return sum;
  }
};

// The formats of toy ladders, by increasing size.
inline std::vector<Format> ToyFormats(int choices) {
  const std::vector<Format> all = {{FormatKind::kInteger, 4, 128, false},
                                   {FormatKind::kInteger, 4, 32, true},
                                   {FormatKind::kInteger, 8, 0, false},
                                   kFormatBF16};
  return {all.begin(), all.begin() + choices};
}

struct Toy {
  SearchProblem problem;
  SyntheticLoss loss;
};

// A random toy: components of random sizes and sensitivities; a choice's error falls by about half
// for every bit. `dimensions` 0: additive. The budget is `fill` of the way from the smallest to the
// largest assignment.
inline Toy MakeToy(uint64_t seed, int components, int choices, int dimensions, double fill) {
  Random random(seed, {static_cast<uint64_t>(components), static_cast<uint64_t>(dimensions)});
  Toy toy;
  const bool additive = dimensions == 0;
  toy.loss.dimensions = additive ? components : dimensions;
  const double bits[] = {4.125, 4.625, 8, 16};
  int64_t largest = 0;
  for (int c = 0; c < components; ++c) {
    Component component;
    component.kind = ComponentKind::kQ;
    component.layer = c / 2;
    component.rows = 8 + static_cast<int64_t>(random.Below(56));
    component.cols = 128;
    component.name = "toy." + std::to_string(c);
    std::vector<double> direction(toy.loss.dimensions, 0.0);
    if (additive) {
      direction[c] = 1;
    } else {
      double norm = 0;
      for (double& d : direction) {
        d = 2 * random.Uniform() - 1;
        norm += d * d;
      }
      for (double& d : direction) d /= std::sqrt(norm);
    }
    const double sensitivity = std::exp(3 * random.Uniform() - 4);
    std::vector<Choice> ladder;
    toy.loss.error.emplace_back();
    for (int i = 0; i < choices; ++i) {
      ladder.push_back({ToyFormats(choices)[i],
                        static_cast<int64_t>(
                            bits[i] * static_cast<double>(component.rows * component.cols) / 8)});
      const double size =
          sensitivity * std::exp2(-0.5 * (bits[i] - 4)) * (0.7 + 0.6 * random.Uniform());
      std::vector<double> error = direction;
      for (double& e : error) e *= size;
      toy.loss.error.back().push_back(error);
    }
    largest += ladder.back().bytes;
    toy.problem.components.push_back(component);
    toy.problem.ladders.push_back(ladder);
  }
  toy.problem.fixed_bytes = 100;
  largest += toy.problem.fixed_bytes;
  const int64_t smallest = toy.problem.SmallestBytes();
  toy.problem.limit =
      ByteBudget{smallest + static_cast<int64_t>(fill * static_cast<double>(largest - smallest))};
  return toy;
}

// Calls visit(selection) for every selection that fits the budget.
template <typename Visit>
void ForEveryFitting(const SearchProblem& problem, const Visit& visit) {
  Selection selection(problem.size(), 0);
  while (true) {
    if (problem.Fits(selection)) visit(selection);
    int c = 0;
    while (c < problem.size() && ++selection[c] == static_cast<int>(problem.ladders[c].size())) {
      selection[c++] = 0;
    }
    if (c == problem.size()) return;
  }
}

// The least loss of all assignments that fit.
inline double BruteForceLoss(const Toy& toy) {
  double best = std::numeric_limits<double>::infinity();
  ForEveryFitting(toy.problem,
                  [&](const Selection& selection) { best = std::min(best, toy.loss(selection)); });
  return best;
}

// Evaluates assignments by a SyntheticLoss: KL and nll per token follow the loss, FDT falls and SDT
// rises with it.
class SyntheticEvaluator : public CandidateEvaluator {
 public:
  struct Options {
    int probes = 4;
    int tokens = 100;
    // Every probe of every assignment sees the loss times 1 + noise * u, u uniform in [-1, 1).
    double noise = 0;
    // Evaluations after which kCancelled is returned; < 0: never.
    int64_t cancel_after = -1;
  };

  explicit SyntheticEvaluator(const Toy& toy) : SyntheticEvaluator(toy, Options()) {}
  SyntheticEvaluator(const Toy& toy, const Options& options) : toy_(toy), options_(options) {}

  Assignment Reference() const { return Assignment(toy_.problem.components.size(), kFormatF32); }

  Evaluation Exactly(const Assignment& assignment) const {
    Selection selection;
    uint64_t key = 0;
    for (UnitId u = 0; u < toy_.problem.size(); ++u) {
      const std::vector<ComponentId> parts = toy_.problem.Parts(u);
      for (const ComponentId c : parts) {
        CHECK(assignment[c] == assignment[parts[0]]) << "unit " << u << " was torn apart";
      }
      selection.push_back(toy_.problem.IndexOf(u, assignment[parts[0]]));
      key = Random(key, {static_cast<uint64_t>(selection.back() + 1)}).Next();
    }
    const double loss = toy_.loss(selection);
    Evaluation evaluation;
    for (int p = 0; p < options_.probes; ++p) {
      const double u = 2 * Random(key, {static_cast<uint64_t>(p)}).Uniform() - 1;
      const double kl = loss * (1 + options_.noise * u);
      ProbeResult probe;
      probe.tokens = options_.tokens;
      probe.fdt = static_cast<int>(options_.tokens * std::exp(-4 * kl));
      probe.sdt = (options_.tokens - probe.fdt) / 2;
      probe.kl_sum = kl * options_.tokens;
      probe.nll_sum = (0.5 + kl) * options_.tokens;
      evaluation.push_back(probe);
    }
    return evaluation;
  }

  absl::Status SetIncumbent(const Assignment& assignment) override {
    if (Cancelled()) return absl::CancelledError("interrupted");
    incumbent_ = assignment;
    evaluation_ = Exactly(assignment);
    return absl::OkStatus();
  }

  const Assignment& incumbent() const override { return incumbent_; }
  const Evaluation& incumbent_evaluation() const override { return evaluation_; }

  int64_t probe_count() const override { return options_.probes; }

  using CandidateEvaluator::Evaluate;
  absl::StatusOr<Evaluation> Evaluate(std::span<const ComponentFormat> delta,
                                      ProbeRange range) override {
    if (Cancelled()) return absl::CancelledError("interrupted");
    const Evaluation all = Exactly(WithDelta(incumbent_, delta));
    return Evaluation(all.begin() + range.first, all.begin() + range.first + range.count);
  }

  absl::Status Commit(std::span<const ComponentFormat> delta) override {
    incumbent_ = WithDelta(incumbent_, delta);
    evaluation_ = Exactly(incumbent_);
    return absl::OkStatus();
  }

  // One row per probe and one layer.
  double CostOf(std::optional<std::span<const ComponentFormat>>, ProbeRange range) const override {
    return static_cast<double>(range.count);
  }

  int64_t evaluations() const { return evaluations_; }

 private:
  bool Cancelled() {
    if (evaluations_ == options_.cancel_after) return true;
    ++evaluations_;
    return false;
  }

  const Toy& toy_;
  const Options options_;
  Assignment incumbent_;
  Evaluation evaluation_;
  int64_t evaluations_ = 0;
};

}  // namespace bitbudget::testing

#endif  // BITBUDGET_TESTS_SUPPORT_SYNTHETIC_EVALUATOR_H_

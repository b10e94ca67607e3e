#include "planner/jobs/search_work.h"

#include <algorithm>
#include <utility>

#include "planner/jobs/plan_retraining.h"
#include "planner/jobs/search_methods.h"
#include "runtime/training/recovery.h"
#include "search/evolution.h"
#include "search/gradient_descent.h"
#include "search/greedy.h"
#include "search/sparsify.h"
#include "search/widths.h"

namespace bitbudget {
namespace {

// A candidate that changes one component starts half-way through the model, on average.
constexpr double kHalfRun = 0.5;
// SearchSession::Screen's share of the probes.
constexpr double kScreened = 1.0 / 6;
// MeasureAlone's limit (additive.cc), in runs on all probes.
constexpr double kAlonePerUnit = 1.3;

PhaseWork StepWork(std::vector<std::string> phases, double passes, double times) {
  PhaseWork work{.phases = std::move(phases)};
  work.passes = passes;
  work.times = times;
  work.by_step = work.limit = true;
  return work;
}

class Methods {
 public:
  Methods(const PlanOptions& options, const WorkSizes& sizes, const SharedSearches& shared)
      : options_(options),
        sizes_(sizes),
        shared_(shared),
        units_(static_cast<double>(sizes.free_units())) {
    for (const std::vector<Choice>& ladder : sizes.problem().ladders) {
      if (ladder.size() > 1) choices_ += static_cast<double>(ladder.size());
    }
  }

  std::vector<PhaseWork> Make() const {
    const std::string& name = options_.search;
    if (sizes_.problem().AllPinned()) return {Candidates(1)};
    if (name == "greedy") return ByMoves() ? GreedyByMoves() : GreedyByTrials();
    if (name == "additive") return {Estimates() ? StepWork({"start"}, 1, 1) : Alone()};
    if (name == "beam") return Beam();
    if (name == "sparsify") return Sparsify();
    if (name == "evolution") return Evolution();
    if (name == "uniform") return {WithEncoding(Candidates(sizes_.UniformCandidates()))};
    const auto chains = static_cast<int64_t>(WidthChains(sizes_.problem()).size());
    return {WithEncoding(Candidates(std::max<int64_t>(1, 2 * chains)))};
  }

 private:
  // A scorer says what choices alone cost.
  bool Estimates() const { return !options_.exhaustive && options_.CostScorer() != nullptr; }
  bool ByMoves() const {
    return NeedsOf(options_).moves && Estimates() && options_.CostScorer()->pairs;
  }

  // Where costs have not encoded what is run.
  PhaseWork WithEncoding(PhaseWork work) const {
    if (!shared_.encoded && !NeedsOf(options_).output_errors)
      work.passes += sizes_.EncodingPassesOnce();
    return work;
  }

  std::vector<PhaseWork> GreedyByMoves() const {
    const GradientDescentOptions limits = GreedyOptions().gradients;
    const int64_t probes = MoveProbes(sizes_.search_probes());
    // Beside the gradients, all formats are decoded and multiplied with them.
    const double formats = sizes_.ProductPasses([](const Component&) { return kDecodedRows; });
    PhaseWork gradients{.phases = {"gradients"}, .kind = WorkKind::kGradients};
    gradients.passes = kGradient * sizes_.PassesOf(probes, sizes_.window()) + formats;
    gradients.times = limits.max_rounds;
    gradients.limit = true;
    return {gradients, StepWork({"start", "other starts", "round *"}, 1, limits.max_evaluations)};
  }

  PhaseWork Alone() const {
    const double all = choices_ / static_cast<double>(shared_.alike);
    if (options_.exhaustive) {
      return WithEncoding(StepWork({"components alone"}, kHalfRun, all + 2));
    }
    return StepWork({"components alone"},
                    kHalfRun * kScreened,
                    std::min(all, kAlonePerUnit / kScreened * units_) + 2);
  }

  std::vector<PhaseWork> GreedyByTrials() const {
    const GreedyOptions limits;
    const double share = options_.exhaustive ? 1 : kScreened;
    const double rounds = limits.max_rounds * (2 * units_ + 1);
    return {Alone(),
            StepWork({"round *"}, kHalfRun * share, rounds),
            StepWork({"swaps"}, kHalfRun, options_.exhaustive ? 2 * units_ : units_)};
  }

  std::vector<PhaseWork> Beam() const {
    // beam.cc: of every state some of its expansions are screened and few run.
    const double width = options_.beam_width;
    constexpr double kRun = 3, kLeastPool = 8;
    const double pool = std::min(units_, std::max(2 * width, kLeastPool));
    const double states = std::min(width, units_);
    const double later = options_.exhaustive ? states * units_ : states * (pool + kRun + 1);
    const double cost = options_.exhaustive
                            ? kHalfRun
                            : kHalfRun * (pool * kScreened + kRun + 1) / (pool + kRun + 1);
    const double depths = std::max(0.0, units_ - 1);
    return {WithEncoding(StepWork({"depth 1"}, kHalfRun, units_ + 1)),
            StepWork({"depth *"}, cost, depths * later),
            StepWork({"the order found"}, kHalfRun, units_ + 1)};
  }

  std::vector<PhaseWork> Evolution() const {
    // evolution.cc: 16 offspring run a twelfth of the probes, four of them a third, one all.
    constexpr double kRuns = 16 + 4 + 1;
    constexpr double kEach = kHalfRun * (16.0 / 12 + 4.0 / 3 + 1) / kRuns;
    const double runs = EvolutionOptions().max_evaluations / kEach;
    // Every format of every component is encoded once, by the run that first has it.
    return {StepWork({"start", "generations"}, kEach + sizes_.EncodingPasses() / runs, runs)};
  }

  std::vector<PhaseWork> Sparsify() const {
    const SparsifyOptions limits;
    const auto rounds = static_cast<double>(limits.round_permille.size());
    std::vector<PhaseWork> parts;
    if (options_.retraining.has_value()) {
      const RetrainingSteps& steps = *options_.retraining;
      const double pass = kGradient * sizes_.PassesOf(RecoveryOptions().batch, sizes_.window());
      parts.push_back(
          {.phases = {"sampling*"},
           .kind = WorkKind::kGeneration,
           .passes = kGenerated * sizes_.PassesOf(RetrainingSequences(steps), sizes_.window())});
      PhaseWork training =
          StepWork({"round * of *"}, pass, rounds * (steps.masked + steps.unmasked));
      training.kind = WorkKind::kTraining;
      parts.push_back(std::move(training));
      parts.push_back(StepWork({"retrained"}, 1, rounds));
    }
    // Of every unit up to three shares of zeros, all of them encoded.
    const double runs = 3 * units_ + 1;
    const double encoding = units_ > 0 ? sizes_.EncodingPassesOnce() / units_ : 0;
    parts.push_back(StepWork({"round *"}, kHalfRun + encoding, rounds * runs));
    return parts;
  }

  const PlanOptions& options_;
  const WorkSizes& sizes_;
  const SharedSearches shared_;
  const double units_;  // that are not pinned
  double choices_ = 0;  // of them
};

}  // namespace

std::vector<PhaseWork> SearchWork(const PlanOptions& options,
                                  const WorkSizes& sizes,
                                  const SharedSearches& shared) {
  return Methods(options, sizes, shared).Make();
}

PhaseWork Candidates(int64_t count) {
  return StepWork({"candidates"}, 1, static_cast<double>(count));
}

}  // namespace bitbudget

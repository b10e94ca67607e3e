#include "planner/jobs/plan_work.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <utility>

#include "planner/jobs/plan_retraining.h"
#include "planner/jobs/search_methods.h"
#include "planner/jobs/search_work.h"
#include "planner/jobs/work_sizes.h"
#include "planner/runs/calibration.h"
#include "planner/runs/output_errors.h"
#include "planner/runs/shared_probes.h"
#include "runtime/quantize/encoders.h"
#include "scoring/fisher.h"
#include "scoring/linearity.h"
#include "scoring/registry.h"

namespace bitbudget {
namespace {

// The stages in the order of PlanJobs (plan_job.cc).
class Stages {
 public:
  Stages(const PlanOptions& options, const WorkSizes& sizes)
      : options_(options), sizes_(sizes), needs_(NeedsOf(options)) {}

  std::vector<WorkStage> Make() {
    Add({"calibration", Calibration()});
    Add({"search probes", Probes(ProbeRole::kSearch)});
    if (!sizes_.problem().AllPinned()) Add({"layer order", LayerOrder()});
    if (needs_.text) {
      const double head = sizes_.HeadPasses(sizes_.search());
      Add({"text probes",
           {{.phases = {"reference streams"}, .passes = kFloatPass},
            {.phases = {"reference distributions"}, .passes = kFloatPass * head}}});
    }
    if (needs_.output_errors) Add({"costs", Costs()});
    Add({"search", SearchWork(options_, sizes_)});
    Add({"uniform rivals", {Candidates(sizes_.UniformCandidates())}});
    Add({"held-out probes", Probes(ProbeRole::kHeldOut)});
    const double held_out = sizes_.Passes(sizes_.held_out());
    const double noise_floor =
        held_out * std::min(1.0,
                            static_cast<double>(kNoiseFloorProbes) /
                                static_cast<double>(options_.held_out_probes));
    const double runs = options_.retraining.has_value() ? 4 : 3;
    Add({"held-out comparison",
         {{.phases = {"noise floor"}, .passes = noise_floor * kFloatPass},
          {.phases = {"held-out comparison"}, .passes = held_out * (runs - 1)}}});
    return std::move(stages_);
  }

 private:
  void Add(WorkStage stage) {
    if (!stage.parts.empty()) stages_.push_back(std::move(stage));
  }

  // Sequences of the calibration role: sampled where there are no windows of text.
  void AddSequences(int64_t count, bool windows, std::vector<PhaseWork>* parts) const {
    const ProbeSource source = options_.workspace.probes.source;
    if (source == ProbeSource::kText || (source == ProbeSource::kPrompts && !windows)) return;
    parts->push_back({.phases = {"sampling calibration*"},
                      .kind = WorkKind::kGeneration,
                      .passes = kGenerated * sizes_.PassesOf(count, sizes_.window())});
  }

  std::vector<PhaseWork> Calibration() const {
    std::vector<PhaseWork> parts;
    if (options_.workspace.pruning == Pruning::kFisher) {
      AddSequences(kFisherSequences, true, &parts);
      parts.push_back(Gradients(kFisherSequences));
    }
    const EncoderInfo& encoder = **FindEncoder(options_.workspace.encoder);
    const bool wanda = options_.workspace.pruning == Pruning::kWanda;
    if (encoder.needs == StatsNeed::kGram) {
      const int64_t rows = kGramTokensPerInput * sizes_.widest();
      const int64_t count = std::clamp<int64_t>(rows / sizes_.window(), 1, kGramProbes);
      AddSequences(count, true, &parts);
      if (encoder.weighs_tokens) parts.push_back(Gradients(count));
      // x x^T of every layer beside the products with its weights.
      const double pass = sizes_.PassesOf(count, sizes_.window());
      parts.push_back({.phases = {"Gram matrices"}, .passes = pass * (kFloatPass + kFloatProduct)});
      if (encoder.tunes_layers) {
        parts.push_back({.phases = {"layer inputs"}, .passes = kFloatPass * pass});
      }
    } else if (encoder.needs == StatsNeed::kMoments || wanda) {
      AddSequences(kMomentProbes, false, &parts);
      parts.push_back({.phases = {"input moments"},
                       .passes = kFloatPass * sizes_.PassesOf(kMomentProbes, sizes_.prompt())});
    }
    return parts;
  }

  PhaseWork Gradients(int64_t sequences) const {
    return {.phases = {"gradients"},
            .kind = WorkKind::kGradients,
            .passes = kGradient * sizes_.PassesOf(sequences, sizes_.window())};
  }

  std::vector<PhaseWork> Probes(ProbeRole role) const {
    const ProbeRows& rows = role == ProbeRole::kSearch ? sizes_.search() : sizes_.held_out();
    std::vector<PhaseWork> parts;
    if (options_.workspace.probes.source == ProbeSource::kModel) {
      // Every rank samples all of them.
      parts.push_back({.phases = {std::string("sampling ") + ProbeRoleName(role) + " probes"},
                       .kind = WorkKind::kGeneration,
                       .passes = kGenerated * sizes_.Passes(rows) * sizes_.ranks() / 2});
    }
    parts.push_back({.phases = {"reference completions"},
                     .kind = WorkKind::kGeneration,
                     .passes = kGenerated * sizes_.Passes(rows)});
    parts.push_back(
        {.phases = {"reference distributions"}, .passes = kFloatPass * sizes_.HeadPasses(rows)});
    return parts;
  }

  std::vector<PhaseWork> LayerOrder() const {
    std::vector<PhaseWork> parts;
    if (needs_.layer_order != MethodNeeds::LayerOrder::kScored) return parts;
    const Scorer& scorer = **FindScorer(options_.scorer);
    if (scorer.needs == ScorerNeeds::kWeights) return parts;
    const bool ladders = scorer.needs == ScorerNeeds::kLadders;
    const int64_t count = ladders ? scorer.sequences : options_.search_probes;
    AddSequences(count, ladders, &parts);
    if (scorer.gradients) parts.push_back(Gradients(count));
    if (!ladders) {
      parts.push_back({.phases = {"LIM", "signal propagation", "calibration inputs"},
                       .passes = kFloatPass * sizes_.PassesOf(count, sizes_.prompt())});
    }
    return parts;
  }

  std::vector<PhaseWork> Costs() const {
    std::vector<PhaseWork> parts;
    const double encoding = sizes_.EncodingPasses();
    const Scorer* const scorer = options_.CostScorer();
    if (scorer == nullptr) {
      AddSequences(kErrorProbes, false, &parts);
      parts.push_back({.phases = {"calibration inputs"},
                       .passes = kFloatPass * sizes_.PassesOf(kErrorProbes, sizes_.prompt())});
      parts.push_back(
          {.phases = {"output errors"},
           .kind = WorkKind::kCosts,
           .passes = encoding + kFloatProduct * sizes_.ProductPasses([](const Component&) {
             return static_cast<double>(kErrorRows);
           })});
      return parts;
    }
    const int64_t count = std::min(scorer->sequences, sizes_.search_probes());
    if (!scorer->gradients) {
      // Each component is run with noise at some levels, from its stage on, or none is.
      const bool runs = scorer->name == std::string("linearity");
      const double components = static_cast<double>(sizes_.problem().components.size());
      const double times = runs ? 2 + components * std::size(kLinearityNoise) / 2 : 1;
      parts.push_back(
          {.phases = {"input moments", "noise insertion"},
           .kind = WorkKind::kCosts,
           .passes = encoding + kFloatPass * times * sizes_.PassesOf(count, sizes_.window())});
      return parts;
    }
    const double rows = static_cast<double>(count * sizes_.window());
    // Of every format the change times the Gram matrices of inputs and outputs (kfac.cc).
    const double products = sizes_.ProductPasses([&](const Component& component) {
      if (component.layer < 0) return rows / 2;
      return static_cast<double>(component.cols) +
             std::min(static_cast<double>(component.rows), rows);
    });
    PhaseWork work = Gradients(count);
    work.kind = WorkKind::kCosts;
    work.passes += encoding + kFloatProduct * products;
    parts.push_back(std::move(work));
    return parts;
  }

  const PlanOptions& options_;
  const WorkSizes& sizes_;
  const MethodNeeds needs_;
  std::vector<WorkStage> stages_;
};

bool Matches(absl::string_view name, absl::string_view pattern) {
  const size_t star = pattern.find('*');
  if (star == absl::string_view::npos) return name == pattern;
  const absl::string_view head = pattern.substr(0, star);
  if (name.substr(0, head.size()) != head) return false;
  const absl::string_view rest = pattern.substr(star + 1);
  for (size_t at = head.size(); at <= name.size(); ++at) {
    if (Matches(name.substr(at), rest)) return true;
  }
  return false;
}

}  // namespace

bool IsPhase(absl::string_view name, const PhaseWork& work) {
  return std::any_of(work.phases.begin(), work.phases.end(), [&](const std::string& phase) {
    return Matches(name, phase);
  });
}

double WorkStage::passes() const {
  double sum = 0;
  for (const PhaseWork& part : parts) sum += part.total();
  return sum;
}

bool WorkStage::limit() const {
  return std::any_of(parts.begin(), parts.end(), [](const PhaseWork& part) { return part.limit; });
}

double PlanWork::passes() const {
  double sum = 0;
  for (const WorkStage& stage : stages) sum += stage.passes();
  return sum;
}

PlanWork WorkOf(const Model& model,
                const PlanOptions& options,
                const SearchProblem& problem,
                const ProbeMaker& maker,
                int64_t ranks) {
  const WorkSizes sizes(model, options, problem, maker, ranks);
  return {{sizes.pass_macs(), sizes.search_probes(), sizes.window()},
          Stages(options, sizes).Make()};
}

}  // namespace bitbudget

#include "planner/jobs/plan_work.h"

#include <algorithm>
#include <iterator>
#include <set>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "planner/jobs/plan_retraining.h"
#include "planner/jobs/search_methods.h"
#include "planner/jobs/search_work.h"
#include "planner/jobs/work_sizes.h"
#include "planner/runs/calibration.h"
#include "planner/runs/output_errors.h"
#include "planner/runs/shared_probes.h"
#include "runtime/quantize/encoders.h"
#include "scoring/fisher.h"
#include "scoring/kfac.h"
#include "scoring/linearity.h"
#include "scoring/registry.h"

namespace bitbudget {
namespace {

// The stages in the order of PlanJobs (plan_job.cc).
class Stages {
 public:
  Stages(const Model& model,
         std::span<const JobToDo> jobs,
         const HeldOutExtras& extras,
         const ProbeMaker& maker,
         int64_t ranks)
      : jobs_(jobs), extras_(extras) {
    for (const JobToDo& job : jobs) {
      sizes_of_.emplace_back(model, *job.options, *job.problem, maker, ranks);
    }
    Enter(0);
  }

  const WorkSizes& sizes() const { return *sizes_; }

  std::vector<WorkStage> Make() {
    Add({"calibration", Calibration()});
    Add({"search probes", Probes(ProbeRole::kSearch)});
    for (size_t job = 0; job < jobs_.size(); ++job) {
      Enter(job);
      AddSearch(static_cast<int>(job));
    }
    Enter(0);
    int64_t uniform = 0;
    for (const WorkSizes& sizes : sizes_of_) {
      uniform = std::max(uniform, sizes.UniformCandidates());
    }
    Add({"uniform rivals", {Candidates(uniform)}});
    Add({"held-out probes", Probes(ProbeRole::kHeldOut)});
    Add({"held-out comparison", HeldOut(uniform)});
    return std::move(stages_);
  }

 private:
  void Enter(size_t job) {
    options_ = jobs_[job].options;
    sizes_ = &sizes_of_[job];
    needs_ = NeedsOf(*options_);
  }

  void Add(WorkStage stage) {
    if (!stage.parts.empty()) stages_.push_back(std::move(stage));
  }

  // Orders of layers and costs are made for the first job that needs them. What searches of the
  // same kind measure of components alone, and encodings, is shared too.
  void AddSearch(int job) {
    const bool pinned = sizes_->problem().AllPinned();
    if (!pinned && needs_.layer_order == MethodNeeds::LayerOrder::kScored &&
        orders_.insert(options_->scorer).second) {
      Add({"layer order", LayerOrder(), job});
    }
    if (needs_.text) {
      const double head = sizes_->HeadPasses(sizes_->search());
      Add({"text probes",
           {{.phases = {"reference streams"}, .passes = kFloatPass},
            {.phases = {"reference distributions"}, .passes = kFloatPass * head}},
           job});
    }
    if (needs_.output_errors && costs_.insert(CostsKey()).second) Add({"costs", Costs(), job});
    SharedSearches shared;
    shared.alike = std::count_if(jobs_.begin(), jobs_.end(), [&](const JobToDo& other) {
      return other.options->search == options_->search;
    });
    shared.encoded = job > 0;
    Add({SearchName(), SearchWork(*options_, *sizes_, shared), job});
  }

  // What costs are of (EstimateCosts): ladders depend on the budget.
  std::string CostsKey() const {
    std::string key = options_->costs;
    for (const std::vector<Choice>& ladder : sizes_->problem().ladders) {
      absl::StrAppend(&key, "/");
      for (const Choice& choice : ladder) absl::StrAppend(&key, choice.format.Name(), ",");
    }
    return key;
  }

  std::string SearchName() const {
    if (jobs_.size() == 1) return "search";
    const Budget* const budget = std::get_if<Budget>(&options_->limit);
    return absl::StrCat(options_->search, budget != nullptr ? " " + budget->text : "");
  }

  std::vector<PhaseWork> HeldOut(int64_t uniform) const {
    const double pass = sizes_->Passes(sizes_->held_out());
    const auto jobs = static_cast<double>(jobs_.size());
    // The best uniform assignment of a budget is run once, however many plans it is compared with.
    std::set<std::string> budgets;
    for (const JobToDo& job : jobs_) {
      const Budget* const budget = std::get_if<Budget>(&job.options->limit);
      budgets.insert(budget != nullptr ? budget->text : "");
    }
    double runs =
        jobs + static_cast<double>(std::min(uniform, static_cast<int64_t>(budgets.size())));
    if (options_->retraining.has_value()) runs += jobs;
    const double noise_floor = std::min(
        1.0,
        static_cast<double>(kNoiseFloorProbes) / static_cast<double>(options_->held_out_probes));
    std::vector<PhaseWork> parts = {
        {.phases = {"noise floor"}, .passes = pass * noise_floor * kFloatPass}};
    parts.push_back({.phases = {"held-out comparison"}, .passes = pass * runs / jobs});
    parts.back().times = jobs;
    if (extras_.continuations > 0) {
      const int64_t tokens = sizes_->prompt() + sizes_->completion();
      parts.push_back({.phases = {"continuations"},
                       .kind = WorkKind::kGeneration,
                       .passes = kGenerated * sizes_->PassesOf(extras_.continuations, tokens)});
      parts.back().times = jobs;
    }
    if (!extras_.others.empty()) {
      const auto others = static_cast<double>(extras_.others.size());
      parts.push_back({.phases = {"others"}, .passes = pass * others});
    }
    return parts;
  }

  // Sequences of the calibration role: sampled where there are no windows of text.
  void AddSequences(int64_t count, bool windows, std::vector<PhaseWork>* parts) const {
    const ProbeSource source = options_->workspace.probes.source;
    if (source == ProbeSource::kText || (source == ProbeSource::kPrompts && !windows)) return;
    parts->push_back({.phases = {"sampling calibration*"},
                      .kind = WorkKind::kGeneration,
                      .passes = kGenerated * sizes_->PassesOf(count, sizes_->window())});
  }

  std::vector<PhaseWork> Calibration() const {
    std::vector<PhaseWork> parts;
    if (options_->workspace.pruning == Pruning::kFisher) {
      AddSequences(kFisherSequences, true, &parts);
      parts.push_back(Gradients(kFisherSequences));
    }
    const EncoderInfo& encoder = **FindEncoder(options_->workspace.encoder);
    const bool wanda = options_->workspace.pruning == Pruning::kWanda;
    if (encoder.needs == StatsNeed::kGram) {
      const int64_t rows = kGramTokensPerInput * sizes_->widest();
      const int64_t count = std::clamp<int64_t>(rows / sizes_->window(), 1, kGramProbes);
      AddSequences(count, true, &parts);
      if (encoder.weighs_tokens) parts.push_back(Gradients(count));
      // x x^T of every layer beside the products with its weights.
      const double pass = sizes_->PassesOf(count, sizes_->window());
      parts.push_back({.phases = {"Gram matrices"}, .passes = pass * (kFloatPass + kFloatProduct)});
      if (encoder.tunes_layers) {
        parts.push_back({.phases = {"layer inputs"}, .passes = kFloatPass * pass});
      }
    } else if (encoder.needs == StatsNeed::kMoments || wanda) {
      AddSequences(kMomentProbes, false, &parts);
      parts.push_back({.phases = {"input moments"},
                       .passes = kFloatPass * sizes_->PassesOf(kMomentProbes, sizes_->prompt())});
    }
    return parts;
  }

  PhaseWork Gradients(int64_t sequences) const {
    return {.phases = {"gradients"},
            .kind = WorkKind::kGradients,
            .passes = kGradient * sizes_->PassesOf(sequences, sizes_->window())};
  }

  std::vector<PhaseWork> Probes(ProbeRole role) const {
    const ProbeRows& rows = role == ProbeRole::kSearch ? sizes_->search() : sizes_->held_out();
    std::vector<PhaseWork> parts;
    if (options_->workspace.probes.source == ProbeSource::kModel) {
      // Every rank samples all of them.
      parts.push_back({.phases = {std::string("sampling ") + ProbeRoleName(role) + " probes"},
                       .kind = WorkKind::kGeneration,
                       .passes = kGenerated * sizes_->Passes(rows) * sizes_->ranks() / 2});
    }
    parts.push_back({.phases = {"reference completions"},
                     .kind = WorkKind::kGeneration,
                     .passes = kGenerated * sizes_->Passes(rows)});
    parts.push_back(
        {.phases = {"reference distributions"}, .passes = kFloatPass * sizes_->HeadPasses(rows)});
    return parts;
  }

  std::vector<PhaseWork> LayerOrder() const {
    std::vector<PhaseWork> parts;
    const Scorer& scorer = **FindScorer(options_->scorer);
    if (scorer.needs == ScorerNeeds::kWeights) return parts;
    const bool ladders = scorer.needs == ScorerNeeds::kLadders;
    const int64_t count = ladders ? scorer.sequences : options_->search_probes;
    AddSequences(count, ladders, &parts);
    if (scorer.gradients) parts.push_back(Gradients(count));
    if (!ladders) {
      parts.push_back({.phases = {"LIM", "signal propagation", "calibration inputs"},
                       .passes = kFloatPass * sizes_->PassesOf(count, sizes_->prompt())});
    }
    return parts;
  }

  std::vector<PhaseWork> Costs() const {
    std::vector<PhaseWork> parts;
    const double encoding = sizes_->EncodingPasses();
    const Scorer* const scorer = options_->CostScorer();
    if (scorer == nullptr) {
      AddSequences(kErrorProbes, false, &parts);
      parts.push_back({.phases = {"calibration inputs"},
                       .passes = kFloatPass * sizes_->PassesOf(kErrorProbes, sizes_->prompt())});
      parts.push_back(
          {.phases = {"output errors"},
           .kind = WorkKind::kCosts,
           .passes = encoding + kFloatProduct * sizes_->ProductPasses([](const Component&) {
             return static_cast<double>(kErrorRows);
           })});
      return parts;
    }
    const int64_t count = std::min(scorer->sequences, sizes_->search_probes());
    if (!scorer->gradients) {
      // Each component is run with noise at some levels, from its stage on, or none is.
      const bool runs = scorer->name == std::string("linearity");
      const double components = static_cast<double>(sizes_->problem().components.size());
      const double times = runs ? 2 + components * std::size(kLinearityNoise) / 2 : 1;
      parts.push_back(
          {.phases = {"input moments", "noise insertion"},
           .kind = WorkKind::kCosts,
           .passes = encoding + kFloatPass * times * sizes_->PassesOf(count, sizes_->window())});
      return parts;
    }
    // Of every format the change is decoded and multiplied with what stands for all rows.
    const double products = sizes_->ProductPasses([](const Component& component) {
      return kDecodedRows + static_cast<double>(component.layer < 0 ? kKfacHeadRows : kKfacRows);
    });
    PhaseWork work = Gradients(count);
    work.kind = WorkKind::kCosts;
    work.passes += encoding + products;
    parts.push_back(std::move(work));
    return parts;
  }

  const std::span<const JobToDo> jobs_;
  const HeldOutExtras& extras_;
  std::vector<WorkSizes> sizes_of_;  // by job
  // The job at hand.
  const PlanOptions* options_ = nullptr;
  const WorkSizes* sizes_ = nullptr;
  MethodNeeds needs_;
  std::set<std::string> orders_, costs_;  // that are there
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
                std::span<const JobToDo> jobs,
                const HeldOutExtras& extras,
                const ProbeMaker& maker,
                int64_t ranks) {
  Stages stages(model, jobs, extras, maker, ranks);
  const WorkSizes& sizes = stages.sizes();
  const PassSize pass{sizes.pass_macs(), sizes.search_probes(), sizes.window()};
  return {pass, stages.Make()};
}

}  // namespace bitbudget

#include "planner/jobs/work_sizes.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "planner/jobs/search_methods.h"
#include "runtime/eval/reference.h"
#include "search/uniform.h"

namespace bitbudget {
namespace {

// Rows whose products take as long as an encoder's work on the weights, measured as the factors of
// work_sizes.h. What encoders that solve for codes take depends on the widths as well.
struct EncoderRows {
  absl::string_view encoder;
  double rows;
};
constexpr EncoderRows kEncoderRows[] = {
    {"rtn", 300},
    {"clip", 1500},
    {"imatrix", 1800},
    {"gptq", 45000},
    {"gptq-guided", 45000},
    {"gptq+block", 450000},
};
constexpr double kLearnedRows = 250000;  // lwc and what tries its grids

double EncodingRows(absl::string_view encoder) {
  for (const EncoderRows& known : kEncoderRows) {
    if (known.encoder == encoder) return known.rows;
  }
  return kLearnedRows;
}

ProbeRows RowsOf(const PlanOptions& options,
                 const ProbeMaker& maker,
                 ProbeRole role,
                 int64_t count,
                 int64_t ranks,
                 int64_t* probes) {
  std::vector<int64_t> prompts(static_cast<size_t>(count), maker.prefix_tokens());
  if (options.workspace.probes.source != ProbeSource::kModel) {
    prompts.clear();
    Progress unseen;
    const auto chosen = maker.Prompts(role, count, {}, &unseen);  // read, not sampled
    if (chosen.ok()) {
      for (const auto& prompt : *chosen) prompts.push_back(static_cast<int64_t>(prompt.size()));
    }
  }
  ProbeRows rows;
  const double share = 1.0 / static_cast<double>(ranks);
  for (const int64_t prompt : prompts) {
    const auto completion = static_cast<double>(maker.completion_tokens());
    rows.rows += share * (static_cast<double>(prompt) + completion - 1);
    rows.compared +=
        share *
        (completion + static_cast<double>(std::max<int64_t>(0, prompt - kTextPromptTokens)));
  }
  *probes = static_cast<int64_t>(prompts.size());
  return rows;
}

}  // namespace

WorkSizes::WorkSizes(const Model& model,
                     const PlanOptions& options,
                     const SearchProblem& problem,
                     const ProbeMaker& maker,
                     int64_t ranks)
    : problem_(problem),
      ranks_(ranks),
      window_(std::max<int64_t>(1, maker.window_tokens())),
      prompt_(std::max<int64_t>(1, maker.prefix_tokens())),
      completion_(maker.completion_tokens()),
      estimates_(NeedsOf(options).output_errors && options.CostScorer() != nullptr),
      encoding_rows_(EncodingRows(options.workspace.encoder)) {
  int64_t held_out_probes = 0;
  search_ =
      RowsOf(options, maker, ProbeRole::kSearch, options.search_probes, ranks, &search_probes_);
  held_out_ =
      RowsOf(options, maker, ProbeRole::kHeldOut, options.held_out_probes, ranks, &held_out_probes);
  for (const Component& component : model.components()) {
    widest_ = std::max(widest_, component.cols);
    if (component.layer >= 0)
      layer_weights_ += static_cast<double>(component.rows * component.cols);
  }
  const Component& head = model.component(model.head());
  head_weights_ = static_cast<double>(head.rows * head.cols);
  for (UnitId u = 0; u < problem.size(); ++u) {
    ladder_weights_ +=
        static_cast<double>(problem.Weights(u)) * static_cast<double>(problem.ladders[u].size());
  }
}

double WorkSizes::PassesOf(int64_t sequences, int64_t tokens) const {
  const double rows = static_cast<double>(sequences * tokens);
  return Macs({rows, rows}) / pass_macs();
}

double WorkSizes::ProductPasses(const std::function<double(const Component&)>& rows) const {
  double macs = 0;
  for (UnitId u = 0; u < problem_.size(); ++u) {
    for (const ComponentId c : problem_.Parts(u)) {
      const Component& component = problem_.components[c];
      macs += rows(component) * static_cast<double>(component.rows * component.cols) *
              static_cast<double>(problem_.ladders[u].size());
    }
  }
  return macs / pass_macs();
}

int64_t WorkSizes::free_units() const {
  int64_t units = 0;
  for (UnitId u = 0; u < problem_.size(); ++u) units += !problem_.Pinned(u);
  return units;
}

int64_t WorkSizes::UniformCandidates() const {
  if (problem_.AllPinned()) return 1;
  int64_t candidates = 0;
  for (const Format& format : problem_.SharedFormats()) {
    candidates += problem_.Fits(problem_.Uniform(format));
  }
  return estimates_ ? std::min(candidates, static_cast<int64_t>(kLikeliestUniform)) : candidates;
}

}  // namespace bitbudget

#include "planner/runs/calibration.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "planner/runs/messages.h"
#include "planner/runs/output_errors.h"
#include "runtime/base/status_macros.h"
#include "runtime/model/decoder/generate.h"
#include "runtime/quantize/encoder.h"
#include "runtime/quantize/gram.h"
#include "runtime/quantize/input_moments.h"

namespace bitbudget {
namespace {

// Tokens that a Gram matrix is averaged over, per input: enough for its smallest eigenvalues to be
// known to a factor of (1 - 1/4)^2 for normal inputs. And the most prompts that are run for them.
constexpr int64_t kGramTokensPerInput = 16;
constexpr int64_t kGramProbes = 512;

// Prompts that moments are averaged over. A moment of n tokens has a relative error of about
// sqrt(2 / n) for a normal input: 2 % with 64 prompts of 100 tokens.
constexpr int64_t kMomentProbes = 64;

absl::StatusOr<InputMoments> RememberedMoments(const ProbeMaker& maker,
                                               Workspace* workspace,
                                               Run* run,
                                               Progress* progress) {
  BB_ASSIGN_OR_RETURN(
      const std::string stored,
      run->Remember(
          absl::StrCat("input moments/", kMomentProbes), [&]() -> absl::StatusOr<std::string> {
            BB_ASSIGN_OR_RETURN(const auto sequences,
                                CalibrationPrompts(maker, kMomentProbes, workspace, progress));
            BB_ASSIGN_OR_RETURN(const InputMoments measured,
                                MeasureInputMoments(workspace->transformer(),
                                                    workspace->reference(),
                                                    sequences,
                                                    workspace->options().threads,
                                                    progress));
            return SerializeMoments(measured);
          }));
  return ParseMoments(stored, "the run store");
}

using Sequences = std::vector<std::vector<int32_t>>;

int64_t TokensOf(const Sequences& sequences) {
  int64_t tokens = 0;
  for (const std::vector<int32_t>& sequence : sequences) {
    tokens += static_cast<int64_t>(sequence.size());
  }
  return tokens;
}

// What Gram matrices are measured on: prompts of the calibration role with the model's greedy
// completions, as what will be measured is, and of text as many whole windows; as many as the
// widest matrix asks for.
absl::StatusOr<Sequences> GramSequences(const ProbeMaker& maker,
                                        Workspace* workspace,
                                        Progress* progress) {
  int64_t widest = 1;
  for (const Component& component : workspace->model().components()) {
    widest = std::max(widest, component.cols);
  }
  const int64_t wanted = kGramTokensPerInput * widest;
  const int64_t each = maker.context();
  const int64_t count = std::clamp<int64_t>((wanted + each - 1) / each, 1, kGramProbes);
  BB_ASSIGN_OR_RETURN(Sequences sequences, CalibrationPrompts(maker, count, workspace, progress));
  GenerateOptions generate;
  generate.max_tokens = maker.completion_tokens();
  generate.threads = workspace->options().threads;
  generate.max_kv_bytes = workspace->options().states_bytes;
  BB_ASSIGN_OR_RETURN(
      const std::vector<Generation> completions,
      Generate(workspace->transformer(), workspace->reference(), sequences, generate, progress));
  for (size_t i = 0; i < sequences.size(); ++i) {
    const std::vector<int32_t>& tokens = completions[i].tokens;
    sequences[i].insert(sequences[i].end(), tokens.begin(), tokens.end());
  }
  for (std::vector<int32_t>& window : maker.TextWindows(ProbeRole::kCalibration, count)) {
    sequences.push_back(std::move(window));
  }
  const int64_t tokens = TokensOf(sequences);
  progress->Message(absl::StrCat(
      "Gram matrices of ",
      tokens,
      " tokens in ",
      sequences.size(),
      " sequences",
      tokens < wanted
          ? absl::StrCat("; ", wanted, " were wanted for matrices of ", widest, " inputs")
          : ""));
  return sequences;
}

absl::Status MeasureBenchGrams(const Sequences& sequences,
                               Workspace* workspace,
                               Progress* progress) {
  GramStore* const grams = workspace->grams();
  BB_RETURN_IF_ERROR(MeasureGrams(workspace->transformer(),
                                  workspace->reference(),
                                  sequences,
                                  workspace->options().threads,
                                  progress,
                                  grams));
  workspace->encoder()->SetMoments(grams->moments());
  workspace->encoder()->SetGrams(grams);
  if (!workspace->TunesLayers()) return absl::OkStatus();
  return workspace->tuning()->Calibrate(workspace->transformer(),
                                        workspace->reference(),
                                        sequences,
                                        workspace->options().threads,
                                        progress);
}

void AddMoments(const InputMoments& moments, const Model& model, plans::Plan* plan) {
  for (const auto& [id, values] : moments) {
    plans::InputMoments* stored = plan->add_input_moments();
    stored->set_component(model.component(id).name);
    stored->set_squares(values.data(), values.size() * sizeof(float));
  }
}

absl::StatusOr<InputMoments> MomentsOfPlan(const plans::Plan& plan, const Model& model) {
  InputMoments moments;
  for (const plans::InputMoments& stored : plan.input_moments()) {
    ComponentId id = -1;
    for (size_t c = 0; c < model.components().size(); ++c) {
      if (model.component(static_cast<ComponentId>(c)).name == stored.component()) {
        id = static_cast<ComponentId>(c);
      }
    }
    if (id < 0 || stored.squares().size() != model.component(id).cols * sizeof(float)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "input_moments: component \"", stored.component(), "\" does not fit the model"));
    }
    std::vector<float>& values = moments[id];
    values.resize(model.component(id).cols);
    std::memcpy(values.data(), stored.squares().data(), stored.squares().size());
  }
  return moments;
}

}  // namespace

absl::Status CalibrateEncoder(const ProbeMaker& maker,
                              Workspace* workspace,
                              Run* run,
                              Progress* progress,
                              plans::Plan* plan) {
  const StatsNeed needs = workspace->encoder()->needs();
  if (needs == StatsNeed::kNothing) return absl::OkStatus();
  if (needs == StatsNeed::kMoments) {
    BB_ASSIGN_OR_RETURN(InputMoments moments, RememberedMoments(maker, workspace, run, progress));
    if (plan != nullptr) AddMoments(moments, workspace->model(), plan);
    workspace->encoder()->SetMoments(std::move(moments));
    return absl::OkStatus();
  }
  BB_ASSIGN_OR_RETURN(const Sequences sequences, GramSequences(maker, workspace, progress));
  if (plan != nullptr) {
    plans::Calibration& record = *plan->mutable_calibration();
    record.set_source(plan->options().probe_source());
    record.set_fingerprint(maker.fingerprint());
    record.set_sequences(static_cast<int64_t>(sequences.size()));
    record.set_tokens(TokensOf(sequences));
  }
  return MeasureBenchGrams(sequences, workspace, progress);
}

int64_t CalibrationContext(const plans::Plan& plan) {
  if (!plan.has_calibration()) return 0;
  return plan.options().prefix_tokens() + plan.options().completion_tokens();
}

absl::Status CalibrateFromPlan(const plans::Plan& plan,
                               const std::string& text,
                               Workspace* workspace,
                               Progress* progress) {
  const StatsNeed needs = workspace->encoder()->needs();
  if (needs == StatsNeed::kNothing) return absl::OkStatus();
  if (needs == StatsNeed::kMoments) {
    BB_ASSIGN_OR_RETURN(InputMoments moments, MomentsOfPlan(plan, workspace->model()));
    workspace->encoder()->SetMoments(std::move(moments));
    return absl::OkStatus();
  }
  const plans::Calibration& record = plan.calibration();
  ProbeOptions options;
  for (const ProbeSource source : {ProbeSource::kText, ProbeSource::kPrompts}) {
    if (record.source() == ProbeSourceName(source)) options.source = source;
  }
  const bool own = options.source == ProbeSource::kModel;
  if (!own && text.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("encoder ",
                     plan.options().encoder(),
                     " learned from a ",
                     record.source(),
                     " file; give it with --calibration (its SHA-256 is ",
                     record.fingerprint(),
                     ")"));
  }
  if (!own) options.path = text;
  options.prefix_tokens = plan.options().prefix_tokens();
  options.completion_tokens = plan.options().completion_tokens();
  options.seed = plan.options().seed();
  BB_ASSIGN_OR_RETURN(const std::unique_ptr<ProbeMaker> maker,
                      ProbeMaker::Create(workspace->model(), options));
  if (maker->fingerprint() != record.fingerprint()) {
    return absl::InvalidArgumentError(absl::StrCat(text,
                                                   ": not the text that the plan was calibrated "
                                                   "on: its SHA-256 is ",
                                                   maker->fingerprint(),
                                                   ", not ",
                                                   record.fingerprint()));
  }
  BB_ASSIGN_OR_RETURN(const Sequences sequences, GramSequences(*maker, workspace, progress));
  BB_RETURN_IF_ERROR(MeasureBenchGrams(sequences, workspace, progress));
  workspace->ExpectEncodings(plan);
  return absl::OkStatus();
}

}  // namespace bitbudget

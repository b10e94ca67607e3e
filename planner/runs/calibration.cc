#include "planner/runs/calibration.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "planner/runs/messages.h"
#include "planner/runs/output_errors.h"
#include "runtime/base/status_macros.h"
#include "runtime/quantize/encoder.h"
#include "runtime/quantize/gram.h"
#include "runtime/quantize/input_moments.h"
#include "scoring/fisher.h"
#include "scoring/token_weights.h"

namespace bitbudget {
namespace {

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

// The sequences that Gram matrices are measured on: windows of the text, else of what the model
// samples, and prompts where they are given. Never greedy completions: those are easy text, on
// which codes that were fitted to them look better than they are (docs/encoders.md). The widest
// matrix decides how many.
absl::StatusOr<Sequences> GramSequences(const ProbeMaker& maker,
                                        Workspace* workspace,
                                        Progress* progress) {
  int64_t widest = 1;
  for (const Component& component : workspace->model().components()) {
    widest = std::max(widest, component.cols);
  }
  const int64_t wanted = kGramTokensPerInput * widest;
  const int64_t each = maker.window_tokens();
  const int64_t count = std::clamp<int64_t>((wanted + each - 1) / each, 1, kGramProbes);
  BB_ASSIGN_OR_RETURN(Sequences sequences, GradientSequences(maker, count, workspace, progress));
  if (workspace->options().probes.source == ProbeSource::kPrompts) {
    BB_ASSIGN_OR_RETURN(Sequences prompts, CalibrationPrompts(maker, count, workspace, progress));
    for (std::vector<int32_t>& prompt : prompts) sequences.push_back(std::move(prompt));
  }
  const int64_t tokens = TokensOf(sequences);
  progress->Message(absl::StrCat(
      "Gram matrices of ",
      tokens,
      " tokens in ",
      sequences.size(),
      " sequences",
      tokens < wanted
          ? absl::StrCat("; ", wanted, " would be enough for matrices of ", widest, " inputs")
          : ""));
  return sequences;
}

// The seed is that of the sequences: a workspace that encodes for a plan again has another.
ScoreContext GradientContext(const ProbeMaker& maker,
                             const Sequences& sequences,
                             Workspace* workspace,
                             Progress* progress) {
  ScoreContext context;
  context.model = &workspace->model();
  context.threads = workspace->options().threads;
  context.progress = progress;
  context.sequences = sequences;
  context.seed = maker.seed();
  return context;
}

absl::Status LearnFromGrams(const ProbeMaker& maker,
                            const Sequences& sequences,
                            Workspace* workspace,
                            Progress* progress) {
  GramTokens tokens{.sequences = sequences};
  TokenWeights weights;
  if (workspace->WeighsTokens()) {
    BB_ASSIGN_OR_RETURN(
        weights, MeasureTokenWeights(GradientContext(maker, sequences, workspace, progress)));
    tokens.weights = &weights;
  }
  GramStore* const grams = workspace->grams();
  BB_RETURN_IF_ERROR(MeasureGrams(workspace->transformer(),
                                  workspace->reference(),
                                  tokens,
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

absl::Status LearnFromGradients(const ProbeMaker& maker,
                                const Sequences& sequences,
                                Workspace* workspace,
                                Progress* progress) {
  const ScoreContext context = GradientContext(maker, sequences, workspace, progress);
  FisherStore* const store = workspace->fisher();
  BB_RETURN_IF_ERROR(MeasureFisher(context, [&](ComponentId id, const Matrix<float>& diagonal) {
    return store->Add(id, {diagonal.data(), static_cast<size_t>(diagonal.size())});
  }));
  workspace->encoder()->SetFisher(store);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<EncoderCalibration> CalibrateEncoder(const ProbeMaker& maker,
                                                    Workspace* workspace,
                                                    Run* run,
                                                    Progress* progress) {
  EncoderCalibration calibration;
  if (workspace->encoder()->NeedsFisher()) {
    BB_ASSIGN_OR_RETURN(const Sequences windows,
                        GradientSequences(maker, kFisherSequences, workspace, progress));
    calibration.sequences = static_cast<int64_t>(windows.size());
    calibration.tokens = TokensOf(windows);
    BB_RETURN_IF_ERROR(LearnFromGradients(maker, windows, workspace, progress));
  }
  const StatsNeed needs = workspace->encoder()->needs();
  if (needs == StatsNeed::kNothing) return calibration;
  if (needs == StatsNeed::kMoments) {
    BB_ASSIGN_OR_RETURN(calibration.moments, RememberedMoments(maker, workspace, run, progress));
    workspace->encoder()->SetMoments(calibration.moments);
    return calibration;
  }
  BB_ASSIGN_OR_RETURN(const Sequences sequences, GramSequences(maker, workspace, progress));
  calibration.sequences = static_cast<int64_t>(sequences.size());
  calibration.tokens = TokensOf(sequences);
  BB_RETURN_IF_ERROR(LearnFromGrams(maker, sequences, workspace, progress));
  return calibration;
}

}  // namespace bitbudget

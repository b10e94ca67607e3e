#include "runtime/training/recovery.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "runtime/base/known_names.h"
#include "runtime/base/status_macros.h"
#include "runtime/training/blockwise.h"
#include "runtime/training/encoded_model.h"
#include "runtime/training/end_to_end.h"
#include "runtime/training/random_signs.h"
#include "runtime/training/recovery_run.h"
#include "runtime/training/trained_matrix.h"

namespace bitbudget {
namespace {

using Method = absl::StatusOr<MethodResult> (*)(const EncodedModel& start, RecoveryRun* run);

constexpr std::array<RecoveryMethod, 5> kMethods = {{
    {"blockwise", "weights and scales of one layer after the other, on the layer's outputs"},
    {"omniquant", "the same with learned clipping of the weights' ranges alone"},
    {"scales", "scales, norms and biases, all layers together, distilled from the original"},
    {"distill", "weights and scales, all layers together, distilled from the original"},
    {"onebit", "the same with OneBit's loss, for one-bit layers"},
}};
constexpr std::array<Method, kMethods.size()> kFunctions = {
    RecoverBlockwise, RecoverOmniQuant, RecoverScales, RecoverByDistillation, RecoverOneBit};

absl::StatusOr<size_t> FindMethod(const std::string& name) {
  std::vector<std::string> names;
  for (size_t i = 0; i < kMethods.size(); ++i) {
    if (kMethods[i].name == name) return i;
    names.emplace_back(kMethods[i].name);
  }
  return UnknownName("recovery method", name, names);
}

absl::Status CheckOptions(const RecoveryOptions& options) {
  const auto check = [](bool holds, absl::string_view what) -> absl::Status {
    return holds ? absl::OkStatus() : absl::InvalidArgumentError(what);
  };
  BB_RETURN_IF_ERROR(check(options.steps >= 0, "the number of steps is negative"));
  BB_RETURN_IF_ERROR(check(options.minutes >= 0 && std::isfinite(options.minutes),
                           "the minutes of a recovery are negative or not finite"));
  BB_RETURN_IF_ERROR(check(options.learning_rate >= 0 && options.learning_rate <= 1,
                           "the learning rate is not in [0, 1]"));
  BB_RETURN_IF_ERROR(check(options.rate_factor > 0 && std::isfinite(options.rate_factor),
                           "the factor of the learning rates is not positive or not finite"));
  const std::vector<std::string> starts = {"plan", "random"};
  if (std::find(starts.begin(), starts.end(), options.start) == starts.end()) {
    return UnknownName("start of one-bit matrices", options.start, starts);
  }
  BB_RETURN_IF_ERROR(
      check(options.profile_every >= 0, "the number of steps between profiles is negative"));
  BB_RETURN_IF_ERROR(check(options.batch >= 1, "a batch needs at least one sequence"));
  BB_RETURN_IF_ERROR(check(options.kl_weight >= 0 && options.kl_weight <= 1,
                           "the weight of the divergence is not in [0, 1]"));
  BB_RETURN_IF_ERROR(check(options.hidden_weight >= 0 && std::isfinite(options.hidden_weight),
                           "the weight of hidden states is negative or not finite"));
  return check(options.threads >= 1, "recovery needs at least one thread");
}

// "NAME STEPS BEFORE AFTER TRAINED DIVERGED", with all digits.
std::string TextOf(const RecoveryStep& step) {
  return absl::StrCat(step.method,
                      " ",
                      step.steps,
                      " ",
                      absl::StrFormat("%.17g", step.loss_before),
                      " ",
                      absl::StrFormat("%.17g", step.loss_after),
                      " ",
                      absl::StrFormat("%.17g", step.loss_trained),
                      " ",
                      step.diverged ? 1 : 0);
}

bool ParseStep(absl::string_view text, RecoveryStep* step) {
  const std::vector<std::string> parts = absl::StrSplit(text, ' ');
  if (parts.size() != 6) return false;
  step->method = parts[0];
  return absl::SimpleAtoi(parts[1], &step->steps) &&
         absl::SimpleAtod(parts[2], &step->loss_before) &&
         absl::SimpleAtod(parts[3], &step->loss_after) &&
         absl::SimpleAtod(parts[4], &step->loss_trained) &&
         absl::SimpleAtob(parts[5], &step->diverged);
}

// What is kept of methods that have ended, under names that methods do not use.
constexpr absl::string_view kEndedModel = "ended/";
constexpr absl::string_view kEndedSteps = "ended_steps";
constexpr absl::string_view kEndedProfiles = "ended/profiles";  // and the method's index

SavedState StateOf(const ModelConfig& config, const Recovered& recovered) {
  SavedState state;
  SaveEncoded(config, recovered.model, kEndedModel, &state);
  state[std::string(kEndedSteps)] =
      absl::StrJoin(recovered.steps, "\n", [](std::string* out, const RecoveryStep& step) {
        absl::StrAppend(out, TextOf(step));
      });
  for (size_t i = 0; i < recovered.steps.size(); ++i) {
    state[absl::StrCat(kEndedProfiles, i)] = SaveProfiles(recovered.steps[i].profiles);
  }
  return state;
}

// Takes the methods that have ended out of a saved state.
absl::Status TakeEnded(const ModelConfig& config, SavedState* saved, Recovered* recovered) {
  const auto steps = saved->find(std::string(kEndedSteps));
  if (steps == saved->end()) return absl::OkStatus();
  BB_ASSIGN_OR_RETURN(recovered->model, LoadEncoded(config, *saved, kEndedModel, recovered->model));
  for (const absl::string_view line : absl::StrSplit(steps->second, '\n', absl::SkipEmpty())) {
    RecoveryStep step;
    if (!ParseStep(line, &step)) {
      return absl::DataLossError("the saved state of the recovery has a damaged list of methods");
    }
    BB_ASSIGN_OR_RETURN(
        step.profiles, LoadProfiles(*saved, absl::StrCat(kEndedProfiles, recovered->steps.size())));
    recovered->steps.push_back(std::move(step));
  }
  saved->erase(steps);
  std::erase_if(*saved, [](const auto& item) { return absl::StartsWith(item.first, kEndedModel); });
  return absl::OkStatus();
}

using Divergence = std::function<absl::StatusOr<double>(const EncodedModel&, Progress*)>;

// Runs one method from `start`.
absl::StatusOr<RecoveryStep> RunMethod(size_t method,
                                       const EncodedModel& start,
                                       const Divergence& divergence,
                                       double loss_before,
                                       RecoveryRun* run,
                                       Recovered* recovered) {
  BB_ASSIGN_OR_RETURN(MethodResult result, kFunctions[method](start, run));
  // The comparison is part of the result, so an interruption does not end it.
  Progress uninterrupted;
  RecoveryStep step{.method = std::string(kMethods[method].name),
                    .steps = result.steps,
                    .loss_before = loss_before,
                    .loss_after = loss_before,
                    .loss_trained = loss_before,
                    .profiles = std::move(result.profiles)};
  recovered->complete = result.complete;
  if (!result.diverged.has_value()) {
    BB_ASSIGN_OR_RETURN(step.loss_trained, divergence(result.model, &uninterrupted));
  }
  step.diverged = result.diverged.has_value() || !std::isfinite(step.loss_trained);
  if (step.diverged) {
    step.loss_trained = loss_before;
    run->progress()->Message(absl::StrCat(
        step.method,
        " diverges",
        result.diverged ? absl::StrCat(" at a learning rate of ", *result.diverged) : "",
        " after ",
        step.steps,
        " steps: the loss is not finite. Codes stay those from before it; use a lower rate"));
  } else if (step.loss_trained < loss_before || run->options().keep_worse) {
    step.loss_after = step.loss_trained;
    recovered->model = std::move(result.model);
  } else if (recovered->complete) {
    run->progress()->Message(
        absl::StrFormat("%s does not lower the KL on what was kept aside (%.4g, before %.4g nats), "
                        "so codes stay those from before it; a lower rate may help",
                        step.method,
                        step.loss_trained,
                        loss_before));
  }
  return step;
}

}  // namespace

std::span<const RecoveryMethod> RecoveryMethods() { return kMethods; }

absl::Status CheckRecovery(const Model& model,
                           const EncodedModel& start,
                           std::span<const std::string> methods,
                           const RecoveryOptions& options) {
  BB_RETURN_IF_ERROR(CheckOptions(options));
  if (methods.empty()) return absl::InvalidArgumentError("no recovery method is given");
  bool transformed = start.transformed;
  for (const std::string& method : methods) {
    BB_RETURN_IF_ERROR(FindMethod(method).status());
    if (transformed && method != "scales") {
      return absl::InvalidArgumentError(
          absl::StrCat(method,
                       " trains the model's own weights, which an equivalent transformation has "
                       "replaced; after it only scales can run"));
    }
    transformed = transformed || (options.transform && method == "omniquant");
  }
  if (options.transform && transformed == start.transformed) {
    return absl::InvalidArgumentError(
        "an equivalent transformation is learned by omniquant only, which is not among the "
        "methods");
  }
  BB_RETURN_IF_ERROR(FrozenComponents(model, options.freeze, options.seed).status());
  bool any = false;
  bool one_bit = false;
  for (const auto& [component, encoding] : start.encodings) {
    if (component == model.head() && encoding.format.layer_norm) {
      return absl::InvalidArgumentError(
          absl::StrCat(model.component(component).name,
                       " in ",
                       encoding.format.Name(),
                       " makes logits that are normalised, through which recovery has no gradient; "
                       "use onebit there"));
    }
    if (model.component(component).layer < 0) continue;
    any = any || CheckTrainable(encoding.format).ok();
    one_bit = one_bit || encoding.format.kind == FormatKind::kOneBit;
  }
  if (options.start == "random" && !one_bit) {
    return absl::InvalidArgumentError(
        "the start is to be random, but no matrix of a layer is in a one-bit format");
  }
  if (!any) {
    return absl::InvalidArgumentError(
        "there is nothing to recover: no matrix of a layer has codes or a mask");
  }
  return absl::OkStatus();
}

absl::StatusOr<Recovered> Recover(const Model& model,
                                  const EncodedModel& start,
                                  const RecoveryData& data,
                                  std::span<const std::string> methods,
                                  const RecoveryOptions& options,
                                  RecoveryState* state,
                                  Progress* progress) {
  BB_RETURN_IF_ERROR(CheckRecovery(model, start, methods, options));
  if (data.training.empty() || data.kept_aside.empty()) {
    return absl::InvalidArgumentError(
        "recovery needs sequences to train on and others to keep aside");
  }
  Recovered recovered;
  recovered.model = start;
  SavedState saved;
  if (state != nullptr) {
    BB_ASSIGN_OR_RETURN(saved, state->Load());
    BB_RETURN_IF_ERROR(TakeEnded(model.config(), &saved, &recovered));
  }
  RecoveryRun run(model, data, options, state, progress);
  BB_ASSIGN_OR_RETURN(const std::unique_ptr<OriginalOutputs> original,
                      OriginalOutputs::Create(model, data.kept_aside, options.threads, progress));
  const Divergence divergence = [&](const EncodedModel& encoded, Progress* watched) {
    return MeanDivergence(
        model, encoded, data.kept_aside, *original, options.token_bits, options.threads, watched);
  };
  for (size_t m = recovered.steps.size(); m < methods.size() && recovered.complete; ++m) {
    EncodedModel begin = recovered.model;
    double loss_before = 0;
    if (recovered.steps.empty()) {
      BB_ASSIGN_OR_RETURN(loss_before, divergence(recovered.model, progress));
      if (options.start == "random") DrawSigns(model, options.seed, &begin.encodings);
    } else {
      loss_before = recovered.steps.back().loss_after;
    }
    run.Begin(StateOf(model.config(), recovered), std::exchange(saved, {}));
    BB_ASSIGN_OR_RETURN(const size_t index, FindMethod(methods[m]));
    BB_ASSIGN_OR_RETURN(RecoveryStep step,
                        RunMethod(index, begin, divergence, loss_before, &run, &recovered));
    recovered.steps.push_back(std::move(step));
    if (!recovered.complete) break;  // what the method kept last is what it resumes with
    run.Begin(StateOf(model.config(), recovered), {});
    BB_RETURN_IF_ERROR(run.Save({}));
  }
  return recovered;
}

}  // namespace bitbudget

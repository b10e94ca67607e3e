#include "runtime/training/end_to_end.h"

#include <algorithm>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "runtime/base/known_names.h"
#include "runtime/base/random.h"
#include "runtime/base/status_macros.h"
#include "runtime/training/batch_order.h"
#include "runtime/training/encoded_model.h"
#include "runtime/training/gradient_profile.h"
#include "runtime/training/gradient_profiler.h"
#include "runtime/training/hidden_loss.h"
#include "runtime/training/losses.h"
#include "runtime/training/trained_model.h"

namespace bitbudget {
namespace {

constexpr uint64_t kOrderStream = 0x64697374;
constexpr uint64_t kFreezeStream = 0x66726565;
constexpr int64_t kSaves = 8;
// Traces of a batch are kept up to so many bytes.
constexpr int64_t kTraceBytes = int64_t{1} << 30;

// Rates of weights, relative to WeightRate: training all layers on the outputs that count bears
// more than training one on its own (measured on novel-1m at 2 and 4 bits).
constexpr double kRateFactor = 2;

// That of norms and biases, in units of their root mean square.
constexpr double kVectorRate = 1e-3;

// What the methods differ in.
struct Training {
  const char* name;
  TrainedParts parts;
  int64_t steps;
  double scale_rate;
  double kl_weight;
  double hidden_weight;
  std::string freeze;
  std::vector<ComponentId> frozen = {};  // besides
  double weight_rate = 0;                // 0: by format
};

// The floats of all layers' traces, by row.
int64_t TraceWidth(const Model& model, const EncodedModel& start) {
  const ModelConfig& config = model.config();
  int64_t width = config.num_hidden_layers * (8 * config.hidden_size + 4 * config.q_size() +
                                              3 * config.kv_size() + 3 * config.intermediate_size);
  for (const auto& [component, encoding] : start.encodings) {
    if (encoding.format.layer_norm && model.component(component).layer >= 0) {
      width += encoding.rows;
    }
  }
  return width;
}

// The trained model's gradients, and the loss of its hidden states.
class Visitor final : public GradientVisitor<float> {
 public:
  Visitor(TrainedModel* trained, const ModelGradient<float>* original, double hidden_weight)
      : trained_(*trained), original_(original), weight_(hidden_weight) {}

  LayerBackward<float> Want(int layer) override { return trained_.Want(layer); }
  void Done(int layer) override { trained_.Done(layer); }
  // The stream behind the last layer is left out, as in OneBit's code, and the embedding does not
  // change.
  void Stream(int layer, const Matrix<float>& x, Matrix<float>* d_x) override {
    if (original_ == nullptr || layer == 0 || layer == original_->layers()) return;
    hidden_loss_ += AddHiddenLoss(x, original_->stream(layer), weight_, d_x);
  }

  double hidden_loss() const { return hidden_loss_; }

 private:
  TrainedModel& trained_;
  const ModelGradient<float>* original_;  // null: no loss of hidden states
  double weight_;
  double hidden_loss_ = 0;
};

class EndToEnd {
 public:
  EndToEnd(const Training& training, const EncodedModel& start, RecoveryRun* run)
      : training_(training),
        run_(*run),
        options_(run->options()),
        data_(run->data().training),
        start_(start) {
    if (options_.steps > 0) training_.steps = options_.steps;
  }

  absl::StatusOr<MethodResult> Run();

 private:
  double Rate(const TrainedModel& trained, size_t array) const {
    const ParameterKind kind = trained.arrays()[array]->kind;
    if (kind == ParameterKind::kVectors) return options_.rate_factor * kVectorRate;
    const bool scales = kind == ParameterKind::kLogScales;
    // The option is that of weights, and of scales where only these are trained.
    if (options_.learning_rate > 0 && scales != training_.parts.weights) {
      return options_.rate_factor * options_.learning_rate;
    }
    if (scales) return options_.rate_factor * training_.scale_rate;
    const double rate = training_.weight_rate > 0
                            ? training_.weight_rate
                            : kRateFactor * WeightRate(trained.FormatOf(array));
    return options_.rate_factor * rate;
  }
  ModelGradientOptions PassOptions(int token_bits) const;

  Training training_;
  RecoveryRun& run_;
  const RecoveryOptions& options_;
  const std::vector<std::vector<int32_t>>& data_;
  const EncodedModel& start_;
};

ModelGradientOptions EndToEnd::PassOptions(int token_bits) const {
  const int64_t positions = LongestSequence(data_);
  const int64_t trace = options_.batch * positions * TraceWidth(run_.model(), start_) *
                        static_cast<int64_t>(sizeof(float));
  return {.max_positions = positions,
          .token_bits = token_bits,
          .threads = options_.threads,
          .keep_traces = trace <= kTraceBytes};
}

absl::StatusOr<MethodResult> EndToEnd::Run() {
  const Model& model = run_.model();
  BB_ASSIGN_OR_RETURN(std::vector<ComponentId> frozen,
                      FrozenComponents(model, training_.freeze, options_.seed));
  frozen.insert(frozen.end(), training_.frozen.begin(), training_.frozen.end());
  TrainedModel trained(model, start_, training_.parts, frozen, options_.threads);
  if (trained.arrays().empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(training_.name, " has nothing to train in these formats"));
  }
  AdamW optimiser;
  MethodResult result;
  if (const SavedState saved = run_.Resume(); !saved.empty()) {
    BB_ASSIGN_OR_RETURN(result.steps, LoadInteger(saved, "steps"));
    const auto parameters = saved.find("parameters");
    const auto state = saved.find("optimiser");
    if (parameters == saved.end() || state == saved.end() || !trained.Load(parameters->second) ||
        !optimiser.Load(state->second)) {
      return absl::DataLossError("the saved state of the recovery is of other parameters");
    }
    BB_ASSIGN_OR_RETURN(result.profiles, LoadProfiles(saved, "profiles"));
  }
  BB_ASSIGN_OR_RETURN(const std::unique_ptr<OriginalOutputs> original,
                      OriginalOutputs::Create(model, data_, options_.threads, run_.progress()));
  const std::unique_ptr<ModelEnds<float>> ends = DecodedEnds(model, start_);
  ModelGradient<float> pass(model, PassOptions(options_.token_bits));
  // Runs the original beside it where its hidden states count.
  std::unique_ptr<ModelEnds<float>> original_ends;
  CheckpointLayers<float> original_layers(model);
  std::unique_ptr<ModelGradient<float>> original_pass;
  if (training_.hidden_weight > 0) {
    original_ends = ReadEnds<float>(model);
    ModelGradientOptions options = PassOptions(0);
    options.keep_traces = false;
    original_pass = std::make_unique<ModelGradient<float>>(model, options);
  }

  std::unique_ptr<GradientProfiler> profiler;
  if (options_.profile_every > 0) {
    const std::vector<std::vector<int32_t>>& kept_aside = run_.data().kept_aside;
    const auto count = std::min<size_t>(options_.batch, kept_aside.size());
    BB_ASSIGN_OR_RETURN(profiler,
                        GradientProfiler::Create(model,
                                                 std::span(kept_aside).first(count),
                                                 {.kl_weight = training_.kl_weight,
                                                  .token_bits = options_.token_bits,
                                                  .threads = options_.threads},
                                                 run_.progress()));
  }

  BatchOrder order(data_.size(), options_.batch, options_.seed, kOrderStream);
  std::vector<double> rates;
  for (size_t a = 0; a < trained.arrays().size(); ++a) rates.push_back(Rate(trained, a));
  std::vector<double> now(rates.size());
  run_.progress()->Begin(training_.name, training_.steps);
  for (int64_t step = result.steps; step < training_.steps; ++step) {
    if (run_.MustStop()) {
      result.complete = false;
      break;
    }
    if (profiler != nullptr && step % options_.profile_every == 0) {
      result.profiles.push_back(profiler->Measure(step, *ends, &trained));
    }
    const std::span<const int64_t> batch = order.Batch(step);
    std::vector<std::vector<int32_t>> sequences;
    for (const int64_t s : batch) sequences.push_back(data_[s]);
    pass.Forward(*ends, &trained, sequences);
    if (original_pass != nullptr) {
      original_pass->Forward(*original_ends, &original_layers, sequences);
    }
    Distillation<float> loss(original->LogitsOf(batch), NextTokens(sequences), training_.kl_weight);
    Visitor visitor(&trained, original_pass.get(), training_.hidden_weight);
    const double value = pass.Backward(*ends, &trained, &loss, &visitor) + visitor.hidden_loss();
    for (size_t a = 0; a < rates.size(); ++a) {
      now[a] = CosineRate(rates[a], step, training_.steps, training_.steps / 20);
    }
    optimiser.Step(trained.arrays(), now, options_.threads);
    if (Diverges(value, trained.arrays())) {
      result.diverged = rates.front();
      break;
    }
    trained.ParametersChanged();
    result.steps = step + 1;
    run_.progress()->Update(step + 1, absl::StrFormat("loss %.4g, rate %.2g", value, now.front()));
    if ((step + 1) % ((training_.steps + kSaves - 1) / kSaves) == 0) {
      BB_RETURN_IF_ERROR(run_.Save({{"steps", absl::StrCat(step + 1)},
                                    {"parameters", trained.Save()},
                                    {"optimiser", optimiser.Save()},
                                    {"profiles", SaveProfiles(result.profiles)}}));
    }
  }
  run_.progress()->End();
  result.model = result.diverged.has_value() ? start_ : trained.Encode();
  if (profiler != nullptr && result.complete && !result.diverged.has_value()) {
    result.profiles.push_back(profiler->Measure(result.steps, *ends, &trained));
  }
  return result;
}

}  // namespace

absl::StatusOr<std::vector<ComponentId>> FrozenComponents(const Model& model,
                                                          const std::string& freeze,
                                                          uint64_t seed) {
  const std::vector<std::string> known = {"none", "ov", "qk", "random"};
  if (std::find(known.begin(), known.end(), freeze) == known.end()) {
    return UnknownName("set of matrices to freeze", freeze, known);
  }
  std::vector<ComponentId> frozen;
  std::vector<ComponentId> all;
  int64_t parameters = 0;  // of o and v
  for (size_t c = 0; c < model.components().size(); ++c) {
    const Component& component = model.components()[c];
    const auto id = static_cast<ComponentId>(c);
    if (component.layer < 0) continue;
    all.push_back(id);
    const bool ov = component.kind == ComponentKind::kO || component.kind == ComponentKind::kV;
    const bool qk = component.kind == ComponentKind::kQ || component.kind == ComponentKind::kK;
    if (ov) parameters += component.rows * component.cols;
    if ((ov && freeze == "ov") || (qk && freeze == "qk")) frozen.push_back(id);
  }
  if (freeze != "random") return frozen;
  Random(seed, {kFreezeStream}).Shuffle(all);
  for (const ComponentId id : all) {
    if (parameters <= 0) break;
    frozen.push_back(id);
    parameters -= model.component(id).rows * model.component(id).cols;
  }
  return frozen;
}

absl::StatusOr<MethodResult> RecoverScales(const EncodedModel& start, RecoveryRun* run) {
  return EndToEnd({.name = "scales",
                   .parts = {.weights = false, .scales = true, .vectors = true},
                   .steps = 100,
                   .scale_rate = 1e-2,
                   .kl_weight = 1,
                   .hidden_weight = 0,
                   .freeze = "none"},
                  start,
                  run)
      .Run();
}

absl::StatusOr<MethodResult> RecoverByDistillation(const EncodedModel& start, RecoveryRun* run) {
  return EndToEnd({.name = "distill",
                   .parts = {},
                   .steps = 400,
                   .scale_rate = kScaleRate,
                   .kl_weight = run->options().kl_weight,
                   .hidden_weight = 0,
                   .freeze = run->options().freeze},
                  start,
                  run)
      .Run();
}

absl::StatusOr<MethodResult> RecoverOneBit(const EncodedModel& start, RecoveryRun* run) {
  return EndToEnd({.name = "onebit",
                   .parts = {},
                   .steps = 400,
                   .scale_rate = kScaleRate,
                   .kl_weight = 1,
                   .hidden_weight = run->options().hidden_weight,
                   .freeze = "none"},
                  start,
                  run)
      .Run();
}

absl::StatusOr<MethodResult> TrainFloats(const char* name,
                                         const EncodedModel& start,
                                         std::vector<ComponentId> frozen,
                                         double zeros,
                                         RecoveryRun* run) {
  return EndToEnd({.name = name,
                   .parts = {.scales = false, .dense_floats = true},
                   .steps = run->options().steps,
                   .scale_rate = 0,
                   .kl_weight = run->options().kl_weight,
                   .hidden_weight = 0,
                   .freeze = "none",
                   .frozen = std::move(frozen),
                   .weight_rate = kRateFactor * PrunedRate(zeros)},
                  start,
                  run)
      .Run();
}

}  // namespace bitbudget

#include "runtime/training/retraining.h"

#include <algorithm>
#include <cstddef>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "runtime/base/status_macros.h"
#include "runtime/training/encoded_model.h"
#include "runtime/training/end_to_end.h"
#include "runtime/training/recovery_run.h"

namespace bitbudget {
namespace {

bool IsRetrained(const Model& model, ComponentId component, const Format& format) {
  return model.component(component).layer >= 0 && format.IsFloat() && format.IsSparse();
}

ReplacedWeights DecodedWeights(const ComponentEncodings& encodings,
                               std::span<const ComponentId> components) {
  ReplacedWeights weights;
  for (const ComponentId component : components) {
    const Encoding& encoding = encodings.at(component);
    std::vector<float>& values = weights[component];
    values.resize(encoding.rows * encoding.cols);
    DecodeReference(encoding, values);
  }
  return weights;
}

// The same matrix with room for all of its weights.
Encoding Unmasked(const Encoding& pruned, std::span<const float> values) {
  const std::span<const std::byte> bytes = std::as_bytes(values);
  Encoding dense{kFormatF32, pruned.rows, pruned.cols, std::vector<uint8_t>(bytes.size())};
  std::transform(bytes.begin(), bytes.end(), dense.bytes.begin(), [](std::byte byte) {
    return std::to_integer<uint8_t>(byte);
  });
  return dense;
}

class Retraining {
 public:
  Retraining(const Model& model,
             const PruneWeights& prune,
             const RecoveryData& data,
             const RecoveryOptions& options,
             Progress* progress)
      : model_(model), prune_(prune), data_(data), options_(options), progress_(progress) {
    options_.minutes = 0;
    options_.freeze = "none";
  }

  absl::StatusOr<Retrained> Run(const ComponentEncodings& pruned, const RetrainingSteps& steps) {
    double zeros = 0, all = 0;
    for (const auto& [component, encoding] : pruned) {
      if (!IsRetrained(model_, component, encoding.format)) {
        frozen_.push_back(component);
        continue;
      }
      trained_.push_back(component);
      const auto weights = static_cast<double>(encoding.rows * encoding.cols);
      zeros += weights * ZerosIn(encoding.format);
      all += weights;
    }
    if (all > 0) zeros_ = zeros / all;
    BB_ASSIGN_OR_RETURN(
        original_, OriginalOutputs::Create(model_, data_.kept_aside, options_.threads, progress_));
    BB_ASSIGN_OR_RETURN(result_.loss_before, Divergence(pruned, progress_));
    result_.loss_after = result_.loss_before;
    if (trained_.empty()) return std::move(result_);
    ComponentEncodings best = pruned;
    if (steps.masked > 0) {
      BB_ASSIGN_OR_RETURN(ComponentEncodings masked, Train("masked steps", best, steps.masked));
      BB_ASSIGN_OR_RETURN(const bool gained, Gained(masked));
      if (gained) {
        result_.weights = DecodedWeights(masked, trained_);
        best = std::move(masked);
      }
    }
    if (steps.unmasked > 0 && result_.complete) {
      ComponentEncodings dense = best;
      for (const auto& [component, values] : DecodedWeights(best, trained_)) {
        dense[component] = Unmasked(best.at(component), values);
      }
      BB_ASSIGN_OR_RETURN(const ComponentEncodings free,
                          Train("unmasked steps", dense, steps.unmasked));
      ReplacedWeights weights = DecodedWeights(free, trained_);
      BB_ASSIGN_OR_RETURN(const ComponentEncodings again, prune_(weights));
      BB_ASSIGN_OR_RETURN(const bool gained, Gained(again));
      if (gained) result_.weights = std::move(weights);
    }
    return std::move(result_);
  }

 private:
  absl::StatusOr<double> Divergence(const ComponentEncodings& encodings, Progress* progress) const {
    return MeanDivergence(model_,
                          {encodings},
                          data_.kept_aside,
                          *original_,
                          options_.token_bits,
                          options_.threads,
                          progress);
  }

  absl::StatusOr<ComponentEncodings> Train(const char* name,
                                           const ComponentEncodings& start,
                                           int64_t steps) {
    RecoveryOptions options = options_;
    options.steps = steps;
    // The original runs over all sequences ahead of the steps: no more than these take.
    RecoveryData data;
    const auto count =
        std::min<int64_t>(static_cast<int64_t>(data_.training.size()), steps * options.batch);
    data.training.assign(data_.training.begin(), data_.training.begin() + count);
    RecoveryRun run(model_, data, options, nullptr, progress_);
    const EncodedModel encoded{start};
    BB_ASSIGN_OR_RETURN(MethodResult trained, TrainFloats(name, encoded, frozen_, zeros_, &run));
    result_.steps += trained.steps;
    result_.complete = result_.complete && trained.complete;
    return std::move(trained.model.encodings);
  }

  // Whether a pruned model is the best so far.
  absl::StatusOr<bool> Gained(const ComponentEncodings& pruned) {
    Progress uninterrupted;  // the comparison is part of the result
    BB_ASSIGN_OR_RETURN(const double loss, Divergence(pruned, &uninterrupted));
    if (!(loss < result_.loss_after)) return false;
    result_.loss_after = loss;
    return true;
  }

  const Model& model_;
  const PruneWeights& prune_;
  const RecoveryData& data_;
  RecoveryOptions options_;
  Progress* const progress_;
  std::vector<ComponentId> trained_, frozen_;
  double zeros_ = 0;  // their share in what is trained
  std::unique_ptr<OriginalOutputs> original_;
  Retrained result_;
};

}  // namespace

absl::Status RetrainingSteps::Validate() const {
  if (masked < 0 || unmasked < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(masked,
                     " masked and ",
                     unmasked,
                     " unmasked steps of retraining; neither may be negative"));
  }
  if (masked > 0 || unmasked > 0) return absl::OkStatus();
  return absl::InvalidArgumentError("retraining of no steps");
}

absl::Status CheckRetrainable(const Format& format) {
  if (format.IsFloat() || format.kind == FormatKind::kRemoved) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("weights in ",
                   format.Name(),
                   " cannot be retrained between rounds; float formats can, such as bf16+s50"));
}

absl::StatusOr<Retrained> Retrain(const Model& model,
                                  const ComponentEncodings& pruned,
                                  const PruneWeights& prune,
                                  const RetrainingSteps& steps,
                                  const RecoveryData& data,
                                  const RecoveryOptions& options,
                                  Progress* progress) {
  BB_RETURN_IF_ERROR(steps.Validate());
  if (data.training.empty() || data.kept_aside.empty()) {
    return absl::InvalidArgumentError(
        "retraining needs sequences to train on and others to keep aside");
  }
  return Retraining(model, prune, data, options, progress).Run(pruned, steps);
}

}  // namespace bitbudget

#include "scoring/signal.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "runtime/base/aligned_buffer.h"
#include "runtime/base/status_macros.h"
#include "runtime/model/decoder/forward.h"
#include "scoring/output_error.h"

namespace bitbudget {
namespace {

// The residual streams of all sequences.
using Streams = std::vector<AlignedBuffer<float>>;

Streams Copy(const Streams& from) {
  Streams copy(from.size());
  for (size_t s = 0; s < from.size(); ++s) {
    copy[s].Resize(from[s].size());
    std::copy_n(from[s].data(), from[s].size(), copy[s].data());
  }
  return copy;
}

double RelativeDistance(const Streams& changed, const Streams& reference) {
  double error = 0;
  double norm = 0;
  for (size_t s = 0; s < reference.size(); ++s) {
    for (int64_t i = 0; i < reference[s].size(); ++i) {
      const double x = reference[s][i];
      const double difference = changed[s][i] - x;
      error += difference * difference;
      norm += x * x;
    }
  }
  return error == 0 ? 0 : std::sqrt(error / norm);
}

class Propagation {
 public:
  Propagation(const Transformer& transformer,
              EncodingBank* bank,
              const Assignment& assignment,
              std::span<const std::vector<int32_t>> sequences,
              const SignalOptions& options,
              Progress* progress)
      : transformer_(transformer),
        model_(transformer.model()),
        bank_(*bank),
        stored_(bank->StoredAssignment()),
        assignment_(assignment),
        sequences_(sequences),
        options_(options),
        progress_(*progress),
        runner_(options.threads) {
    report_.assignment = assignment;
    report_.components.resize(assignment.size());
  }

  absl::StatusOr<SignalReport> Run() {
    const int layers = static_cast<int>(model_.config().num_hidden_layers);
    const int64_t passes = options_.components ? static_cast<int64_t>(assignment_.size()) : 0;
    if (options_.components) BB_RETURN_IF_ERROR(MeasureOutputs());
    progress_.Begin("signal propagation", passes + layers);
    // Ahead of the layer, behind it, and behind all of them, in the reference.
    Streams before(sequences_.size());
    BB_RETURN_IF_ERROR(Advance(stored_, 0, 1, &before));
    final_ = Copy(before);
    BB_RETURN_IF_ERROR(Advance(stored_, 1, 1 + 2 * layers, &final_));
    if (options_.components) BB_RETURN_IF_ERROR(Outside(before));
    report_.layers.scorer = "signal";
    for (int layer = 0; layer < layers; ++layer) {
      Streams after = Copy(before);
      BB_RETURN_IF_ERROR(Advance(stored_, 1 + 2 * layer, 3 + 2 * layer, &after));
      BB_RETURN_IF_ERROR(Layer(layer, before, after));
      before = std::move(after);
    }
    progress_.End();
    report_.layers.order = OrderByImportance(report_.layers.layers, /*larger_is_important=*/true);
    return std::move(report_);
  }

 private:
  absl::Status MeasureOutputs() {
    AssignmentWeights reference = bank_.Reference();
    BB_ASSIGN_OR_RETURN(
        const InputSample sample,
        InputSample::Create(
            transformer_, &reference, sequences_, options_.max_rows, options_.threads, &progress_));
    for (size_t c = 0; c < assignment_.size(); ++c) {
      BB_ASSIGN_OR_RETURN(const std::vector<OutputChange> changes,
                          OutputChanges(sample,
                                        static_cast<ComponentId>(c),
                                        {&assignment_[c], 1},
                                        &bank_,
                                        options_.threads,
                                        &progress_));
      ComponentSignal& signal = report_.components[c];
      signal.output_error = std::sqrt(changes[0].relative_error);
      signal.gain = changes[0].gain;
      signal.sqnr_db = changes[0].relative_error == 0 ? std::numeric_limits<double>::infinity()
                                                      : -10 * std::log10(changes[0].relative_error);
    }
    return absl::OkStatus();
  }

  // Runs stages [from, to) of an assignment on x; stage 0 sets it.
  absl::Status Advance(const Assignment& assignment, int from, int to, Streams* x) {
    AssignmentWeights weights = bank_.Weights(assignment);
    const int64_t width = model_.config().hidden_size;
    const auto body = [&](int stage, const WeightSet& set, int64_t item, ForwardScratch* scratch) {
      AlignedBuffer<float>& stream = (*x)[item];
      const int64_t rows = static_cast<int64_t>(sequences_[item].size());
      if (stage == 0) {
        stream.Resize(rows * width);
        transformer_.Embed(set, sequences_[item], stream.data());
        return;
      }
      const SequenceRows whole{rows, nullptr};
      transformer_.RunStage(stage, set, {&whole, 1}, stream.data(), &scratch->workspace);
    };
    return runner_.Run(&weights,
                       from,
                       to,
                       static_cast<int64_t>(sequences_.size()),
                       &progress_,
                       /*report=*/false,
                       body);
  }

  struct Errors {
    double layer = 0;
    double stream = 0;
  };
  // The errors of an assignment that differs from the reference from stage `from` on, behind which
  // its layer ends at stage `layer_end`. `x` is the reference's stream ahead of `from`, `after`
  // that behind the layer.
  absl::StatusOr<Errors> Propagate(std::span<const ComponentFormat> changes,
                                   int from,
                                   int layer_end,
                                   Streams x,
                                   const Streams& after) {
    BB_RETURN_IF_ERROR(bank_.Prepare(changes, options_.threads, &progress_));
    const Assignment changed = WithDelta(stored_, changes);
    const int end = NumStages(model_.config()) - 1;
    BB_RETURN_IF_ERROR(Advance(changed, from, layer_end, &x));
    Errors errors;
    errors.layer = RelativeDistance(x, after);
    // What comes after the layer is the reference's, but for a tied embedding's head.
    if (layer_end < end) BB_RETURN_IF_ERROR(Advance(changed, layer_end, end, &x));
    errors.stream = RelativeDistance(x, final_);
    progress_.Update(++passes_);
    return errors;
  }

  absl::Status Keep(ComponentId id, const Errors& errors) {
    report_.components[id].layer_error = errors.layer;
    report_.components[id].stream_error = errors.stream;
    return CheckFinite(errors, model_.component(id).name);
  }

  static absl::Status CheckFinite(const Errors& errors, absl::string_view what) {
    if (std::isfinite(errors.layer) && std::isfinite(errors.stream)) return absl::OkStatus();
    return absl::InternalError(
        absl::StrCat("the residual stream is not finite with a format for ", what));
  }

  // The embedding; a head has no stream behind it.
  absl::Status Outside(const Streams& embedded) {
    for (size_t c = 0; c < assignment_.size(); ++c) {
      const ComponentId id = static_cast<ComponentId>(c);
      const ComponentKind kind = model_.component(id).kind;
      if (kind == ComponentKind::kHead) progress_.Update(++passes_);
      if (kind != ComponentKind::kEmbedding) continue;
      const ComponentFormat change = {id, assignment_[id]};
      BB_ASSIGN_OR_RETURN(const Errors errors,
                          Propagate({&change, 1}, 0, 1, Streams(sequences_.size()), embedded));
      BB_RETURN_IF_ERROR(Keep(id, errors));
    }
    return absl::OkStatus();
  }

  absl::Status Layer(int layer, const Streams& before, const Streams& after) {
    const int end = 3 + 2 * layer;
    Streams halfway;  // ahead of the MLP
    if (options_.components) {
      halfway = Copy(before);
      BB_RETURN_IF_ERROR(Advance(stored_, end - 2, end - 1, &halfway));
    }
    std::vector<ComponentFormat> all;
    for (const int stage : {end - 2, end - 1}) {
      for (const ComponentId id : StageComponents(stage, model_.config())) {
        const ComponentFormat change = {id, assignment_[id]};
        all.push_back(change);
        if (!options_.components) continue;
        BB_ASSIGN_OR_RETURN(
            const Errors errors,
            Propagate({&change, 1}, stage, end, Copy(stage == end - 2 ? before : halfway), after));
        BB_RETURN_IF_ERROR(Keep(id, errors));
      }
    }
    BB_ASSIGN_OR_RETURN(const Errors errors, Propagate(all, end - 2, end, Copy(before), after));
    report_.layers.layers.push_back(errors.stream);
    return CheckFinite(errors, absl::StrCat("layer ", layer));
  }

  const Transformer& transformer_;
  const Model& model_;
  EncodingBank& bank_;
  const Assignment stored_;
  const Assignment& assignment_;
  std::span<const std::vector<int32_t>> sequences_;
  const SignalOptions& options_;
  Progress& progress_;
  StageRunner runner_;
  Streams final_;
  int64_t passes_ = 0;
  SignalReport report_;
};

// A mean over those that there are.
class Mean {
 public:
  void Add(std::optional<double> value) {
    if (!value.has_value()) return;
    sum_ += *value;
    ++count_;
  }
  std::optional<double> Get() const {
    return count_ > 0 ? std::optional<double>(sum_ / static_cast<double>(count_)) : std::nullopt;
  }

 private:
  double sum_ = 0;
  int64_t count_ = 0;
};

}  // namespace

std::optional<double> ComponentSignal::Growth() const {
  if (!stream_error.has_value() || !(output_error > 0)) return std::nullopt;
  return *stream_error / output_error;
}

absl::StatusOr<SignalReport> ScoreSignal(const Transformer& transformer,
                                         EncodingBank* bank,
                                         const Assignment& assignment,
                                         std::span<const std::vector<int32_t>> sequences,
                                         const SignalOptions& options,
                                         Progress* progress) {
  return Propagation(transformer, bank, assignment, sequences, options, progress).Run();
}

std::vector<KindSignal> SummarizeByKind(const SignalReport& report, const Model& model) {
  std::vector<KindSignal> kinds;
  for (int k = 0; k <= static_cast<int>(ComponentKind::kHead); ++k) {
    KindSignal summary;
    summary.kind = static_cast<ComponentKind>(k);
    Mean sqnr, gain, output, layer, stream, log_growth;
    for (size_t c = 0; c < report.components.size(); ++c) {
      if (model.component(static_cast<ComponentId>(c)).kind != summary.kind) continue;
      const ComponentSignal& signal = report.components[c];
      ++summary.components;
      sqnr.Add(signal.sqnr_db);
      gain.Add(signal.gain);
      output.Add(signal.output_error);
      layer.Add(signal.layer_error);
      stream.Add(signal.stream_error);
      if (const std::optional<double> growth = signal.Growth(); growth.value_or(0) > 0) {
        log_growth.Add(std::log(*growth));
      }
    }
    if (summary.components == 0) continue;
    summary.sqnr_db = *sqnr.Get();
    summary.gain = *gain.Get();
    summary.output_error = *output.Get();
    summary.layer_error = layer.Get();
    summary.stream_error = stream.Get();
    if (log_growth.Get().has_value()) summary.growth = std::exp(*log_growth.Get());
    kinds.push_back(summary);
  }
  return kinds;
}

}  // namespace bitbudget

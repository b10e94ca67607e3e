#include "scoring/signal.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "runtime/base/aligned_buffer.h"
#include "runtime/base/status_macros.h"
#include "runtime/model/decoder/token_pass.h"
#include "scoring/gradient_norms.h"
#include "scoring/output_error.h"

namespace bitbudget {
namespace {

// The residual stream [rows of all sequences][hidden].
using Stream = AlignedBuffer<float>;

Stream Copy(const Stream& from) {
  Stream copy(from.size());
  std::copy_n(from.data(), from.size(), copy.data());
  return copy;
}

double RelativeDistance(const Stream& changed, const Stream& reference) {
  double error = 0;
  double norm = 0;
  for (int64_t i = 0; i < reference.size(); ++i) {
    const double x = reference[i];
    const double difference = changed[i] - x;
    error += difference * difference;
    norm += x * x;
  }
  return error == 0 ? 0 : std::sqrt(error / norm);
}

class Propagation {
 public:
  explicit Propagation(const ScoreContext& context)
      : context_(context),
        model_(*context.model),
        bank_(*context.bank),
        stored_(bank_.StoredAssignment()),
        assignment_(*context.assignment),
        components_(context.detail == ScoreDetail::kComponents),
        progress_(*context.progress),
        pass_(*context.transformer, context.sequences, context.threads) {
    if (components_) report_.components.resize(assignment_.size());
  }

  absl::StatusOr<SignalReport> Run() {
    const int layers = static_cast<int>(model_.config().num_hidden_layers);
    const int64_t passes = components_ ? static_cast<int64_t>(assignment_.size()) : 0;
    if (components_) BB_RETURN_IF_ERROR(MeasureOutputs());
    progress_.Begin("signal propagation", passes + layers);
    // Ahead of the layer, behind it, and behind all of them, in the reference.
    Stream before = NewStream();
    BB_RETURN_IF_ERROR(Advance(stored_, 0, 1, &before));
    final_ = Copy(before);
    BB_RETURN_IF_ERROR(Advance(stored_, 1, 1 + 2 * layers, &final_));
    if (components_) BB_RETURN_IF_ERROR(Outside(before));
    for (int layer = 0; layer < layers; ++layer) {
      Stream after = Copy(before);
      BB_RETURN_IF_ERROR(Advance(stored_, 1 + 2 * layer, 3 + 2 * layer, &after));
      BB_RETURN_IF_ERROR(Layer(layer, before, after));
      before = std::move(after);
    }
    progress_.End();
    if (!components_) return std::move(report_);
    BB_ASSIGN_OR_RETURN(const std::vector<double> norms, GradientNorms(context_));
    for (size_t c = 0; c < norms.size(); ++c) report_.components[c].gradient_norm = norms[c];
    return std::move(report_);
  }

 private:
  absl::Status MeasureOutputs() {
    AssignmentWeights reference = bank_.Reference();
    BB_ASSIGN_OR_RETURN(const InputSample sample,
                        InputSample::Create(*context_.transformer,
                                            &reference,
                                            context_.sequences,
                                            kSignalRows,
                                            context_.threads,
                                            &progress_));
    for (size_t c = 0; c < assignment_.size(); ++c) {
      BB_ASSIGN_OR_RETURN(const std::vector<OutputChange> changes,
                          OutputChanges(sample,
                                        static_cast<ComponentId>(c),
                                        {&assignment_[c], 1},
                                        &bank_,
                                        context_.threads,
                                        &progress_));
      ComponentSignal& signal = report_.components[c];
      signal.output_error = std::sqrt(changes[0].relative_error);
      signal.gain = changes[0].gain;
      signal.sqnr_db = changes[0].relative_error == 0 ? std::numeric_limits<double>::infinity()
                                                      : -10 * std::log10(changes[0].relative_error);
    }
    return absl::OkStatus();
  }

  Stream NewStream() const { return Stream(pass_.total_rows() * model_.config().hidden_size); }

  // Runs stages [from, to) of an assignment on x; stage 0 sets it.
  absl::Status Advance(const Assignment& assignment, int from, int to, Stream* x) {
    AssignmentWeights weights = bank_.Weights(assignment);
    return pass_.Advance(&weights, from, to, x->data(), &progress_);
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
                                   Stream x,
                                   const Stream& after) {
    BB_RETURN_IF_ERROR(bank_.Prepare(changes, context_.threads, &progress_));
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
  absl::Status Outside(const Stream& embedded) {
    for (size_t c = 0; c < assignment_.size(); ++c) {
      const ComponentId id = static_cast<ComponentId>(c);
      const ComponentKind kind = model_.component(id).kind;
      if (kind == ComponentKind::kHead) progress_.Update(++passes_);
      if (kind != ComponentKind::kEmbedding) continue;
      const ComponentFormat change = {id, assignment_[id]};
      BB_ASSIGN_OR_RETURN(const Errors errors,
                          Propagate({&change, 1}, 0, 1, NewStream(), embedded));
      BB_RETURN_IF_ERROR(Keep(id, errors));
    }
    return absl::OkStatus();
  }

  absl::Status Layer(int layer, const Stream& before, const Stream& after) {
    const int end = 3 + 2 * layer;
    Stream halfway;  // ahead of the MLP
    if (components_) {
      halfway = Copy(before);
      BB_RETURN_IF_ERROR(Advance(stored_, end - 2, end - 1, &halfway));
    }
    std::vector<ComponentFormat> all;
    for (const int stage : {end - 2, end - 1}) {
      for (const ComponentId id : StageComponents(stage, model_.config())) {
        const ComponentFormat change = {id, assignment_[id]};
        all.push_back(change);
        if (!components_) continue;
        BB_ASSIGN_OR_RETURN(
            const Errors errors,
            Propagate({&change, 1}, stage, end, Copy(stage == end - 2 ? before : halfway), after));
        BB_RETURN_IF_ERROR(Keep(id, errors));
      }
    }
    BB_ASSIGN_OR_RETURN(const Errors errors, Propagate(all, end - 2, end, Copy(before), after));
    report_.layers.push_back(errors.stream);
    return CheckFinite(errors, absl::StrCat("layer ", layer));
  }

  const ScoreContext& context_;
  const Model& model_;
  EncodingBank& bank_;
  const Assignment stored_;
  const Assignment& assignment_;
  const bool components_;  // and not layers only
  Progress& progress_;
  TokenPass pass_;
  Stream final_;
  int64_t passes_ = 0;
  SignalReport report_;
};

}  // namespace

std::optional<double> ComponentSignal::Growth() const {
  if (!stream_error.has_value() || !(output_error > 0)) return std::nullopt;
  return *stream_error / output_error;
}

absl::StatusOr<SignalReport> PropagateErrors(const ScoreContext& context) {
  return Propagation(context).Run();
}

absl::StatusOr<LayerScores> ScoreSignal(const ScoreContext& context) {
  BB_ASSIGN_OR_RETURN(SignalReport report, PropagateErrors(context));
  LayerScores scores;
  scores.scorer = "signal";
  scores.layers = std::move(report.layers);
  scores.order = OrderByImportance(scores.layers, MostImportant::kLargest);
  if (report.components.empty()) return scores;
  using Mean = ComponentMeasure::Mean;
  scores.measures = {{"sqnr_db", "SQNR, dB", 2},
                     {"gain", "gain", 4},
                     {"output_error", "output"},
                     {"layer_error", "layer"},
                     {"stream_error", "final"},
                     {"growth", "growth", 3, Mean::kGeometric},
                     {"gradient", "gradient", -3, Mean::kArithmetic, /*by_layer=*/true}};
  for (const ComponentSignal& signal : report.components) {
    const std::optional<double> values[] = {signal.sqnr_db,
                                            signal.gain,
                                            signal.output_error,
                                            signal.layer_error,
                                            signal.stream_error,
                                            signal.Growth(),
                                            signal.gradient_norm};
    for (size_t m = 0; m < std::size(values); ++m) scores.measures[m].values.push_back(values[m]);
    scores.components.push_back(signal.stream_error);
  }
  scores.legend =
      "one component alone, relative errors of norms; output: of its own outputs (SQNR and gain as "
      "well),\nlayer: of the residual stream behind its layer, final: of the final stream, growth: "
      "final / output\n(geometric mean); gradient: squared norm of the gradient of the unmodified "
      "model's "
      "cross entropy";
  return scores;
}

}  // namespace bitbudget

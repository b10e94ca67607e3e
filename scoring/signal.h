#ifndef BITBUDGET_SCORING_SIGNAL_H_
#define BITBUDGET_SCORING_SIGNAL_H_

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/base/progress.h"
#include "runtime/eval/assignment.h"
#include "runtime/eval/bank.h"
#include "runtime/model/decoder/transformer.h"
#include "scoring/scores.h"

namespace bitbudget {

// What the error of one component alone in its format does on its way through the model: the
// forward part of the signal propagation analysis of Oh! We Freeze (arXiv 2403.18159), whose exact
// statistic is not published. Errors are relative and of norms: ||x' - x|| / ||x|| over all
// positions of all sequences.
struct ComponentSignal {
  // Of the component's outputs Y on the reference's inputs: 10 log10(||Y||^2 / ||Y' - Y||^2),
  // infinite without an error, the gain ||Y'|| / ||Y||, and ||Y' - Y|| / ||Y||.
  double sqnr_db = 0;
  double gain = 1;
  double output_error = 0;
  // Of the residual stream behind the component's layer (of the embedding: behind itself), and of
  // the final one, ahead of the last norm. Absent for a head: nothing comes after it.
  std::optional<double> layer_error;
  std::optional<double> stream_error;

  // stream_error / output_error: what the rest of the model makes of the error; absent without one.
  std::optional<double> Growth() const;
};

struct SignalReport {
  Assignment assignment;
  std::vector<ComponentSignal> components;  // in component order
  // The relative error of the final residual stream with all components of a layer in their
  // formats: larger means more important. A sum over its components would miss that their errors
  // interfere.
  LayerScores layers;
};

struct SignalOptions {
  int threads = 1;
  // Positions whose outputs sqnr_db, gain and output_error are taken of.
  int64_t max_rows = 256;
  // False: layers only, which is all that an order of layers needs.
  bool components = true;
};

// Propagates the errors of `assignment`, one component (and one layer) at a time with all others
// as in the reference, one pass from its stage on for each. Deterministic for any number of
// threads. Errors: a component cannot be encoded, kCancelled on interruption, kInternal when the
// residual stream is not finite, or those of the weights.
absl::StatusOr<SignalReport> ScoreSignal(const Transformer& transformer,
                                         EncodingBank* bank,
                                         const Assignment& assignment,
                                         std::span<const std::vector<int32_t>> sequences,
                                         const SignalOptions& options,
                                         Progress* progress);

// Means over the components of one kind: of sqnr_db, gain and the errors, and the geometric mean of
// growth, over those that have one. In the order of ComponentKind; kinds without components are
// left out.
struct KindSignal {
  ComponentKind kind = ComponentKind::kQ;
  int64_t components = 0;
  double sqnr_db = 0;
  double gain = 0;
  double output_error = 0;
  std::optional<double> layer_error, stream_error, growth;
};
std::vector<KindSignal> SummarizeByKind(const SignalReport& report, const Model& model);

}  // namespace bitbudget

#endif  // BITBUDGET_SCORING_SIGNAL_H_

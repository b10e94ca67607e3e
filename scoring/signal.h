#ifndef BITBUDGET_SCORING_SIGNAL_H_
#define BITBUDGET_SCORING_SIGNAL_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "scoring/scorer.h"

namespace bitbudget {

// Positions whose outputs the SQNR, the gain and the output error are taken of.
inline constexpr int64_t kSignalRows = 256;

// What the error of one component alone in its format does on its way through the model, and the
// gradient by the component: the forward and the backward part of the signal propagation analysis
// of Oh! We Freeze (arXiv 2403.18159), whose exact statistic is not published. Errors are relative
// and of norms, ||x' - x|| / ||x||, over all positions of all sequences.
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
  // ||dL/dW||_F^2 of the unmodified model (gradient_norms.h): not of the format.
  double gradient_norm = 0;

  // stream_error / output_error: what the rest of the model makes of the error; absent without one.
  std::optional<double> Growth() const;
};

struct SignalReport {
  std::vector<ComponentSignal> components;  // by component; empty where only layers were asked for
  // The relative error of the final residual stream with all components of a layer in their
  // formats. A sum over its components would miss that their errors interfere.
  std::vector<double> layers;
};

// Propagates the errors of the context's assignment, of one component (and of one layer) at a time
// with all others as in the reference: for each, one pass from its stage on.
absl::StatusOr<SignalReport> PropagateErrors(const ScoreContext& context);

// The same as scores. A layer is the more important the larger the error is that it leaves in the
// final stream; so is a component.
absl::StatusOr<LayerScores> ScoreSignal(const ScoreContext& context);

}  // namespace bitbudget

#endif  // BITBUDGET_SCORING_SIGNAL_H_

#ifndef BITBUDGET_SCORING_SCORER_H_
#define BITBUDGET_SCORING_SCORER_H_

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/base/progress.h"
#include "runtime/eval/assignment.h"
#include "runtime/eval/bank.h"
#include "runtime/model/decoder/model.h"
#include "runtime/model/decoder/transformer.h"
#include "runtime/model/decoder/weights.h"
#include "scoring/scores.h"

namespace bitbudget {

// What a scorer looks at. Each level includes the ones before it, but the last two each other's
// formats.
enum class ScorerNeeds : uint8_t {
  kWeights,  // the weights alone
  kTokens,   // the unmodified model on calibration sequences
  kFormats,  // the model on those sequences with components in the formats of an assignment
  kLadders,  // the same with several formats of every component
};

// How much of what it can say a scorer should say: an order needs the layers only.
enum class ScoreDetail : uint8_t { kLayers, kComponents };

// What a scorer works on. Nothing is owned.
struct ScoreContext {
  // For every scorer.
  const Model* model = nullptr;
  ScoreDetail detail = ScoreDetail::kComponents;
  int threads = 1;
  Progress* progress = nullptr;

  // From ScorerNeeds::kTokens on. The bank gives the weights of the unmodified model too.
  const Transformer* transformer = nullptr;
  EncodingBank* bank = nullptr;
  std::span<const std::vector<int32_t>> sequences;

  uint64_t seed = 0;

  // With ScorerNeeds::kFormats.
  const Assignment* assignment = nullptr;

  // With ScorerNeeds::kLadders: formats by component.
  const std::vector<std::vector<Format>>* ladders = nullptr;
  bool pairs = false;  // LayerScores::pairs (kfac)
  // How much every row of the sequences counts, one after the other; empty: all alike.
  std::span<const float> row_weights = {};
};

// Scores the sensitivity of decoder layers. Scores are deterministic for any number of threads.
struct Scorer {
  const char* name;         // as users write it
  const char* description;  // for the help, one line
  ScorerNeeds needs;
  // Whether components are scored by gradients of all sequences (GradientPassBytes).
  bool gradients;
  // Whether it can give LayerScores::pairs.
  bool pairs;
  // How many sequences of about 200 tokens it takes for its result to settle.
  int64_t sequences;
  // Errors: kCancelled on interruption, kInternal where an activation is not finite, those of the
  // weights. REQUIRES: a context with what `needs` says.
  absl::StatusOr<LayerScores> (*score)(const ScoreContext& context);
  const char* cost_unit = "nats per token";  // of LayerScores::costs
};

}  // namespace bitbudget

#endif  // BITBUDGET_SCORING_SCORER_H_

#ifndef BITBUDGET_RUNTIME_CALIBRATION_BLOCK_TUNING_H_
#define BITBUDGET_RUNTIME_CALIBRATION_BLOCK_TUNING_H_

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/base/progress.h"
#include "runtime/calibration/block_gradient.h"
#include "runtime/calibration/equalize.h"
#include "runtime/eval/weight_encoder.h"
#include "runtime/model/model.h"
#include "runtime/model/transformer.h"
#include "runtime/model/weights.h"

namespace bitbudget {

using BlockEncodings = std::array<Encoding, kBlockMatrices>;

struct BlockTuningOptions {
  int iterations = 20;        // of the line search minimiser
  int64_t max_tokens = 4096;  // of calibration text, per block
};

// The block stage of learnable clipping (OmniQuant, arXiv 2308.13137, section 3.1): the scales of
// all seven matrices of a block, in one dense integer format, are learned together on the block's
// output error ||block' - block||^2, for inputs and outputs of the unmodified model. Codes and zero
// points stay, so that the gradient (block_gradient.h) is exact and L-BFGS (Ceres) can follow it;
// it is how far each group's grid reaches that is learned, as with clipping logits. Scales are
// rounded to f16 at the end and kept if the error with them is lower. Returns the relative error
// before and after.
std::pair<double, double> TuneBlock(const ModelConfig& config,
                                    int block,
                                    const BlockParameters<float>& parameters,
                                    const BlockInputs& inputs,
                                    int iterations,
                                    int threads,
                                    BlockEncodings* encodings);

// Encodings by another encoder, tuned block by block. All matrices of a block are encoded in the
// format that one of them is asked for in, whatever formats they end up with in an assignment, and
// kept: so what a component is in a format depends on nothing else. Formats that are not dense
// integers, and matrices of no block, are as the other encoder makes them.
class BlockTuningEncoder : public WeightEncoder {
 public:
  // Both outlive it.
  BlockTuningEncoder(const Model& model,
                     const WeightEncoder& encoder,
                     const BlockTuningOptions& options = {})
      : model_(model), encoder_(encoder), options_(options) {}

  // What blocks see of these sequences, as many of them as give `max_tokens`, in the unmodified
  // model. Nothing is tuned before. Memory: tokens x hidden floats per block. kCancelled on
  // interruption; else the errors of the weights.
  absl::Status Calibrate(const Transformer& transformer,
                         WeightSource* weights,
                         std::span<const std::vector<int32_t>> sequences,
                         int threads,
                         Progress* progress);

  absl::StatusOr<Encoding> Encode(ComponentId id, const Format& format, int threads) const override;

 private:
  struct Tuned {
    std::mutex mutex;  // held while the block is tuned
    bool done = false;
    absl::Status status;
    BlockEncodings encodings;
  };

  absl::Status Tune(int block, const Format& format, int threads, BlockEncodings* out) const;

  const Model& model_;
  const WeightEncoder& encoder_;
  const BlockTuningOptions options_;
  std::vector<BlockInputs> inputs_;  // by block
  mutable std::mutex mutex_;
  mutable std::map<std::pair<int, Format>, std::unique_ptr<Tuned>> tuned_;
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_CALIBRATION_BLOCK_TUNING_H_

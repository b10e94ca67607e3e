#ifndef BITBUDGET_PLANNER_OUTPUT_FOLDER_WEIGHTS_H_
#define BITBUDGET_PLANNER_OUTPUT_FOLDER_WEIGHTS_H_

#include <cstdint>
#include <vector>

#include "runtime/eval/assignment.h"
#include "runtime/model/decoder/model.h"
#include "runtime/quantize/weight_encoder.h"

namespace bitbudget {

// What the weights of a folder are made from. All of it outlives the writing.
struct FolderWeights {
  const Model& model;
  const Assignment& assignment;
  const WeightEncoder& encoder;
  int threads = 1;
};

// The components that one tensor of the checkpoint holds, in row order: [rows, cols].
struct StoredMatrix {
  std::vector<ComponentId> components;
  int64_t rows = 0;
  int64_t cols = 0;
};

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_OUTPUT_FOLDER_WEIGHTS_H_

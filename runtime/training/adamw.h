#ifndef BITBUDGET_RUNTIME_TRAINING_ADAMW_H_
#define BITBUDGET_RUNTIME_TRAINING_ADAMW_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace bitbudget {

// What an array of parameters stands for, which decides its learning rate.
enum class ParameterKind : uint8_t {
  kWeights,
  kLogScales,  // logarithms of factors
  kVectors,    // norms and biases
  kTransform,  // logarithms of an equivalent transformation's scales
};

// Parameters that are trained together.
struct ParameterArray {
  ParameterKind kind = ParameterKind::kWeights;
  // What a learning rate of 1 moves a parameter by: the root mean square of a weight matrix, so
  // that rates do not depend on how large a model's weights are.
  float unit = 1.0f;
  std::vector<float> values = {};
  std::vector<float> gradient = {};  // as many
};

struct AdamWOptions {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0;  // decoupled, in units of the learning rate
};

// Adam with decoupled weight decay (Loshchilov and Hutter, arXiv 1711.05101, algorithm 2), states
// in f32. The result does not depend on the number of threads.
class AdamW {
 public:
  explicit AdamW(const AdamWOptions& options = {}) : options_(options) {}

  // One step along the arrays' gradients; `rates` are those of the arrays. The first call decides
  // the arrays' number and sizes.
  void Step(std::span<ParameterArray* const> arrays, std::span<const double> rates, int threads);

  int64_t steps() const { return steps_; }

  // The state as bytes, to go on with later.
  std::string Save() const;
  // False where the bytes are not those of a state.
  bool Load(const std::string& bytes);

 private:
  AdamWOptions options_;
  int64_t steps_ = 0;
  std::vector<std::vector<float>> means_;    // of gradients, by array
  std::vector<std::vector<float>> squares_;  // of their squares
};

// The learning rate of a step in [0, steps): linear warm-up over `warm_up` steps, then half a
// cosine from `peak` to 0.
double CosineRate(double peak, int64_t step, int64_t steps, int64_t warm_up);

// Scales the gradients of all arrays so that their norm is at most `largest`; returns the norm
// before, which is not finite where any gradient is not, and then nothing is scaled.
double ClipGradients(std::span<ParameterArray* const> arrays, double largest);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_TRAINING_ADAMW_H_

#ifndef BITBUDGET_RUNTIME_QUANTIZE_MINIMIZE_H_
#define BITBUDGET_RUNTIME_QUANTIZE_MINIMIZE_H_

#include <cstdint>
#include <vector>

namespace bitbudget {

// A function of many parameters that is to be made small.
class Objective {
 public:
  virtual ~Objective() = default;
  virtual int64_t size() const = 0;  // parameters
  // Its value, and its gradient [size()] unless that is null; false where it has none.
  virtual bool Evaluate(const double* parameters, double* value, double* gradient) = 0;
};

// Limited-memory BFGS with line searches for Wolfe's conditions (Ceres), from `parameters` on,
// which become the best that was accepted. Where gradients pass straight through rounding they are
// not those of the function, and a search along a line may fail and end it early: an objective that
// wants the best of all points that were asked for keeps it itself.
void Minimize(Objective* objective, int iterations, std::vector<double>* parameters);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_QUANTIZE_MINIMIZE_H_

#ifndef BITBUDGET_RUNTIME_QUANTIZE_MINIMIZE_H_
#define BITBUDGET_RUNTIME_QUANTIZE_MINIMIZE_H_

#include <cstdint>
#include <vector>

namespace bitbudget {

// A function of many parameters, with its gradient.
class DifferentiableFunction {
 public:
  virtual ~DifferentiableFunction() = default;
  virtual int64_t size() const = 0;  // parameters
  // The value, and the gradient [size()] unless that is null; false where there is none.
  virtual bool Evaluate(const double* parameters, double* value, double* gradient) = 0;
};

// Limited-memory BFGS with line searches for Wolfe's conditions (Ceres). Starts from `parameters`,
// which become the best point that it accepted. Gradients that pass straight through rounding are
// not those of the function, so a line search may fail and end the minimisation early: a function
// that wants the best of all points evaluated keeps it itself.
void Minimize(DifferentiableFunction* function, int iterations, std::vector<double>* parameters);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_QUANTIZE_MINIMIZE_H_

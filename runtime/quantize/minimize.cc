#include "runtime/quantize/minimize.h"

#include <ceres/ceres.h>
#include <glog/logging.h>

#include <memory>

namespace bitbudget {
namespace {

class Adapter final : public ceres::FirstOrderFunction {
 public:
  explicit Adapter(DifferentiableFunction* function) : function_(*function) {}

  bool Evaluate(const double* parameters, double* cost, double* gradient) const override {
    return function_.Evaluate(parameters, cost, gradient);
  }
  int NumParameters() const override { return static_cast<int>(function_.size()); }

 private:
  DifferentiableFunction& function_;
};

}  // namespace

void Minimize(DifferentiableFunction* function, int iterations, std::vector<double>* parameters) {
  CHECK_EQ(static_cast<int64_t>(parameters->size()), function->size());
  const ceres::GradientProblem problem(std::make_unique<Adapter>(function).release());  // takes it
  ceres::GradientProblemSolver::Options options;
  options.line_search_direction_type = ceres::LBFGS;
  options.line_search_type = ceres::WOLFE;
  options.max_num_iterations = iterations;
  options.max_num_line_search_step_size_iterations = 8;
  options.logging_type = ceres::SILENT;
  ceres::GradientProblemSolver::Summary summary;
  ceres::Solve(options, problem, parameters->data(), &summary);
}

}  // namespace bitbudget

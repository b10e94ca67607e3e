#ifndef BITBUDGET_SEARCH_SURROGATE_H_
#define BITBUDGET_SEARCH_SURROGATE_H_

#include <vector>

#include "search/exact_fill.h"
#include "search/problem.h"

namespace bitbudget {

struct SurrogateOptions {
  // Relative spread of measurements around the model, as a first guess and as the weight of a
  // measurement in the fit. Measured: the standard deviation of log(divergence / (alpha E)) of all
  // components in all formats is 0.22 on novel-1m and 0.21 on novel-8m (docs/search.md).
  double spread = 0.25;
  // Absolute noise of a measurement, nats per token: the runtime's own noise floor.
  double noise = 3e-8;
};

// Predicts losses: unit c on ladder choice i costs alpha_c * error[c][i] (the linearity of
// divergence in the layer's relative output error, HIGGS, arXiv 2411.17525, theorem 1). alpha_c >=
// 0 is a least-squares fit with Huber's loss to everything observed of unit c, so one measurement
// predicts all its choices. It proposes what to try; it decides nothing.
class Surrogate {
 public:
  // `errors`: relative errors, rows as the problem's ladders; 0: the choice changes nothing, not
  // finite: never proposed. The problem outlives the surrogate.
  Surrogate(const SearchProblem& problem, CostTable errors, const SurrogateOptions& options);

  // The loss with unit c on `choice` alone, with its standard error over probes. The last
  // observation of a choice counts.
  void Observe(UnitId c, int choice, double loss, double standard_error);

  // Fits to all observations. Deterministic.
  void Fit();

  // After Fit(): alpha_c * error[c][choice]; infinite where the error is not finite or nothing of
  // the unit was observed and the error is not 0.
  double Predict(UnitId c, int choice) const;

  // The relative spread of the observations around the fit: how far a prediction may be off.
  double spread() const { return spread_; }
  double alpha(UnitId c) const { return alpha_[c]; }

 private:
  struct Observation {
    int choice;
    double error, loss, standard_error;
  };
  double Sigma(const Observation& observation) const;
  // The alpha >= 0 of least loss. REQUIRES: an observation.
  double LeastLoss(const std::vector<Observation>& observations) const;
  void MeasureSpread();

  const CostTable errors_;
  const SurrogateOptions options_;
  std::vector<std::vector<Observation>> observations_;  // by unit
  std::vector<double> alpha_;
  double spread_;
};

}  // namespace bitbudget

#endif  // BITBUDGET_SEARCH_SURROGATE_H_

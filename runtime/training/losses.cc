#include "runtime/training/losses.h"

#include <glog/logging.h>

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "runtime/base/random.h"
#include "runtime/kernels/table.h"

namespace bitbudget {
namespace {

int64_t Labelled(std::span<const int32_t> labels) {
  return std::count_if(labels.begin(), labels.end(), [](int32_t label) { return label >= 0; });
}

// Turns a row of logits into probabilities; returns the logarithm of the sum of exponentials.
template <typename Row>
double Softmax(Row row) {
  using T = typename Row::Scalar;
  Eigen::Index top = 0;
  const T max = row.maxCoeff(&top);
  if constexpr (std::is_same_v<T, float>) {
    Kernels().softmax(row.data(), 1, row.size());
    return static_cast<double>(max) - std::log(static_cast<double>(row[top]));
  }
  row.array() = (row.array() - max).exp();
  const double sum = row.template cast<double>().sum();
  row /= static_cast<T>(sum);
  return static_cast<double>(max) + std::log(sum);
}

}  // namespace

std::vector<int32_t> NextTokens(std::span<const std::vector<int32_t>> sequences) {
  std::vector<int32_t> labels;
  for (const std::vector<int32_t>& sequence : sequences) {
    if (sequence.empty()) continue;
    labels.insert(labels.end(), sequence.begin() + 1, sequence.end());
    labels.push_back(-1);
  }
  return labels;
}

template <typename T>
CrossEntropy<T>::CrossEntropy(std::vector<int32_t> labels)
    : labels_(std::move(labels)), counted_(static_cast<double>(Labelled(labels_))) {}

template <typename T>
double CrossEntropy<T>::Apply(int64_t first, Matrix<T>* logits) {
  double sum = 0;
  for (int64_t i = 0; i < logits->rows(); ++i) {
    auto row = logits->row(i);
    const int32_t label = labels_[first + i];
    if (label < 0) {
      row.setZero();
      continue;
    }
    const double of_label = static_cast<double>(row[label]);
    sum += Softmax(row) - of_label;
    row[label] -= 1;
    row /= static_cast<T>(counted_);
  }
  return counted_ == 0 ? 0 : sum / counted_;
}

template <typename T>
Distillation<T>::Distillation(Reference reference, std::vector<int32_t> labels, double kl_weight)
    : reference_(std::move(reference)),
      labels_(std::move(labels)),
      kl_weight_(kl_weight),
      labelled_(static_cast<double>(Labelled(labels_))) {}

template <typename T>
double Distillation<T>::Apply(int64_t first, Matrix<T>* logits) {
  Matrix<T> reference = reference_(first, logits->rows());
  CHECK_EQ(reference.cols(), logits->cols());
  const double kl_part = kl_weight_ / static_cast<double>(labels_.size());
  const double label_part = labelled_ == 0 ? 0 : (1 - kl_weight_) / labelled_;
  double divergence = 0;
  double entropy = 0;
  for (int64_t i = 0; i < logits->rows(); ++i) {
    auto row = logits->row(i);
    auto wanted = reference.row(i);
    const int32_t label = labels_[first + i];
    const double of_label = label < 0 ? 0 : static_cast<double>(row[label]);
    // sum p (log p - log q) = sum p (reference - logit) - log Z(reference) + log Z(logits)
    RowVector<T> difference = wanted - row;
    const double reference_sum = Softmax(wanted);
    const double sum = Softmax(row);
    divergence +=
        difference.cwiseProduct(wanted).template cast<double>().sum() - reference_sum + sum;
    const bool counts = label >= 0;
    const T q_part = static_cast<T>(kl_part + (counts ? label_part : 0));
    row = row * q_part - wanted * static_cast<T>(kl_part);
    if (counts) {
      entropy += sum - of_label;
      row[label] -= static_cast<T>(label_part);
    }
  }
  return kl_part * divergence + label_part * entropy;
}

template <typename T>
double SampledLabels<T>::Apply(int64_t first, Matrix<T>* logits) {
  double loss = 0;
  for (int64_t i = 0; i < logits->rows(); ++i) {
    auto row = logits->row(i);
    const RowVector<T> before = row;
    const double sum = Softmax(row);
    double left = Random(seed_, {first_row_ + static_cast<uint64_t>(first + i)}).Uniform();
    int64_t label = 0;
    // Rounding may leave a little at the end: then the last token with any probability.
    for (int64_t token = 0; token < row.size(); ++token) {
      if (row[token] <= 0) continue;
      label = token;
      left -= static_cast<double>(row[token]);
      if (left < 0) break;
    }
    loss += sum - static_cast<double>(before[label]);
    row[label] -= 1;
  }
  return loss;
}

template class CrossEntropy<float>;
template class CrossEntropy<double>;
template class Distillation<float>;
template class Distillation<double>;
template class SampledLabels<float>;
template class SampledLabels<double>;

}  // namespace bitbudget

#include "runtime/training/layer_gradient.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "runtime/model/decoder/transformer.h"
#include "tests/support/matrices.h"
#include "tests/support/random_tokens.h"
#include "tests/support/reference_weights.h"
#include "tests/support/tiny_model.h"
#include "tests/support/variants.h"

namespace bitbudget {
namespace {

std::vector<Variant> Variants() {
  std::vector<Variant> variants;
  const auto add = [&](const char* name, const auto& change) {
    AddVariant(name, 70, change, &variants);
  };
  add("llama", [](auto& o) { o.kv_heads = 4; });
  add("grouped_queries", [](auto& o) { o.kv_heads = 1; });
  add("biases", [](auto& o) { o.attention_bias = o.mlp_bias = true; });
  add("wide_heads", [](auto& o) { o.head_dim = 12; });
  add("sliding", [](auto& o) {
    o.architecture = Architecture::kMistral;
    o.sliding_window = 5;
  });
  add("qwen2", [](auto& o) { o.architecture = Architecture::kQwen2; });
  add("qwen3", [](auto& o) { o.architecture = Architecture::kQwen3; });
  add("gemma2", [](auto& o) { o.architecture = Architecture::kGemma2; });
  add("gemma3", [](auto& o) { o.architecture = Architecture::kGemma3; });
  add("phi3", [](auto& o) {
    o.architecture = Architecture::kPhi3;
    o.fields = R"({"partial_rotary_factor": 0.5})";
  });
  return variants;
}

const std::vector<int64_t> kLengths = {13, 1, 9};  // longer and shorter than windows
constexpr int64_t kRows = 23;
constexpr int64_t kMaxPositions = 32;

class LayerGradientTest : public testing::TestWithParam<Variant> {
 protected:
  LayerGradientTest() {
    const TinyModel tiny(GetParam().options);
    model_ = *Model::Load(tiny.path(), 1);
    const std::vector<float> values = GaussianValues(kRows * model_->config().hidden_size, 1.0, 17);
    x_ = Eigen::Map<const Matrix<float>>(values.data(), kRows, model_->config().hidden_size);
  }

  // The gradient for the loss sum(outputs * mixture_).
  template <typename T>
  LayerParameters<T> Gradient(int layer, int threads, Matrix<T>* d_x) const {
    const DecoderLayer<T> decoder(
        model_->config(), layer, {.max_positions = kMaxPositions, .threads = threads});
    LayerParameters<T> parameters = ReadLayer<T>(*model_, layer);
    parameters.normalised = normalised_;
    const LayerInputsOf<T> inputs{kLengths, x_.cast<T>()};
    LayerTrace<T> trace;
    decoder.Forward(parameters, inputs, &trace);
    LayerParameters<T> gradient;
    decoder.Backward(
        parameters, inputs, trace, Mixture().cast<T>(), {.gradient = &gradient, .d_x = d_x});
    return gradient;
  }

  Matrix<double> Mixture() const {
    Matrix<double> mixture(x_.rows(), x_.cols());
    Random random(5);
    for (int64_t i = 0; i < mixture.size(); ++i) mixture.data()[i] = random.Normal();
    return mixture;
  }

  void ExpectAgreementWithDifferences() const;

  std::unique_ptr<Model> model_;
  Matrix<float> x_;
  std::array<bool, kLayerMatrices> normalised_ = {};
};

// Calls visit(name, values, size) for every parameter.
template <typename T, typename Visit>
void ForEachParameter(LayerParameters<T>& p, const Visit& visit) {
  for (int i = 0; i < kLayerMatrices; ++i) {
    visit("matrix " + std::to_string(i), p.matrices[i].data(), p.matrices[i].size());
    visit("bias " + std::to_string(i), p.biases[i].data(), p.biases[i].size());
  }
  visit("attention norm", p.attention_norm.data(), p.attention_norm.size());
  visit("attention post norm", p.attention_post_norm.data(), p.attention_post_norm.size());
  visit("mlp norm", p.mlp_norm.data(), p.mlp_norm.size());
  visit("mlp post norm", p.mlp_post_norm.data(), p.mlp_post_norm.size());
  visit("q norm", p.q_norm.data(), p.q_norm.size());
  visit("k norm", p.k_norm.data(), p.k_norm.size());
}

// Compares `gradient` [size] with central differences of loss() by values[i], for some i.
// With step h a central difference D(h) is off by c h^2 + (higher orders), so that D(2h) - D(h) is
// three times its error, and by the rounding of the loss over h, which is a few hundred roundings
// of epsilon |loss| at most.
template <typename Loss>
void ExpectDifferences(const std::string& name,
                       const Loss& loss,
                       double* values,
                       const double* gradient,
                       int64_t size) {
  constexpr double kStep = 1e-4;
  double largest = 0;
  for (int64_t i = 0; i < size; ++i) largest = std::max(largest, std::abs(gradient[i]));
  for (int64_t i = 0; i < size; i += std::max<int64_t>(1, size / 7)) {
    const double kept = values[i];
    const auto difference = [&](double step) {
      values[i] = kept + step;
      const double above = loss();
      values[i] = kept - step;
      const double below = loss();
      values[i] = kept;
      return (above - below) / (2 * step);
    };
    const double fine = difference(kStep);
    const double rounding =
        1000 * std::numeric_limits<double>::epsilon() * (std::abs(loss()) + 1) / kStep;
    const double bound = std::abs(difference(2 * kStep) - fine) + rounding;
    EXPECT_LT(bound, 1e-3 * largest) << name << ": the comparison would prove nothing";
    EXPECT_NEAR(gradient[i], fine, bound) << name << " at " << i;
  }
}

void LayerGradientTest::ExpectAgreementWithDifferences() const {
  for (int layer = 0; layer < model_->config().num_hidden_layers; ++layer) {
    const DecoderLayer<double> decoder(model_->config(), layer, {.max_positions = kMaxPositions});
    LayerParameters<double> parameters = ReadLayer<double>(*model_, layer);
    parameters.normalised = normalised_;
    LayerInputsOf<double> inputs{kLengths, x_.cast<double>()};
    const Matrix<double> mixture = Mixture();
    const auto loss = [&] {
      LayerTrace<double> trace;
      decoder.Forward(parameters, inputs, &trace);
      return trace.outputs.cwiseProduct(mixture).sum();
    };
    Matrix<double> d_x;
    LayerParameters<double> gradient = Gradient<double>(layer, 1, &d_x);
    std::vector<const double*> gradients;
    ForEachParameter(gradient, [&](const std::string& /*name*/, const double* g, int64_t /*size*/) {
      gradients.push_back(g);
    });
    size_t next = 0;
    ForEachParameter(parameters, [&](const std::string& name, double* values, int64_t size) {
      const double* const own = gradients[next++];
      if (size > 0) {
        ASSERT_NE(own, nullptr) << name;
        ExpectDifferences(name, loss, values, own, size);
      }
    });
    ExpectDifferences("x", loss, inputs.x.data(), d_x.data(), inputs.x.size());
  }
}

TEST_P(LayerGradientTest, AgreesWithDifferencesForEveryParameterAndTheInputs) {
  ExpectAgreementWithDifferences();
}

class NormalisedLayerGradientTest : public LayerGradientTest {};

TEST_P(NormalisedLayerGradientTest, AgreesWithDifferencesWhereOutputsAreNormalised) {
  normalised_.fill(true);
  ExpectAgreementWithDifferences();
  normalised_[kVMatrix] = normalised_[kUpMatrix] = false;
  ExpectAgreementWithDifferences();
}

// The largest |a - b|.
template <typename A, typename B>
double Distance(const A& a, const B& b) {
  return (a.template cast<double>() - b.template cast<double>()).cwiseAbs().maxCoeff();
}

// Both float passes do about as many roundings as each other, in other orders (transformer_test.cc
// argues the factor of 4).
TEST_P(LayerGradientTest, ForwardIsThatOfTheTransformer) {
  const Transformer transformer(*model_, kMaxPositions);
  const ReferenceWeights weights(*model_, 1);
  for (int layer = 0; layer < model_->config().num_hidden_layers; ++layer) {
    Matrix<float> stream = x_;
    TransformerWorkspace workspace;
    std::vector<SequenceRows> sequences;
    for (const int64_t length : kLengths) sequences.push_back({length, nullptr});
    for (const int stage : {1 + 2 * layer, 2 + 2 * layer}) {
      transformer.RunStage(stage, weights.set(), sequences, stream.data(), &workspace);
    }
    LayerTrace<double> exact;
    DecoderLayer<double>(model_->config(), layer, {.max_positions = kMaxPositions})
        .Forward(ReadLayer<double>(*model_, layer), {kLengths, x_.cast<double>()}, &exact);
    LayerTrace<float> rounded;
    DecoderLayer<float>(model_->config(), layer, {.max_positions = kMaxPositions})
        .Forward(ReadLayer<float>(*model_, layer), {kLengths, x_}, &rounded);
    const double rounding = Distance(rounded.outputs, exact.outputs);
    EXPECT_LT(rounding, 1e-5 * exact.outputs.cwiseAbs().maxCoeff());
    EXPECT_LT(Distance(stream, exact.outputs), 4 * rounding);
  }
}

TEST_P(LayerGradientTest, InFloatIsThatInDoubleUpToRoundingForAnyThreads) {
  Matrix<double> d_x;
  LayerParameters<double> exact = Gradient<double>(0, 1, &d_x);
  std::vector<RowVector<double>> wanted;
  ForEachParameter(exact, [&](const std::string&, const double* g, int64_t size) {
    wanted.push_back(Eigen::Map<const RowVector<double>>(g, size));
  });
  LayerParameters<float> alone;
  for (const int threads : {1, 2, 5}) {
    Matrix<float> d_x_float;
    LayerParameters<float> gradient = Gradient<float>(0, threads, &d_x_float);
    // A sum of some hundred products that are off by some ten roundings each, of either sign.
    constexpr double kBound = 300 * std::numeric_limits<float>::epsilon();
    size_t next = 0;
    ForEachParameter(gradient, [&](const std::string& name, const float* g, int64_t size) {
      const RowVector<double>& want = wanted[next++];
      ASSERT_EQ(size, want.size()) << name;
      if (size == 0) return;
      const Eigen::Map<const RowVector<float>> got(g, size);
      EXPECT_LT(Distance(got, want), kBound * want.cwiseAbs().maxCoeff()) << name;
    });
    EXPECT_LT(Distance(d_x_float, d_x), kBound * d_x.cwiseAbs().maxCoeff());
    if (threads == 1) {
      alone = gradient;
      continue;
    }
    for (int i = 0; i < kLayerMatrices; ++i) {
      EXPECT_EQ(gradient.matrices[i], alone.matrices[i]) << i << " on " << threads;
    }
  }
}

// With biases, which come behind the norm; with the norms of heads, which do too.
INSTANTIATE_TEST_SUITE_P(Architectures,
                         NormalisedLayerGradientTest,
                         testing::Values(Variants()[2], Variants()[6]),
                         [](const auto& info) { return info.param.name; });

INSTANTIATE_TEST_SUITE_P(Architectures,
                         LayerGradientTest,
                         testing::ValuesIn(Variants()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace bitbudget

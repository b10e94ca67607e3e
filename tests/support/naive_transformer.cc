#include "tests/support/naive_transformer.h"

#include <glog/logging.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "absl/strings/str_cat.h"

namespace bitbudget {
namespace {

constexpr double kPi = 3.14159265358979323846;

// Angle per position of pair i of a head. "linear": positions are divided by the factor (Chen et
// al. 2023, arXiv 2306.15595). "llama3": the model card's schedule; with r = original context /
// wavelength, frequencies with r < low_freq_factor are divided by the factor, those with
// r > high_freq_factor are kept, and those in between are interpolated linearly in r. "longrope":
// every frequency has its own divisor (Ding et al. 2024, arXiv 2402.13753).
double Frequency(const ModelConfig& config, bool slides, int64_t i) {
  const bool local = slides && config.architecture == Architecture::kGemma3;
  const double theta = local ? *config.sliding_rope_theta : config.rope_theta;
  const double plain =
      1 / std::pow(theta, static_cast<double>(2 * i) / static_cast<double>(config.rotary_dim));
  const RopeScaling& rope = config.rope_scaling;
  if (local || rope.type == RopeType::kDefault) return plain;
  if (rope.type == RopeType::kLinear) return plain / rope.factor;
  if (rope.type == RopeType::kLongRope) return plain / rope.factors[i];
  const double turns = static_cast<double>(rope.original_max_position) * plain / (2 * kPi);
  if (turns < rope.low_freq_factor) return plain / rope.factor;
  if (turns > rope.high_freq_factor) return plain;
  const double smooth =
      (turns - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor);
  return (1 - smooth) * plain / rope.factor + smooth * plain;
}

std::vector<double> RoundRowToInt16(std::vector<double> x) {
  double largest = 0;
  for (const double value : x) largest = std::max(largest, std::abs(value));
  if (largest == 0) return x;
  for (double& value : x) value = std::nearbyint(value * 32767 / largest) * largest / 32767;
  return x;
}

// One sequence. T is what every value is rounded to.
template <typename T>
class Pass {
 public:
  Pass(const Model& model, const std::vector<std::vector<double>>& weights, bool round)
      : model_(model),
        config_(model.config()),
        gemma_(config_.architecture == Architecture::kGemma2 ||
               config_.architecture == Architecture::kGemma3),
        weights_(weights),
        round_(round) {}

  NaivePass Run(std::span<const int32_t> tokens) {
    const int64_t width = config_.hidden_size;
    out_.inputs.resize(model_.components().size());
    std::vector<std::vector<T>> x;
    for (const int32_t token : tokens) {
      const double* row = weights_[Find("model.embed_tokens")].data() + token * width;
      x.emplace_back(row, row + width);
      if (!gemma_) continue;
      for (T& value : x.back()) value *= std::sqrt(static_cast<float>(width));
    }
    Keep(x);
    for (int b = 0; b < config_.num_hidden_layers; ++b) {
      Attention(b, &x);
      Keep(x);
      Mlp(b, &x);
      Keep(x);
    }
    for (const std::vector<T>& row : x) {
      const char* head = config_.tie_word_embeddings ? "model.embed_tokens" : "lm_head";
      std::vector<T> logits = Linear(head, {}, Norm(row, model_.final_norm()));
      for (T& logit : logits) logit = Cap(logit, config_.final_soft_cap);
      out_.logits.insert(out_.logits.end(), logits.begin(), logits.end());
    }
    return out_;
  }

 private:
  using Row = std::vector<T>;

  ComponentId Find(const std::string& name) const {
    for (size_t c = 0; c < model_.components().size(); ++c) {
      if (model_.components()[c].name == name) return static_cast<ComponentId>(c);
    }
    LOG(FATAL) << name;
  }

  void Keep(const std::vector<Row>& x) {
    std::vector<double> stream;
    for (const Row& row : x) stream.insert(stream.end(), row.begin(), row.end());
    out_.streams.push_back(stream);
  }

  // x / sqrt(mean(x^2) + eps) * weight
  Row Norm(const Row& x, const std::vector<float>& weight) const {
    T sum = 0;
    for (const T value : x) sum += value * value;
    const T root = std::sqrt(sum / static_cast<T>(x.size()) + static_cast<T>(config_.rms_norm_eps));
    Row y;
    for (size_t i = 0; i < x.size(); ++i) y.push_back(x[i] / root * static_cast<T>(weight[i]));
    return y;
  }

  // y = W x + bias
  Row Linear(const std::string& name, const std::vector<float>& bias, Row x) {
    const ComponentId id = Find(name);
    const Component& component = model_.component(id);
    out_.inputs[id].insert(out_.inputs[id].end(), x.begin(), x.end());
    if (round_) {
      const std::vector<double> rounded = RoundRowToInt16({x.begin(), x.end()});
      x.assign(rounded.begin(), rounded.end());
    }
    Row y;
    for (int64_t n = 0; n < component.rows; ++n) {
      T sum = 0;
      for (int64_t k = 0; k < component.cols; ++k) {
        sum += static_cast<T>(weights_[id][n * component.cols + k]) * x[k];
      }
      y.push_back(bias.empty() ? sum : sum + static_cast<T>(bias[n]));
    }
    return y;
  }

  // x bent towards +-cap (Gemma 2, arXiv 2408.00118, section 2); 0: none.
  static T Cap(T x, double cap) {
    return cap == 0 ? x : static_cast<T>(cap) * std::tanh(x / static_cast<T>(cap));
  }

  // Norms every head of its own (Qwen 3, Gemma 3).
  void NormHeads(const std::vector<float>& weight, Row* x) const {
    const int64_t dim = config_.head_dim;
    for (auto head = x->begin(); head != x->end(); head += dim) {
      const Row normed = Norm(Row(head, head + dim), weight);
      std::copy(normed.begin(), normed.end(), head);
    }
  }

  // Rotates the pairs (x[i], x[i + rotary_dim / 2]) of every head by position * frequency(i), and
  // lengthens them by longrope's factor.
  void Rotate(int64_t position, bool slides, Row* x) const {
    const int64_t pairs = config_.rotary_dim / 2;
    const double length = config_.rope_scaling.attention_factor;
    for (size_t head = 0; head < x->size(); head += config_.head_dim) {
      for (int64_t i = 0; i < pairs; ++i) {
        const double angle = static_cast<double>(position) * Frequency(config_, slides, i);
        const T c = static_cast<T>(length * std::cos(angle));
        const T s = static_cast<T>(length * std::sin(angle));
        T& first = (*x)[head + i];
        T& second = (*x)[head + i + pairs];
        const T a = first;
        const T b = second;
        first = a * c - b * s;
        second = b * c + a * s;
      }
    }
  }

  void Attention(int b, std::vector<Row>* x) {
    const LayerVectors& vectors = model_.layer(b);
    const std::string name = absl::StrCat("model.layers.", b, ".self_attn.");
    const int64_t dim = config_.head_dim;
    const int64_t heads_per_kv = config_.num_attention_heads / config_.num_key_value_heads;
    const bool slides = !config_.sliding_layers.empty() && config_.sliding_layers[b];
    const bool norms_heads = config_.architecture == Architecture::kQwen3 ||
                             config_.architecture == Architecture::kGemma3;
    std::vector<Row> keys;
    std::vector<Row> values;
    for (size_t t = 0; t < x->size(); ++t) {
      const Row normed = Norm((*x)[t], vectors.attention_norm);
      Row q = Linear(name + "q_proj", vectors.q_bias, normed);
      Row k = Linear(name + "k_proj", vectors.k_bias, normed);
      if (norms_heads) {
        NormHeads(vectors.q_norm, &q);
        NormHeads(vectors.k_norm, &k);
      }
      Rotate(static_cast<int64_t>(t), slides, &q);
      Rotate(static_cast<int64_t>(t), slides, &k);
      keys.push_back(k);
      values.push_back(Linear(name + "v_proj", vectors.v_bias, normed));

      Row context(config_.q_size());
      for (int64_t head = 0; head < config_.num_attention_heads; ++head) {
        const int64_t kv = head / heads_per_kv * dim;
        Row scores;
        for (size_t s = 0; s <= t; ++s) {
          if (slides && static_cast<int64_t>(t - s) >= *config_.sliding_window) {
            scores.push_back(-std::numeric_limits<T>::infinity());
            continue;
          }
          T dot = 0;
          for (int64_t i = 0; i < dim; ++i) dot += q[head * dim + i] * keys[s][kv + i];
          scores.push_back(
              Cap(dot * static_cast<T>(config_.attention_scale), config_.attention_soft_cap));
        }
        const T largest = *std::max_element(scores.begin(), scores.end());
        T total = 0;
        for (T& score : scores) total += score = std::exp(score - largest);
        for (size_t s = 0; s <= t; ++s) {
          for (int64_t i = 0; i < dim; ++i) {
            context[head * dim + i] += scores[s] / total * values[s][kv + i];
          }
        }
      }
      Row delta = Linear(name + "o_proj", vectors.o_bias, context);
      if (gemma_) delta = Norm(delta, vectors.attention_post_norm);
      Add(delta, &(*x)[t]);
    }
  }

  void Mlp(int b, std::vector<Row>* x) {
    const LayerVectors& vectors = model_.layer(b);
    const std::string name = absl::StrCat("model.layers.", b, ".mlp.");
    for (Row& row : *x) {
      const Row normed = Norm(row, vectors.mlp_norm);
      Row hidden = Linear(name + "gate_proj", vectors.gate_bias, normed);
      const Row up = Linear(name + "up_proj", vectors.up_bias, normed);
      for (size_t i = 0; i < hidden.size(); ++i) {
        hidden[i] = (gemma_ ? Gelu(hidden[i]) : hidden[i] / (1 + std::exp(-hidden[i]))) * up[i];
      }
      Row delta = Linear(name + "down_proj", vectors.down_bias, hidden);
      if (gemma_) delta = Norm(delta, vectors.mlp_post_norm);
      Add(delta, &row);
    }
  }

  // The tanh form of GELU (Hendrycks and Gimpel 2016, arXiv 1606.08415).
  static T Gelu(T x) {
    const T root = static_cast<T>(std::sqrt(2 / kPi));
    return x / 2 * (1 + std::tanh(root * (x + static_cast<T>(0.044715) * x * x * x)));
  }

  static void Add(const Row& delta, Row* x) {
    for (size_t i = 0; i < x->size(); ++i) (*x)[i] += delta[i];
  }

  const Model& model_;
  const ModelConfig& config_;
  const bool gemma_;
  const std::vector<std::vector<double>>& weights_;
  bool round_;
  NaivePass out_;
};

}  // namespace

NaiveTransformer::NaiveTransformer(const Model& model) : model_(model) {
  for (size_t c = 0; c < model.components().size(); ++c) {
    const TensorView& weight = model.Weight(static_cast<ComponentId>(c));
    std::vector<float> row(weight.cols);
    std::vector<double>& all = weights_.emplace_back();
    for (int64_t r = 0; r < weight.rows; ++r) {
      weight.ReadRow(r, row);
      all.insert(all.end(), row.begin(), row.end());
    }
  }
}

void NaiveTransformer::SetWeights(ComponentId component, const Encoding& encoding) {
  std::vector<float> decoded(encoding.rows * encoding.cols);
  DecodeReference(encoding, decoded);
  weights_[component].assign(decoded.begin(), decoded.end());
}

NaivePass NaiveTransformer::Run(std::span<const int32_t> tokens, NaiveArithmetic arithmetic) const {
  if (arithmetic == NaiveArithmetic::kFloat)
    return Pass<float>(model_, weights_, false).Run(tokens);
  return Pass<double>(model_, weights_, arithmetic == NaiveArithmetic::kInt16).Run(tokens);
}

double MaxDifference(std::span<const double> a, std::span<const double> b) {
  CHECK_EQ(a.size(), b.size());
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(a[i] - b[i]));
  return largest;
}

}  // namespace bitbudget

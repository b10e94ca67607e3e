#include "planner/jobs/same_model.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "runtime/base/json.h"
#include "runtime/base/status_macros.h"
#include "runtime/model/architecture/families.h"
#include "runtime/model/architecture/rope.h"

namespace bitbudget {
namespace {

// Settings that were rounded to float differ by less.
constexpr double kRounded = 1e-6;

absl::Status Differs(const Model& model,
                     const Model& other,
                     const std::string& what,
                     const std::string& theirs,
                     const std::string& ours) {
  return absl::InvalidArgumentError(absl::StrCat(other.path(),
                                                 ": is another model than ",
                                                 model.path(),
                                                 ": ",
                                                 what,
                                                 " is ",
                                                 theirs,
                                                 " here and ",
                                                 ours,
                                                 " there"));
}

bool Same(double a, double b) { return std::abs(a - b) <= kRounded * std::max(std::abs(a), 1e-30); }

std::string TextOf(bool value) { return value ? "on" : "off"; }

absl::Status CheckSettings(const Model& model, const Model& other, int64_t context) {
  const ModelConfig& ours = model.config();
  const ModelConfig& theirs = other.config();
  const std::pair<const char*, int64_t ModelConfig::*> sizes[] = {
      {"the number of layers", &ModelConfig::num_hidden_layers},
      {"the hidden size", &ModelConfig::hidden_size},
      {"the intermediate size", &ModelConfig::intermediate_size},
      {"the number of attention heads", &ModelConfig::num_attention_heads},
      {"the number of key-value heads", &ModelConfig::num_key_value_heads},
      {"the head size", &ModelConfig::head_dim},
      {"the vocabulary", &ModelConfig::vocab_size},
      {"the number of rotated dimensions", &ModelConfig::rotary_dim}};
  for (const auto& [what, field] : sizes) {
    if (ours.*field == theirs.*field) continue;
    return Differs(model, other, what, absl::StrCat(theirs.*field), absl::StrCat(ours.*field));
  }
  const std::pair<const char*, bool ModelConfig::*> switches[] = {
      {"a head tied to the embedding", &ModelConfig::tie_word_embeddings},
      {"norms after attention and MLP", &ModelConfig::post_norms},
      {"norms of queries and keys", &ModelConfig::qk_norm},
      {"biases of q, k and v", &ModelConfig::qkv_bias},
      {"a bias of o", &ModelConfig::o_bias},
      {"biases of the MLP", &ModelConfig::mlp_bias}};
  for (const auto& [what, field] : switches) {
    if (ours.*field == theirs.*field) continue;
    return Differs(model, other, what, TextOf(theirs.*field), TextOf(ours.*field));
  }
  if (ours.activation != theirs.activation) {
    return Differs(model, other, "the activation function", "another one", "another one");
  }
  const std::pair<const char*, double ModelConfig::*> numbers[] = {
      {"the epsilon of norms", &ModelConfig::rms_norm_eps},
      {"the scale of attention", &ModelConfig::attention_scale},
      {"the soft cap of attention", &ModelConfig::attention_soft_cap},
      {"the soft cap of logits", &ModelConfig::final_soft_cap}};
  for (const auto& [what, field] : numbers) {
    if (Same(ours.*field, theirs.*field)) continue;
    return Differs(model, other, what, absl::StrCat(theirs.*field), absl::StrCat(ours.*field));
  }
  if (!Same(ours.embedding_scale, theirs.embedding_scale)) {
    return Differs(model,
                   other,
                   "the scale of embeddings",
                   absl::StrCat(theirs.embedding_scale),
                   absl::StrCat(ours.embedding_scale));
  }
  // Containers leave out windows that their programs do not know; what is run must not depend on
  // it.
  const auto seen = [&](const ModelConfig& config, int64_t layer) {
    return config.Slides(layer) ? std::min(config.Window(layer), context) : context;
  };
  for (int64_t layer = 0; layer < ours.num_hidden_layers; ++layer) {
    if (seen(ours, layer) == seen(theirs, layer)) continue;
    return Differs(model,
                   other,
                   absl::StrCat("the attention window of layer ", layer),
                   absl::StrCat(seen(theirs, layer), " positions"),
                   absl::StrCat(seen(ours, layer)));
  }
  return absl::OkStatus();
}

// By the angles that they give, as containers say differently what makes them.
absl::Status CheckRope(const Model& model, const Model& other) {
  const ModelConfig& ours = model.config();
  const ModelConfig& theirs = other.config();
  const auto compare = [&](const char* what, double our_theta, double their_theta, bool scaled) {
    const RopeScaling none;
    const std::vector<double> a =
        RopeFrequencies(our_theta, scaled ? ours.rope_scaling : none, ours.rotary_dim);
    const std::vector<double> b =
        RopeFrequencies(their_theta, scaled ? theirs.rope_scaling : none, theirs.rotary_dim);
    for (size_t i = 0; i < a.size(); ++i) {
      if (Same(a[i], b[i])) continue;
      return Differs(model,
                     other,
                     absl::StrCat("frequency ", i, " of the rotary embedding", what),
                     absl::StrCat(b[i]),
                     absl::StrCat(a[i]));
    }
    return absl::OkStatus();
  };
  BB_RETURN_IF_ERROR(compare("", ours.rope_theta, theirs.rope_theta, true));
  if (!Same(ours.rope_scaling.attention_factor, theirs.rope_scaling.attention_factor)) {
    return Differs(model,
                   other,
                   "the attention factor of the rotary embedding",
                   absl::StrCat(theirs.rope_scaling.attention_factor),
                   absl::StrCat(ours.rope_scaling.attention_factor));
  }
  return compare(" of sliding layers",
                 ours.sliding_rope_theta.value_or(1),
                 theirs.sliding_rope_theta.value_or(1),
                 false);
}

// Ordinary tokens must have the same text under the same id. Control and unused tokens are spelled
// as a container likes, and ids without a token may be filled up.
absl::Status CheckTokens(const Model& model, const Model& other) {
  if (model.tokenizer() == nullptr || other.tokenizer() == nullptr) return absl::OkStatus();
  const std::vector<VocabularyToken>& ours = model.tokenizer()->data().tokens;
  const std::vector<VocabularyToken>& theirs = other.tokenizer()->data().tokens;
  for (size_t id = 0; id < std::min(ours.size(), theirs.size()); ++id) {
    const int32_t token = static_cast<int32_t>(id);
    if (ours[id].text == theirs[id].text) continue;
    if (model.tokenizer()->IsSpecial(token) || other.tokenizer()->IsSpecial(token)) continue;
    return Differs(
        model, other, absl::StrCat("token ", id), Quoted(theirs[id].text), Quoted(ours[id].text));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckSameModel(const Model& model, const Model& other, int64_t context) {
  // By GGUF's names: several families of Hugging Face share one there.
  const std::string ours = FamilyOf(model.config().architecture).gguf.name;
  const std::string theirs = FamilyOf(other.config().architecture).gguf.name;
  if (ours != theirs) return Differs(model, other, "the architecture", theirs, ours);
  BB_RETURN_IF_ERROR(CheckSettings(model, other, context));
  BB_RETURN_IF_ERROR(CheckRope(model, other));
  return CheckTokens(model, other);
}

}  // namespace bitbudget

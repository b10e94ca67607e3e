#include "plans/targets/llama_cpp_mixes.h"

#include <algorithm>
#include <cstdint>
#include <span>

#include "runtime/base/known_names.h"
#include "runtime/base/status_macros.h"

// What src/llama-quant.cpp (007dbbf3) does without rules, for dense models:
// tests/peer/targets_peer_test.py compares.
namespace bitbudget {
namespace {

// Layers of a model of n whose tensor is raised.
enum class Where : uint8_t {
  kNowhere,
  kEverywhere,
  kFirst2,
  kFirst4,
  kFirstEighth,
  kFirst16th,
  // The first and the last eighth, and every third layer between.
  kMoreBits,
};

bool Has(Where where, int layer, int n) {
  switch (where) {
    case Where::kNowhere:
      return false;
    case Where::kEverywhere:
      return true;
    case Where::kFirst2:
      return layer < 2;
    case Where::kFirst4:
      return layer < 4;
    case Where::kFirstEighth:
      return layer < n / 8;
    case Where::kFirst16th:
      return layer < n / 16;
    case Where::kMoreBits:
      break;
  }
  return layer < n / 8 || layer >= 7 * n / 8 || (layer - n / 8) % 3 == 2;
}

// `raised` in some layers, `other` in those that remain; null: the mix's own type.
struct Rule {
  Where where = Where::kNowhere;
  const char* raised = nullptr;
  const char* other = nullptr;
};

struct Mix {
  const char* name;
  const char* type;  // of what no rule is for
  Rule v = {}, down = {}, o = {};
};

constexpr Mix kMixes[] = {{.name = "q2_k",
                           .type = "q2_k",
                           .v = {Where::kEverywhere, "q3_k"},
                           .down = {Where::kEverywhere, "q3_k"},
                           .o = {Where::kEverywhere, "q3_k"}},
                          {.name = "q3_k_s", .type = "q3_k"},
                          {.name = "q3_k_m",
                           .type = "q3_k",
                           .v = {Where::kFirst2, "q5_k", "q4_k"},
                           .down = {Where::kFirst16th, "q5_k", "q4_k"},
                           .o = {Where::kEverywhere, "q4_k"}},
                          {.name = "q3_k_l",
                           .type = "q3_k",
                           .v = {Where::kEverywhere, "q5_k"},
                           .down = {Where::kEverywhere, "q5_k"},
                           .o = {Where::kEverywhere, "q5_k"}},
                          {.name = "q4_k_s",
                           .type = "q4_k",
                           .v = {Where::kFirst4, "q5_k"},
                           .down = {Where::kFirstEighth, "q5_k"}},
                          {.name = "q4_k_m",
                           .type = "q4_k",
                           .v = {Where::kMoreBits, "q6_k"},
                           .down = {Where::kMoreBits, "q6_k"}},
                          {.name = "q5_k_s", .type = "q5_k"},
                          {.name = "q5_k_m",
                           .type = "q5_k",
                           .v = {Where::kMoreBits, "q6_k"},
                           .down = {Where::kMoreBits, "q6_k"}},
                          {.name = "q6_k", .type = "q6_k"}};

// The head, also where it is the embedding.
constexpr char kHeadType[] = "q6_k";
// Llama of 70 billion weights has 8 query heads per value head and 80 layers; its v of q3_k or q4_k
// is raised, as the file hardly grows.
constexpr int kLayersOf70B = 80;

class Types {
 public:
  Types(const Mix& mix, const TargetModel& model) : mix_(mix), model_(model) {
    for (const TargetComponent& component : model.components) {
      layers_ = std::max(layers_, component.layer + 1);
      has_head_ |= component.kind == "head";
      if (component.kind == "q") q_rows_ = component.rows;
      if (component.kind == "v") v_rows_ = component.rows;
    }
  }

  const char* Of(const TargetUnit& unit) const {
    const TargetComponent& first = model_.components[unit.parts[0]];
    if (first.kind == "head" || (first.kind == "embed" && !has_head_)) return kHeadType;
    // Where q, k and v are one tensor, v decides.
    const bool has_v = std::any_of(unit.parts.begin(), unit.parts.end(), [&](int part) {
      return model_.components[part].kind == "v";
    });
    if (has_v) return OfV(first.layer);
    if (first.kind == "down") return ByRule(mix_.down, first.layer);
    if (first.kind == "o") return ByRule(mix_.o, first.layer);
    return mix_.type;
  }

 private:
  const char* ByRule(const Rule& rule, int layer) const {
    if (Has(rule.where, layer, layers_)) return rule.raised;
    return rule.other != nullptr ? rule.other : mix_.type;
  }

  const char* OfV(int layer) const {
    const absl::string_view type = ByRule(mix_.v, layer);
    const bool grouped = v_rows_ > 0 && q_rows_ / v_rows_ >= 4;
    if (grouped && absl::string_view(mix_.type) == "q2_k") return "q4_k";
    if (layers_ == kLayersOf70B && (type == "q3_k" || type == "q4_k")) return "q5_k";
    return type.data();
  }

  const Mix& mix_;
  const TargetModel& model_;
  int layers_ = 0;
  bool has_head_ = false;
  int64_t q_rows_ = 0;
  int64_t v_rows_ = 0;
};

}  // namespace

std::vector<std::string> LlamaCppMixes() {
  std::vector<std::string> names;
  for (const Mix& mix : kMixes) names.emplace_back(mix.name);
  return names;
}

absl::StatusOr<std::vector<Format>> LlamaCppMix(absl::string_view name, const TargetModel& model) {
  const auto* const mix = std::find_if(
      std::begin(kMixes), std::end(kMixes), [&](const Mix& known) { return name == known.name; });
  if (mix == std::end(kMixes)) {
    const std::vector<std::string> known = LlamaCppMixes();
    return UnknownName("mix", name, std::span<const std::string>(known));
  }
  BB_ASSIGN_OR_RETURN(const TargetProfile* const profile, FindTarget("llama.cpp"));
  const Types types(*mix, model);
  std::vector<Format> formats(model.components.size());
  for (const TargetUnit& unit : profile->Units(model)) {
    BB_ASSIGN_OR_RETURN(const Format format, ParseFormat(types.Of(unit)));
    BB_ASSIGN_OR_RETURN(const Format resolved, profile->Resolve(unit, format));
    for (const int part : unit.parts) formats[part] = resolved;
  }
  return formats;
}

}  // namespace bitbudget

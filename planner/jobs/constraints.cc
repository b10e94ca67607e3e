#include "planner/jobs/constraints.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>
#include <variant>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "planner/jobs/held_formats.h"
#include "planner/jobs/target_model.h"
#include "runtime/base/status_macros.h"
#include "runtime/tensor/block_format.h"

namespace bitbudget {
namespace {

// "LEFT=RIGHT", split at the last '=' (a regular expression may contain one, a format does not).
absl::StatusOr<std::pair<std::string, std::string>> SplitRule(const std::string& text,
                                                              const char* form) {
  if (!std::all_of(text.begin(), text.end(), absl::ascii_isprint)) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", absl::CHexEscape(text), "': a plan records printable ASCII only"));
  }
  const size_t equals = text.rfind('=');
  if (equals == std::string::npos || equals == 0 || equals + 1 == text.size()) {
    return absl::InvalidArgumentError(absl::StrCat("'", text, "' is not of the form ", form));
  }
  return std::pair(text.substr(0, equals), text.substr(equals + 1));
}

// Ids of the components whose name contains a match; an error when there is none.
absl::StatusOr<std::vector<ComponentId>> Matches(const Model& model,
                                                 const Regex& regex,
                                                 const char* rule) {
  std::vector<ComponentId> ids;
  for (size_t c = 0; c < model.components().size(); ++c) {
    BB_ASSIGN_OR_RETURN(const bool matches,
                        regex.Matches(model.components()[c].name, Regex::Where::kAnywhere));
    if (matches) ids.push_back(static_cast<ComponentId>(c));
  }
  if (ids.empty() && model.config().tie_word_embeddings) {
    BB_ASSIGN_OR_RETURN(const bool head, regex.Matches("lm_head", Regex::Where::kAnywhere));
    if (head) {
      return absl::InvalidArgumentError(
          absl::StrCat(rule,
                       " '",
                       regex.pattern(),
                       "': ",
                       model.path(),
                       " has no head of its own, it shares the embedding's weights; name ",
                       model.components().front().name));
    }
  }
  if (ids.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(rule,
                                                   " '",
                                                   regex.pattern(),
                                                   "' matches no component of ",
                                                   model.path(),
                                                   "; a name is, for example, ",
                                                   model.components().back().name));
  }
  return ids;
}

// Whether two formats give a row of k inputs the same layout and the same codes.
bool SameLayout(const Format& a, const Format& b, int64_t k) {
  return a.kind == b.kind && a.bits == b.bits && a.zero_point == b.zero_point &&
         a.sparsity == b.sparsity && a.GroupsPerRow(k) == 1 && b.GroupsPerRow(k) == 1;
}

std::string FormatNames(const std::vector<Format>& formats) {
  return absl::StrJoin(formats, ",", [](std::string* out, const Format& format) {
    absl::StrAppend(out, format.Name());
  });
}

// Refuses a user's formats that the target cannot hold.
absl::Status CheckFormats(const TargetProfile& target, const std::vector<Format>& formats) {
  const std::vector<Format> held = target.Formats();
  for (const Format& format : formats) {
    const Format listed = target.HoldsSparse() ? format.Dense() : format;
    if (std::find(held.begin(), held.end(), listed) != held.end()) continue;
    return absl::InvalidArgumentError(absl::StrCat("format ",
                                                   format.Name(),
                                                   ": ",
                                                   target.name(),
                                                   " cannot hold it; it has ",
                                                   FormatNames(held)));
  }
  return absl::OkStatus();
}

// The target's formats, integers (those of MLX too) of b < 4 bits only for budgets below b + 1.5
// bits per weight, and codebook types of b bits per weight only below b + 1: above that they cost
// evaluations and win nothing (docs/formats.md, "Which formats a plan tries").
std::vector<Format> DefaultFormats(const TargetProfile& target, double bits_per_weight) {
  std::vector<Format> formats = target.DefaultFormats();
  std::erase_if(formats, [&](const Format& format) {
    if (!format.IsBlock() || format.kind == FormatKind::kAffine) {
      return format.bits < 4 && bits_per_weight >= format.bits + 1.5;
    }
    const BlockTraits& traits = BlockTraitsOf(format);
    return traits.lattice != nullptr && bits_per_weight >= 8.0 * traits.bytes / traits.block + 1;
  });
  return formats;
}

// The bits per weight of the components that a budget allows; infinite without a budget.
double BitsPerWeightOf(const SearchLimit& limit, const Model& model) {
  const ByteBudget* budget = std::get_if<ByteBudget>(&limit);
  if (budget == nullptr) return std::numeric_limits<double>::infinity();
  int64_t weights = 0;
  for (const Component& component : model.components()) weights += component.rows * component.cols;
  return 8.0 * static_cast<double>(budget->bytes) / static_cast<double>(weights);
}

struct UnitRules {
  int min_bits = 0;
  std::optional<Format> pinned;
  Format stored;  // of the first component
  int64_t stored_bytes = 0;
};

// The pin of a unit, if any. Pins of its components must agree, and the target must hold the format
// unchanged.
absl::StatusOr<std::optional<Format>> UnitPin(const TargetProfile& target,
                                              const Model& model,
                                              const TargetUnit& unit,
                                              const std::vector<std::optional<Format>>& pinned) {
  std::optional<ComponentId> first;
  for (const ComponentId c : unit.parts) {
    if (!pinned[c].has_value()) continue;
    if (!first.has_value()) first = c;
    if (*pinned[c] == *pinned[*first]) continue;
    return absl::InvalidArgumentError(absl::StrCat("pin: ",
                                                   target.name(),
                                                   " needs one format for ",
                                                   model.components()[*first].name,
                                                   " and ",
                                                   model.components()[c].name,
                                                   ", but they are pinned to ",
                                                   pinned[*first]->Name(),
                                                   " and ",
                                                   pinned[c]->Name()));
  }
  if (!first.has_value()) return std::optional<Format>();
  const Format pin = *pinned[*first];
  BB_RETURN_IF_ERROR(CheckFits(pin, model.components()[*first]));
  const absl::StatusOr<Format> resolved = target.Resolve(unit, pin);
  if (!resolved.ok()) {
    return absl::InvalidArgumentError(absl::StrCat("pin: ", resolved.status().message()));
  }
  const Format stored = model.Weight(*first).format;
  if (pin.IsFloat() && pin != stored && !target.ConvertsFloats()) {
    return absl::InvalidArgumentError(absl::StrCat("pin: ",
                                                   model.components()[*first].name,
                                                   " in ",
                                                   pin.Name(),
                                                   ": ",
                                                   target.name(),
                                                   " leaves floats as they are stored, in ",
                                                   stored.Name()));
  }
  return std::optional<Format>(pin);
}

// Lets the choices of a ladder, by increasing size, stand for formats that the unit's weights do
// not fit into: each the smallest that takes no less.
void StandIn(const std::vector<Format>& for_formats,
             const TargetUnit& unit,
             std::vector<Choice>* ladder) {
  for (const Format& format : for_formats) {
    const int64_t bytes = SizeBytes(format, unit.rows, unit.cols);
    const auto wider = std::find_if(ladder->begin(), ladder->end(), [&](const Choice& choice) {
      return choice.bytes >= bytes;
    });
    Choice& choice = wider != ladder->end() ? *wider : ladder->back();
    if (choice.format != format) choice.instead_of.push_back(format);
  }
}

absl::StatusOr<std::vector<Choice>> UnitLadder(const TargetProfile& target,
                                               const TargetUnit& unit,
                                               const UnitRules& rules,
                                               std::vector<Format> allowed,
                                               const Model& model,
                                               std::vector<std::string>* notes) {
  const std::string& name = model.component(unit.parts[0]).name;
  const HeldFormats held(model, unit.parts);
  if (rules.pinned.has_value()) allowed = {*rules.pinned};
  // What the target leaves alone, or has no kernel for, keeps its stored format.
  const bool left_alone = std::none_of(allowed.begin(), allowed.end(), [&](const Format& format) {
    return target.Resolve(unit, format).ok();
  });
  if (left_alone) allowed = {rules.stored};
  std::vector<Choice> ladder;
  std::vector<Format> not_held;
  for (const Format& asked : allowed) {
    if (asked.IsFloat() && asked != rules.stored && !target.ConvertsFloats()) continue;
    const absl::StatusOr<Format> format = target.Resolve(unit, asked);
    if (!format.ok()) continue;
    const int64_t bytes = SizeBytes(*format, unit.rows, unit.cols);
    const bool wasteful = bytes > rules.stored_bytes && !rules.pinned.has_value();
    if (format->bits < rules.min_bits || wasteful) continue;
    if (const absl::Status status = held.Check(*format); !status.ok()) {
      if (rules.pinned.has_value()) {
        return absl::InvalidArgumentError(
            absl::StrCat("pin: ", status.message(), "; pin it to a wider format"));
      }
      not_held.push_back(*format);
      if (*format != asked) not_held.push_back(asked);
      continue;
    }
    const auto same = std::find_if(ladder.begin(), ladder.end(), [&](const Choice& other) {
      return other.format == *format || SameLayout(other.format, *format, unit.cols);
    });
    Choice& choice = same != ladder.end() ? *same : ladder.emplace_back(Choice{*format, bytes, {}});
    if (*format != asked) choice.instead_of.push_back(asked);
  }
  const std::string needs = not_held.empty() ? "" : held.Describe();
  if (ladder.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "no allowed format is left for ",
        name,
        rules.min_bits > 0 ? absl::StrCat(" with at least ", rules.min_bits, " bits") : "",
        needs.empty() ? "" : absl::StrCat(" (", needs, ")"),
        "; allow more formats"));
  }
  std::sort(ladder.begin(), ladder.end(), [](const Choice& a, const Choice& b) {
    return std::pair(a.bytes, a.format) < std::pair(b.bytes, b.format);
  });
  StandIn(not_held, unit, &ladder);
  if (!not_held.empty()) {
    notes->push_back(absl::StrCat(needs, ", too large for ", FormatNames(not_held)));
  }
  return ladder;
}

}  // namespace

std::vector<Format> DefaultFormats() { return (*FindTarget("native"))->DefaultFormats(); }

absl::StatusOr<std::vector<Format>> ParseFormatList(const std::string& text) {
  std::vector<Format> formats;
  const auto add = [&](const Format& format) {
    if (std::find(formats.begin(), formats.end(), format) == formats.end()) {
      formats.push_back(format);
    }
  };
  for (absl::string_view name : absl::StrSplit(text, ',')) {
    const bool family = absl::ConsumeSuffix(&name, "+s*");
    BB_ASSIGN_OR_RETURN(Format format, ParseFormat(name));
    add(format);
    if (!family) continue;
    for (int permille = 25; permille < 1000; permille += 25) {
      format.sparsity = {SparsityKind::kShare, permille};
      if (!IsSupported(format)) {
        return absl::InvalidArgumentError(
            absl::StrCat(name, "+s*: only float and integer formats have sparse ones"));
      }
      add(format);
    }
    add({FormatKind::kRemoved, 0, 0, false});
  }
  return formats;
}

absl::StatusOr<Constraints::Pin> ParsePin(const std::string& text) {
  BB_ASSIGN_OR_RETURN(const auto rule, SplitRule(text, "REGEX=FORMAT"));
  BB_ASSIGN_OR_RETURN(Regex regex, Regex::Compile(rule.first, RegexDialect::kEcmaScript));
  BB_ASSIGN_OR_RETURN(const Format format, ParseFormat(rule.second));
  return Constraints::Pin{std::move(regex), format, text};
}

absl::StatusOr<Constraints::MinBits> ParseMinBits(const std::string& text) {
  BB_ASSIGN_OR_RETURN(const auto rule, SplitRule(text, "REGEX=N"));
  BB_ASSIGN_OR_RETURN(Regex regex, Regex::Compile(rule.first, RegexDialect::kEcmaScript));
  int bits = 0;
  if (!absl::SimpleAtoi(rule.second, &bits) || bits < 1 || bits > 32) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", text, "': '", rule.second, "' is not a number of bits (1 to 32)"));
  }
  return Constraints::MinBits{std::move(regex), bits, text};
}

absl::Status ApplyPins(const Model& model,
                       std::span<const Constraints::Pin> pins,
                       Assignment* assignment) {
  for (const Constraints::Pin& pin : pins) {
    BB_ASSIGN_OR_RETURN(const std::vector<ComponentId> ids, Matches(model, pin.regex, "pin"));
    for (const ComponentId id : ids) {
      BB_RETURN_IF_ERROR(CheckFits(pin.format, model.component(id)));
      (*assignment)[id] = pin.format;
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<SearchProblem> BuildProblem(const Model& model,
                                           const Constraints& constraints,
                                           const SearchLimit& limit,
                                           std::vector<std::string>* notes) {
  SearchProblem problem;
  problem.components = model.components();
  problem.fixed_bytes = model.fixed_bytes();
  problem.limit = limit;

  const size_t count = model.components().size();
  std::vector<int> min_bits(count, 0);
  for (const Constraints::MinBits& rule : constraints.min_bits) {
    BB_ASSIGN_OR_RETURN(const auto ids, Matches(model, rule.regex, "minimum of bits"));
    for (const ComponentId id : ids) min_bits[id] = std::max(min_bits[id], rule.bits);
  }
  std::vector<std::optional<Format>> pinned(count);
  for (const Constraints::Pin& pin : constraints.pins) {
    BB_ASSIGN_OR_RETURN(const auto ids, Matches(model, pin.regex, "pin"));
    for (const ComponentId id : ids) pinned[id] = pin.format;
  }

  const TargetProfile& target =
      constraints.target != nullptr ? *constraints.target : **FindTarget("native");
  BB_RETURN_IF_ERROR(CheckFormats(target, constraints.formats));
  const std::vector<Format> defaults =
      DefaultFormats(target, constraints.default_bits.value_or(BitsPerWeightOf(limit, model)));
  const std::vector<TargetUnit> units = target.Units(ModelForTargets(model));
  if (units.size() != count) {
    for (const TargetUnit& unit : units) problem.units.push_back(unit.parts);
  }
  for (const TargetUnit& unit : units) {
    UnitRules rules;
    for (const int c : unit.parts) {
      rules.min_bits = std::max(rules.min_bits, min_bits[c]);
      rules.stored_bytes += model.Weight(c).bytes();
    }
    BB_ASSIGN_OR_RETURN(rules.pinned, UnitPin(target, model, unit, pinned));
    rules.stored = model.Weight(unit.parts[0]).format;
    std::vector<Format> allowed = constraints.formats;
    if (allowed.empty()) {
      allowed = defaults;
      allowed.push_back(rules.stored);
    }
    BB_ASSIGN_OR_RETURN(std::vector<Choice> ladder,
                        UnitLadder(target, unit, rules, std::move(allowed), model, notes));
    problem.ladders.push_back(std::move(ladder));
  }
  return problem;
}

}  // namespace bitbudget

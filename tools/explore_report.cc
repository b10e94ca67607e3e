#include "tools/explore_report.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "planner/jobs/footprint.h"
#include "plans/plan_io.h"
#include "plans/targets/gguf.h"
#include "plans/targets/target.h"
#include "plans/text_table.h"
#include "runtime/base/status_macros.h"
#include "tools/command.h"
#include "tools/explore_texts.h"

namespace bitbudget {
namespace {

using Json = nlohmann::ordered_json;

// Of every point alike, whatever a file has beside it.
constexpr char kSizeCounts[] =
    "weights in their formats, norms and biases as the model stores them; no metadata, no "
    "tokenizer";

Json IntervalOf(const Interval& interval) { return {interval.low, interval.high}; }

void AddMeasured(const char* name, const Measured& measured, Json* json) {
  (*json)[name] = measured.value;
  (*json)[absl::StrCat(name, "_ci")] = IntervalOf(measured.interval);
}

// What is measured of a point, each value with its interval.
Json MeasuredJson(const ExplorePoint& point) {
  Json json;
  json.update(TextDivergenceJson(TextDivergenceOf(point.evaluation)));
  if (HasText(point.evaluation)) {
    AddMeasured("text_ppl", MeasuredOf(Statistic::kTextPpl, point.evaluation), &json);
  }
  AddMeasured("fdt_mean", MeasuredOf(Statistic::kFdtMean, point.evaluation), &json);
  AddMeasured("kl_mean", MeasuredOf(Statistic::kKlMean, point.evaluation), &json);
  return json;
}

Json SizedJson(const ExplorePoint& point, const Model& model) {
  Json json = {{"method", point.method},
               {"label", point.label},
               {"budget", point.budget.empty() ? Json(nullptr) : Json(point.budget)},
               {"size_bytes", point.size_bytes},
               {"bits_per_weight", BitsPerWeight(point.size_bytes, model)}};
  json.update(MeasuredJson(point));
  return json;
}

const char* Verdict(const Interval& difference, bool larger_is_better) {
  if (difference.low <= 0 && difference.high >= 0) return "not different";
  return (difference.low > 0) == larger_is_better ? "better" : "worse";
}

// All formats of the points and ladders, by bits.
std::vector<Format> FormatsOf(const ExploreReport& report) {
  std::set<Format> all;
  for (const ExplorePoint& point : report.points) {
    all.insert(point.assignment.begin(), point.assignment.end());
  }
  for (const PlanOutcome& outcome : report.outcomes) {
    for (const std::vector<Choice>& ladder : outcome.problem.ladders) {
      for (const Choice& choice : ladder) all.insert(choice.format);
    }
  }
  std::vector<Format> formats(all.begin(), all.end());
  std::stable_sort(formats.begin(), formats.end(), [](const Format& a, const Format& b) {
    return SizeBits(a, 1024, 1024) < SizeBits(b, 1024, 1024);
  });
  return formats;
}

// Shell words that `plan` and what follows it take for one point.
Json CommandsJson(const ExplorePoint& point,
                  const ExploreOptions& options,
                  const ExploreCommandLine& line) {
  const std::string stem =
      absl::StrCat(std::filesystem::path(line.model).filename().string(), "-", point.budget);
  const std::string plan = internal::ShellQuote(absl::StrCat(stem, ".pb"));
  const std::string model = internal::ShellQuote(line.model);
  Json commands = {
      {{"title", "Write the plan"},
       {"text",
        absl::StrCat("bitbudget plan ",
                     model,
                     " --budget ",
                     internal::ShellQuote(point.budget),
                     line.options,
                     line.run_dir.empty() ? "" : " --run-dir " + internal::ShellQuote(line.run_dir),
                     " --out ",
                     plan)}}};
  const TargetProfile* const target = options.plan.constraints.target;
  const bool gguf = target != nullptr && target->WritesGguf();
  commands.push_back({{"title", gguf ? "Write the GGUF file" : "Write a Hugging Face folder"},
                      {"text",
                       absl::StrCat("bitbudget apply ",
                                    model,
                                    " --plan ",
                                    plan,
                                    " --out ",
                                    internal::ShellQuote(gguf ? stem + ".gguf" : stem))}});
  if (target != nullptr && target->name() != "native") {
    commands.push_back(
        {{"title", absl::StrCat("Export for ", target->name())},
         {"text",
          absl::StrCat("bitbudget export ",
                       plan,
                       " --to ",
                       target->name(),
                       " --out ",
                       internal::ShellQuote(stem + "." + std::string(target->name())))}});
  }
  return commands;
}

class Document {
 public:
  Document(const ExploreReport& report,
           const ExploreOptions& options,
           const ExploreCommandLine& line,
           const Model& model)
      : report_(report),
        options_(options),
        line_(line),
        model_(model),
        formats_(FormatsOf(report)) {
    for (size_t i = 0; i < formats_.size(); ++i) index_[formats_[i]] = static_cast<int>(i);
  }

  absl::StatusOr<Json> Make() const {
    Json json;
    json["tool"] = {{"name", "bitbudget"}, {"version", BITBUDGET_VERSION}};
    json["model"] = {{"name", std::filesystem::path(model_.path()).filename().string()},
                     {"architecture", model_.config().architecture_name},
                     {"weights", model_.parameter_count()},
                     {"stored_bytes", model_.stored_bytes()},
                     {"layers", model_.config().num_hidden_layers}};
    const TargetProfile* const target = options_.plan.constraints.target;
    json["target"] = target != nullptr ? std::string(target->name()) : "";
    json["method"] = options_.plan.search;
    BB_ASSIGN_OR_RETURN(json["memory"], Memory());
    json["measured"] = HowMeasured();
    if (!report_.outcomes.empty()) {
      const plans::HeldOut& held_out = report_.outcomes[0].plan.held_out();
      json["noise_floor"] = {{"text_kl", nullptr},
                             {"text_top1", nullptr},
                             {"fdt_mean", held_out.noise_floor().fdt_mean()},
                             {"kl_mean", held_out.noise_floor().kl_mean()}};
      json["reference"] = {{"text_ppl", nullptr}};
      if (held_out.has_text()) json["reference"]["text_ppl"] = held_out.text().reference();
    }
    json["formats"] = Json::array();
    for (const Format& format : formats_) {
      json["formats"].push_back(
          {{"name", format.Name()},
           {"bits", static_cast<double>(SizeBits(format, 1024, 1024)) / (1024.0 * 1024.0)}});
    }
    AddComponents(&json);
    json["points"] = Json::array();
    for (size_t i = 0; i < report_.points.size(); ++i) {
      BB_ASSIGN_OR_RETURN(Json point, PointJson(i));
      json["points"].push_back(std::move(point));
    }
    json["knee"] = nullptr;
    if (report_.knee.has_value()) json["knee"] = *report_.knee;
    json["goal"] = nullptr;
    json["comparisons"] = Json::array();
    for (const ExploreComparison& compared : report_.comparisons) {
      json["comparisons"].push_back({{"a", compared.a},
                                     {"b", compared.b},
                                     {"text_kl_difference_ci", IntervalOf(compared.text_kl)},
                                     {"fdt_difference_ci", IntervalOf(compared.fdt)},
                                     {"text_kl_verdict", Verdict(compared.text_kl, false)},
                                     {"fdt_verdict", Verdict(compared.fdt, true)}});
    }
    json["continuations"] = ExploreTexts(report_, model_);
    return json;
  }

 private:
  absl::StatusOr<Json> Memory() const {
    const BudgetScope& scope = options_.plan.budget_scope;
    if (!scope.context.has_value()) return Json(nullptr);
    const RunSettings run{*scope.context, scope.kv};
    BB_ASSIGN_OR_RETURN(const int64_t kv, KvBytes(model_.config(), run));
    BB_ASSIGN_OR_RETURN(const int64_t file, GgufOverheadBytes(model_));
    return Json{{"context", run.context},
                {"kv_type", run.kv},
                {"overhead_bytes", kv + file + ComputeBytes(model_.config(), run)}};
  }

  Json HowMeasured() const {
    const PlanOptions& plan = options_.plan;
    Json json = {{"search_probes", plan.search_probes},
                 {"held_out_probes", plan.held_out_probes},
                 {"prefix_tokens", plan.workspace.probes.prefix_tokens},
                 {"completion_tokens", plan.workspace.probes.completion_tokens},
                 {"probe_source", ProbeSourceName(plan.workspace.probes.source)},
                 {"probe_fingerprint", ""},
                 {"seed", plan.workspace.probes.seed},
                 {"encoder", plan.workspace.encoder},
                 {"activations", ActivationsName(plan.workspace.activations)},
                 {"text_positions", 0},
                 {"size_counts", kSizeCounts},
                 {"command", line_.command}};
    if (report_.outcomes.empty()) return json;
    const plans::Options& recorded = report_.outcomes[0].plan.options();
    json["search_probes"] = recorded.search_probes();
    json["held_out_probes"] = recorded.held_out_probes();
    json["prefix_tokens"] = recorded.prefix_tokens();
    json["completion_tokens"] = recorded.completion_tokens();
    json["probe_fingerprint"] = recorded.probe_fingerprint();
    int64_t positions = 0;
    for (const ProbeResult& probe : report_.points[0].evaluation) positions += probe.text.tokens;
    json["text_positions"] = positions;
    return json;
  }

  // What every component costs in every format that any ladder has for it, and its sizes there.
  void AddComponents(Json* json) const {
    (*json)["components"] = Json::array();
    (*json)["costs"] = Json::array();
    (*json)["sizes"] = Json::array();
    const std::vector<Component>& components = model_.components();
    for (size_t c = 0; c < components.size(); ++c) {
      const Component& component = components[c];
      (*json)["components"].push_back({{"name", component.name},
                                       {"kind", ComponentKindName(component.kind)},
                                       {"layer", component.layer},
                                       {"rows", component.rows},
                                       {"cols", component.cols}});
      Json costs(formats_.size(), nullptr);
      Json sizes(formats_.size(), nullptr);
      for (size_t i = 0; i < formats_.size(); ++i) {
        if (!Fits(formats_[i], component.cols)) continue;
        sizes[i] = SizeBytes(formats_[i], component.rows, component.cols);
      }
      for (const PlanOutcome& outcome : report_.outcomes) {
        if (outcome.costs.empty()) continue;
        const auto& ladder = outcome.problem.ladders[outcome.problem.UnitOf(static_cast<int>(c))];
        for (size_t i = 0; i < ladder.size(); ++i) {
          costs[index_.at(ladder[i].format)] = outcome.costs[c][i];
        }
      }
      (*json)["costs"].push_back(std::move(costs));
      (*json)["sizes"].push_back(std::move(sizes));
    }
  }

  absl::StatusOr<Json> PointJson(size_t i) const {
    const ExplorePoint& point = report_.points[i];
    Json json = {{"id", i}};
    json.update(SizedJson(point, model_));
    json["assignment"] = Json::array();
    for (const Format& format : point.assignment) {
      json["assignment"].push_back(index_.at(format));
    }
    json["commands"] = Json::array();
    json["plan"] = nullptr;
    json["plan_json"] = nullptr;
    if (!point.outcome.has_value()) return json;
    const PlanOutcome& outcome = report_.outcomes[*point.outcome];
    json["commands"] = CommandsJson(point, options_, line_);
    json["plan"] = absl::StrCat(
        std::filesystem::path(model_.path()).filename().string(), "-", point.budget, ".json");
    BB_ASSIGN_OR_RETURN(const std::string text, PlanToJson(outcome.plan));
    json["plan_json"] = Json::parse(text);
    json["evidence"] = Json::array();
    for (int c = 0; c < outcome.plan.components_size(); ++c) {
      for (const plans::FormatEvidence& evidence : outcome.plan.components(c).evidence()) {
        const absl::StatusOr<Format> format = ParseFormat(evidence.format());
        if (!format.ok() || !index_.contains(*format)) continue;
        json["evidence"].push_back({c, index_.at(*format), evidence.kl_mean()});
      }
    }
    return json;
  }

  const ExploreReport& report_;
  const ExploreOptions& options_;
  const ExploreCommandLine& line_;
  const Model& model_;
  const std::vector<Format> formats_;
  std::map<Format, int> index_;
};

}  // namespace

nlohmann::ordered_json ExploreCurveJson(const ExploreReport& report, const Model& model) {
  Json json = {{"points", Json::array()}, {"knee", nullptr}, {"size_counts", kSizeCounts}};
  for (size_t i = 0; i < report.points.size(); ++i) {
    const ExplorePoint& point = report.points[i];
    Json entry = SizedJson(point, model);
    entry["plan"] = Json::array();
    for (const Format& format : point.assignment) entry["plan"].push_back(format.Name());
    json["points"].push_back(std::move(entry));
  }
  if (report.knee.has_value()) json["knee"] = *report.knee;
  return json;
}

absl::StatusOr<nlohmann::ordered_json> ExploreDocument(const ExploreReport& report,
                                                       const ExploreOptions& options,
                                                       const ExploreCommandLine& command_line,
                                                       const Model& model) {
  return Document(report, options, command_line, model).Make();
}

std::string ExploreTable(const ExploreReport& report, const Model& model, int width) {
  using Align = TextTable::Align;
  // Method and label name a point, so they are one column, which every part of the table repeats.
  size_t method = 6, label = 6;
  for (const ExplorePoint& point : report.points) {
    method = std::max(method, point.method.size());
    label = std::max(label, point.label.size());
  }
  const auto named = [&](absl::string_view first, absl::string_view second) {
    return absl::StrFormat("%-*s  %-*s", method, first, label, second);
  };
  TextTable table({Align::kLeft,
                   Align::kRight,
                   Align::kRight,
                   Align::kRight,
                   Align::kLeft,
                   Align::kRight,
                   Align::kLeft,
                   Align::kRight,
                   Align::kLeft});
  table.AddRow({named("method", "budget"),
                "bytes",
                "bits",
                "text KL",
                "[95 %], nats",
                "FDT",
                "[95 %], tokens",
                "same top token, %"});
  for (size_t i = 0; i < report.points.size(); ++i) {
    const ExplorePoint& point = report.points[i];
    const std::optional<TextDivergence> along = TextDivergenceOf(point.evaluation);
    const Measured fdt = MeasuredOf(Statistic::kFdtMean, point.evaluation);
    std::vector<std::string> row = {
        named(point.method, point.label),
        absl::StrCat(point.size_bytes),
        absl::StrFormat("%.3f", BitsPerWeight(point.size_bytes, model)),
        along.has_value() ? absl::StrFormat("%.5f", along->kl.value) : "-",
        along.has_value()
            ? absl::StrFormat("[%.5f, %.5f]", along->kl.interval.low, along->kl.interval.high)
            : "",
        absl::StrFormat("%.1f", fdt.value),
        absl::StrFormat("[%.1f, %.1f]", fdt.interval.low, fdt.interval.high),
        along.has_value() ? absl::StrFormat("%.2f", 100 * along->top1.value) : "-"};
    if (report.knee == i) row.push_back("<- knee");
    table.AddRow(std::move(row));
  }
  return table.ToString(/*indent=*/0, width, /*together=*/2);
}

}  // namespace bitbudget

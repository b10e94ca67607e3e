#include "tools/plan_json.h"

#include <optional>

#include "planner/jobs/plan_record.h"
#include "plans/validate.h"
#include "tools/command.h"

namespace bitbudget {
namespace {

// The fields of `eval --json` that differ between assignments.
nlohmann::ordered_json SizedMetricsJson(const plans::Plan& plan,
                                        int64_t size_bytes,
                                        const plans::Metrics& metrics) {
  nlohmann::ordered_json json = {{"size_bytes", size_bytes},
                                 {"bits_per_weight",
                                  8.0 * static_cast<double>(size_bytes) /
                                      static_cast<double>(plan.model().parameter_count())}};
  json.update(MetricsJson(FromProto(metrics)));
  return json;
}

// `text`, where the plan has it.
std::optional<TextDivergence> DivergenceOf(bool has, const plans::TextDivergence& text) {
  return has ? std::optional(FromProto(text)) : std::nullopt;
}

// The perplexities of `candidate` and the reference, where the plan has any.
std::optional<TextPerplexity> PerplexityOf(const plans::HeldOut& held_out,
                                           const Measured& candidate) {
  if (!held_out.has_text()) return std::nullopt;
  TextPerplexity text;
  text.reference = {held_out.text().reference(), FromProto(held_out.text().reference_interval())};
  text.candidate = candidate;
  return text;
}

nlohmann::ordered_json GoalJson(const plans::Goal& goal) {
  const auto ci = [](const plans::Interval& interval) {
    return nlohmann::ordered_json{interval.low(), interval.high()};
  };
  nlohmann::ordered_json json = {{"requested", goal.requested()},
                                 {"bound", goal.bound()},
                                 {"value", goal.value()},
                                 {"ci", ci(goal.interval())},
                                 {"margin", goal.margin()},
                                 {"trials", nlohmann::ordered_json::array()}};
  for (const plans::GoalTrial& trial : goal.trials()) {
    json["trials"].push_back({{"size_bytes", trial.size_bytes()},
                              {"value", trial.value()},
                              {"ci", ci(trial.interval())},
                              {"met", trial.met()}});
  }
  return json;
}

}  // namespace

nlohmann::ordered_json PlanJson(const plans::Plan& plan,
                                const std::optional<MemoryPlan>& memory,
                                std::optional<double> seconds) {
  nlohmann::ordered_json json;
  json["size_bytes"] = PlanSizeBytes(plan);
  json["bits_per_weight"] = PlanBitsPerWeight(plan);
  json["budget_bytes"] = plan.budget().bytes();
  if (const plans::Budget& budget = plan.budget(); !budget.counts().empty()) {
    json["budget"] = {{"for", budget.counts()},
                      {"total", budget.total_bytes()},
                      {"weights", budget.bytes()},
                      {"file_overhead", budget.file_overhead_bytes()},
                      {"kv_cache", budget.kv_cache_bytes()},
                      {"compute", budget.compute_bytes()}};
  }
  if (plan.has_goal()) json["goal"] = GoalJson(plan.goal());
  json["complete"] = plan.complete();
  json["search"] = {{"candidates", plan.search().candidates()},
                    {"rounds", plan.search().rounds()},
                    {"computed", plan.search().computed()},
                    {"naive", plan.search().naive()}};
  if (seconds.has_value()) json["search"]["seconds"] = *seconds;
  if (memory.has_value()) json["memory"] = MemoryJson(*memory);
  if (!plan.has_held_out()) return json;
  const plans::HeldOut& held_out = plan.held_out();
  // What was emitted comes first; a search result that lost to uniform is shown beside it.
  json["held_out"] = SizedMetricsJson(
      plan, PlanSizeBytes(plan), held_out.uniform_emitted() ? held_out.uniform() : held_out.plan());
  const auto found_text = DivergenceOf(held_out.has_plan_text(), held_out.plan_text());
  const auto uniform_text = DivergenceOf(held_out.has_uniform_text(), held_out.uniform_text());
  json["held_out"].update(
      TextDivergenceJson(held_out.uniform_emitted() ? uniform_text : found_text));
  if (held_out.uniform_emitted()) {
    json["rejected"] = MetricsJson(FromProto(held_out.plan()));
    json["rejected"].update(TextDivergenceJson(found_text));
  }
  const plans::TextPerplexity& text = held_out.text();
  json["held_out"].update(
      PerplexityJson(PerplexityOf(held_out, {text.plan(), FromProto(text.plan_interval())})));
  json["held_out"]["noise_floor"] = MetricsJson(FromProto(held_out.noise_floor()));
  json["held_out"]["completion_tokens"] = plan.options().completion_tokens();
  json["held_out"]["probes"] = plan.options().held_out_probes();
  if (!held_out.uniform_format().empty()) {
    nlohmann::ordered_json& uniform = json["uniform"] = {{"format", held_out.uniform_format()}};
    uniform.update(SizedMetricsJson(plan, held_out.uniform_size_bytes(), held_out.uniform()));
    uniform.update(TextDivergenceJson(uniform_text));
    uniform.update(PerplexityJson(
        PerplexityOf(held_out, {text.uniform(), FromProto(text.uniform_interval())})));
    json["fdt_difference_ci"] = {held_out.fdt_difference().low(), held_out.fdt_difference().high()};
    json["kl_difference_ci"] = {held_out.kl_difference().low(), held_out.kl_difference().high()};
    json["text_kl_difference_ci"] = nullptr;
    if (held_out.has_text_kl_difference()) {
      json["text_kl_difference_ci"] = {held_out.text_kl_difference().low(),
                                       held_out.text_kl_difference().high()};
    }
  }
  json["uniform_emitted"] = held_out.uniform_emitted();
  return json;
}

}  // namespace bitbudget

#include "tools/eval_report.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "plans/text_table.h"
#include "runtime/eval/metrics.h"
#include "tools/command.h"

namespace bitbudget {
namespace {

using Align = TextTable::Align;

// The fields of ReportJson that are known without a whole evaluation.
nlohmann::ordered_json FdtJson(const EvaluateReport& report) {
  nlohmann::ordered_json metrics = MetricsJson(report.metrics);
  nlohmann::ordered_json json = {{"size_bytes", report.size_bytes},
                                 {"bits_per_weight", report.bits_per_weight}};
  for (const char* name : {"fdt_mean", "fdt_ci", "fdt_75", "fdt_75_ci"}) json[name] = metrics[name];
  json["memory"] = MemoryJson(report.memory);
  json["completion_tokens"] = report.completion_tokens;
  json["per_probe"] = nlohmann::ordered_json::array();
  for (size_t i = 0; i < report.probes.size(); ++i) {
    const Probe& probe = report.probes[i];
    json["per_probe"].push_back(
        {{"prompt_tokens",
          std::vector<int32_t>(probe.tokens.begin(), probe.tokens.begin() + probe.prompt)},
         {"fdt", report.evaluation[i].fdt},
         {"tokens", report.evaluation[i].tokens}});
  }
  return json;
}

nlohmann::ordered_json ReportJson(const EvaluateReport& report) {
  nlohmann::ordered_json json = {{"size_bytes", report.size_bytes},
                                 {"bits_per_weight", report.bits_per_weight}};
  json.update(MetricsJson(report.metrics));
  json.update(TextDivergenceJson(report.text_divergence));
  json.update(PerplexityJson(report.text));
  json["noise_floor"] = MetricsJson(report.noise_floor);
  json["memory"] = MemoryJson(report.memory);
  json["completion_tokens"] = report.completion_tokens;
  json["per_probe"] = nlohmann::ordered_json::array();
  for (size_t i = 0; i < report.probes.size(); ++i) {
    const Probe& probe = report.probes[i];
    const ProbeResult& result = report.evaluation[i];
    json["per_probe"].push_back(
        {{"prompt_tokens",
          std::vector<int32_t>(probe.tokens.begin(), probe.tokens.begin() + probe.prompt)},
         {"completion",
          std::vector<int32_t>(probe.tokens.begin() + probe.prompt, probe.tokens.end())},
         {"fdt", result.fdt},
         {"sdt", result.sdt},
         {"tokens", result.tokens},
         {"nll", result.nll_sum},
         {"kl", result.kl_sum},
         {"text",
          {{"tokens", result.text.tokens},
           {"misses", result.text.misses},
           {"nll", result.text.nll_sum},
           {"kl", result.text.kl_sum}}}});
  }
  return json;
}

std::string HeadLine(const EvaluateReport& report) {
  return absl::StrFormat(
      "size %d bytes, %.4f bits per weight; %d held-out probes, up to %d tokens each\n",
      report.size_bytes,
      report.bits_per_weight,
      report.probes.size(),
      report.completion_tokens);
}

// A row of the table of metrics; `floor`: null where there is none.
std::vector<std::string> Row(const char* name,
                             const Measured& measured,
                             const Measured* floor,
                             const char* unit) {
  return {name,
          absl::StrFormat("%.5g", measured.value),
          absl::StrFormat("[%.5g, %.5g]", measured.interval.low, measured.interval.high),
          floor != nullptr ? absl::StrFormat("%.3g", floor->value) : "",
          unit};
}

Measured Percent(const Measured& share) {
  return {100 * share.value, {100 * share.interval.low, 100 * share.interval.high}};
}

void PrintFdt(const EvaluateReport& report) {
  TextTable table({Align::kLeft, Align::kRight, Align::kLeft, Align::kRight, Align::kLeft});
  table.AddRow({"", "", "95 % interval", "", "unit"});
  table.AddRow(Row("FDT mean", report.metrics.fdt_mean, nullptr, "tokens"));
  table.AddRow(Row("FDT 75th percentile", report.metrics.fdt_75, nullptr, "tokens"));
  PrintFitting(HeadLine(report) + table.ToString(/*indent=*/2, OutputWidth(), /*together=*/2));
}

void PrintReport(const EvaluateReport& report) {
  const Metrics& metrics = report.metrics;
  const Metrics& floor = report.noise_floor;
  TextTable table({Align::kLeft, Align::kRight, Align::kLeft, Align::kRight, Align::kLeft});
  table.AddRow({"", "", "95 % interval", "noise floor", "unit"});
  table.AddRow(Row("FDT mean", metrics.fdt_mean, &floor.fdt_mean, "tokens"));
  table.AddRow(Row("FDT 75th percentile", metrics.fdt_75, &floor.fdt_75, "tokens"));
  table.AddRow(Row("SDT mean", metrics.sdt_mean, &floor.sdt_mean, "tokens"));
  table.AddRow(Row("divergent perplexity", metrics.dppl, &floor.dppl, ""));
  table.AddRow(Row("KL mean", metrics.kl_mean, &floor.kl_mean, "nats/token"));
  table.AddRow(Row("top-1 agreement", Percent(metrics.top1), nullptr, "%"));
  if (report.text_divergence.has_value()) {
    const TextDivergence& text = *report.text_divergence;
    table.AddRow(Row("text KL", text.kl, nullptr, "nats/token"));
    if (text.kl_999.has_value()) {
      table.AddRow(Row("text KL 99.9 %", *text.kl_999, nullptr, "nats"));
    }
    table.AddRow(Row("text top-1 agreement", Percent(text.top1), nullptr, "%"));
  }
  if (report.text.has_value()) {
    table.AddRow(Row("text perplexity", report.text->candidate, nullptr, ""));
    table.AddRow(Row("  of the reference", report.text->reference, nullptr, ""));
  }
  std::string text = HeadLine(report) + table.ToString(/*indent=*/2, OutputWidth(), /*together=*/2);
  if (report.text_divergence.has_value()) {
    text += "  text: along the prompts, all tokens from the 17th on\n";
  }
  PrintFitting(text);
}

// A statistic of two evaluations of the same probes.
struct Pair {
  const char* name;
  const char* field;  // of the JSON
  Statistic statistic;
  const char* unit;
};

constexpr Pair kPairs[] = {
    {"FDT mean", "fdt_difference_ci", Statistic::kFdtMean, "tokens"},
    {"KL mean", "kl_difference_ci", Statistic::kKlMean, "nats/token"},
    {"text KL", "text_kl_difference_ci", Statistic::kTextKl, "nats/token"},
};

bool HasStatistic(const Pair& pair, const EvaluateReport& report) {
  return pair.statistic != Statistic::kTextKl || report.text_divergence.has_value();
}

}  // namespace

nlohmann::ordered_json EvalJson(const EvaluateReport& report, bool fdt_only) {
  return fdt_only ? FdtJson(report) : ReportJson(report);
}

void PrintEval(const EvaluateReport& report, bool fdt_only) {
  fdt_only ? PrintFdt(report) : PrintReport(report);
}

bool SameProbes(const EvaluateReport& a, const EvaluateReport& b) {
  if (a.probes.size() != b.probes.size()) return false;
  for (size_t i = 0; i < a.probes.size(); ++i) {
    if (a.probes[i].tokens != b.probes[i].tokens) return false;
  }
  return true;
}

nlohmann::ordered_json DifferencesJson(const EvaluateReport& a, const EvaluateReport& b) {
  nlohmann::ordered_json json;
  for (const Pair& pair : kPairs) {
    json[pair.field] = nullptr;
    if (!HasStatistic(pair, a)) continue;
    const Interval interval = PairedInterval(pair.statistic, a.evaluation, b.evaluation);
    json[pair.field] = {interval.low, interval.high};
  }
  return json;
}

void PrintDifferences(const EvaluateReport& a,
                      const std::string& a_name,
                      const EvaluateReport& b,
                      const std::string& b_name) {
  TextTable table({Align::kLeft});
  for (const Pair& pair : kPairs) {
    if (!HasStatistic(pair, a)) continue;
    const Interval interval = PairedInterval(pair.statistic, a.evaluation, b.evaluation);
    const bool within = interval.low <= 0 && interval.high >= 0;
    const bool better = (interval.low > 0) == LargerIsBetter(pair.statistic);
    table.AddRow({pair.name,
                  absl::StrFormat("[%+.5g, %+.5g]", interval.low, interval.high),
                  within   ? "no significant difference"
                  : better ? "better"
                           : "worse",
                  pair.unit});
  }
  PrintFitting(absl::StrCat(a_name,
                            " minus ",
                            b_name,
                            ", paired over probes, 95 % intervals:\n",
                            table.ToString(/*indent=*/2, OutputWidth())));
}

}  // namespace bitbudget

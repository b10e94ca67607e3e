#include "tools/eval_report.h"

#include <cstdio>
#include <vector>

#include "runtime/eval/metrics.h"
#include "tools/command.h"

namespace bitbudget {
namespace {

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

void PrintRow(const char* name, const Measured& measured, const Measured& floor, const char* unit) {
  std::printf("  %-22s %10.5g   [%.5g, %.5g]   noise floor %.3g %s\n",
              name,
              measured.value,
              measured.interval.low,
              measured.interval.high,
              floor.value,
              unit);
}

void PrintFdt(const EvaluateReport& report) {
  std::printf(
      "size %lld bytes, %.4f bits per weight; %zu held-out probes, up to %lld tokens each\n"
      "  FDT mean %.5g [%.5g, %.5g], 75th percentile %.5g [%.5g, %.5g] tokens\n",
      static_cast<long long>(report.size_bytes),
      report.bits_per_weight,
      report.probes.size(),
      static_cast<long long>(report.completion_tokens),
      report.metrics.fdt_mean.value,
      report.metrics.fdt_mean.interval.low,
      report.metrics.fdt_mean.interval.high,
      report.metrics.fdt_75.value,
      report.metrics.fdt_75.interval.low,
      report.metrics.fdt_75.interval.high);
}

void PrintReport(const EvaluateReport& report) {
  const Metrics& metrics = report.metrics;
  const Metrics& floor = report.noise_floor;
  std::printf(
      "size %lld bytes, %.4f bits per weight; %zu held-out probes, up to %lld tokens each\n",
      static_cast<long long>(report.size_bytes),
      report.bits_per_weight,
      report.probes.size(),
      static_cast<long long>(report.completion_tokens));
  PrintRow("FDT mean", metrics.fdt_mean, floor.fdt_mean, "tokens");
  PrintRow("FDT 75th percentile", metrics.fdt_75, floor.fdt_75, "tokens");
  PrintRow("SDT mean", metrics.sdt_mean, floor.sdt_mean, "tokens");
  PrintRow("divergent perplexity", metrics.dppl, floor.dppl, "");
  PrintRow("KL mean", metrics.kl_mean, floor.kl_mean, "nats/token");
  std::printf("  %-22s %10.5g   [%.5g, %.5g]   %%\n",
              "top-1 agreement",
              100 * metrics.top1.value,
              100 * metrics.top1.interval.low,
              100 * metrics.top1.interval.high);
  if (report.text_divergence.has_value()) {
    const Measured& kl = report.text_divergence->kl;
    const Measured& top1 = report.text_divergence->top1;
    std::printf("  %-22s %10.5g   [%.5g, %.5g]   nats/token, along the prompts\n",
                "text KL",
                kl.value,
                kl.interval.low,
                kl.interval.high);
    if (report.text_divergence->kl_999.has_value()) {
      const Measured& tail = *report.text_divergence->kl_999;
      std::printf("  %-22s %10.5g   [%.5g, %.5g]   nats, of all tokens of the prompts\n",
                  "text KL 99.9 %",
                  tail.value,
                  tail.interval.low,
                  tail.interval.high);
    }
    std::printf("  %-22s %10.5g   [%.5g, %.5g]   %%\n",
                "text top-1 agreement",
                100 * top1.value,
                100 * top1.interval.low,
                100 * top1.interval.high);
  }
  if (report.text.has_value()) {
    std::printf("  %-22s %10.5g   [%.5g, %.5g]   reference %.5g\n",
                "text perplexity",
                report.text->candidate.value,
                report.text->candidate.interval.low,
                report.text->candidate.interval.high,
                report.text->reference.value);
  }
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
    {"text KL", "text_kl_difference_ci", Statistic::kTextKl, "nats/token, along the prompts"},
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
  std::printf("%s minus %s, paired over probes:\n", a_name.c_str(), b_name.c_str());
  for (const Pair& pair : kPairs) {
    if (!HasStatistic(pair, a)) continue;
    const Interval interval = PairedInterval(pair.statistic, a.evaluation, b.evaluation);
    const bool within = interval.low <= 0 && interval.high >= 0;
    const bool better = (interval.low > 0) == LargerIsBetter(pair.statistic);
    std::printf("  %-22s [%+.5g, %+.5g] %s: %s\n",
                pair.name,
                interval.low,
                interval.high,
                pair.unit,
                within   ? "no significant difference"
                : better ? "better"
                         : "worse");
  }
}

}  // namespace bitbudget

// Fits a model into a number of bytes and writes it for llama.cpp:
//   example_fit MODEL BUDGET OUT.gguf [TEXT]
//
// As `bitbudget fit`, with the progress on one line of its own.

#include <bitbudget/bitbudget.h>

#include <cstdio>
#include <exception>

namespace api = bitbudget::api;

namespace {

bool ShowProgress(const api::ProgressReport& report) {
  std::fprintf(stderr, "\r%3.0f %% %-40.40s", 100 * report.share.value_or(0), report.phase.c_str());
  return true;  // false would stop the call
}

void Fit(const char* path, const char* budget, const char* out, const char* text) {
  const api::Model model = api::Model::Load(path);
  api::Options options = {
      {"budget", budget}, {"target", "llama.cpp"}, {"probes", "16"}, {"held-out-probes", "32"}};
  if (text != nullptr) options.push_back({"text", text});
  const api::Plan plan = api::FindPlan(model, options, ShowProgress);
  const int64_t bytes = api::Apply(model, plan, out, {}, ShowProgress);
  std::fprintf(stderr, "\n");
  std::printf("%s\n%s: %lld bytes, %.2f bits per weight\n",
              plan.verdict().c_str(),
              out,
              static_cast<long long>(bytes),
              plan.bits_per_weight());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4 && argc != 5) {
    std::fprintf(stderr, "usage: %s MODEL BUDGET OUT.gguf [TEXT]\n", argv[0]);
    return 2;
  }
  try {
    Fit(argv[1], argv[2], argv[3], argc == 5 ? argv[4] : nullptr);
  } catch (const api::InfeasibleError& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 4;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}

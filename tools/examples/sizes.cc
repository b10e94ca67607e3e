// What one text costs at uniform formats, and which layers a plan of 4.5 bits per weight spares:
//   example_sizes MODEL TEXT
//
// Plans are searched for and measured on different windows of the text, as everywhere in bitbudget.

#include <bitbudget/bitbudget.h>

#include <cstdio>
#include <exception>
#include <map>
#include <string>

namespace api = bitbudget::api;

namespace {

constexpr char kFewProbes[] = "16";  // more for results that you rely on

void Print(const std::string& name, const api::Evaluation& evaluation) {
  if (!evaluation.text_kl.has_value()) return;  // prompts are too short
  std::printf("%-10s %6.3f bits per weight, KL %.4f [%.4f, %.4f]\n",
              name.c_str(),
              evaluation.bits_per_weight,
              evaluation.text_kl->value,
              evaluation.text_kl->low,
              evaluation.text_kl->high);
}

void Compare(const char* path, const char* text) {
  const api::Model model = api::Model::Load(path);
  const api::Options probes = {{"text", text}, {"probes", kFewProbes}};
  for (const char* format : {"int8", "int4-g64"}) {
    api::Options options = probes;
    options.push_back({"uniform", format});
    Print(format, api::Evaluate(model, options));
  }
  api::Options options = probes;
  options.push_back({"budget", "4.5bpw"});
  options.push_back({"held-out-probes", kFewProbes});
  const api::Plan plan = api::FindPlan(model, options);
  Print("plan", api::Evaluate(model, plan, probes));

  std::map<std::string, int> counts;
  for (const api::Component& component : plan.components()) ++counts[component.format];
  for (const auto& [format, count] : counts) std::printf("%4d x %s\n", count, format.c_str());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: %s MODEL TEXT\n", argv[0]);
    return 2;
  }
  try {
    Compare(argv[1], argv[2]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}

#include "runtime/model/decoder/activations.h"

#include <glog/logging.h>

#include <iterator>
#include <vector>

#include "absl/strings/str_cat.h"
#include "runtime/base/known_names.h"

namespace bitbudget {
namespace {

struct NamedActivations {
  Activations activations;
  const char* name;
};
constexpr NamedActivations kNamed[] = {{Activations::kInt16, "int16"},
                                       {Activations::kInt8, "int8"},
                                       {Activations::kToken8, "token8"},
                                       {Activations::kToken4, "token4"},
                                       {Activations::kF32, "f32"},
                                       {Activations::kLlamaCpp, "llama.cpp"}};

}  // namespace

absl::StatusOr<Activations> ParseActivations(absl::string_view name) {
  for (const NamedActivations& known : kNamed) {
    if (name == known.name) return known.activations;
  }
  std::vector<absl::string_view> names;
  for (const NamedActivations& known : kNamed) names.push_back(known.name);
  return UnknownName("activations", name, names);
}

const char* ActivationsName(Activations activations) {
  for (const NamedActivations& known : kNamed) {
    if (activations == known.activations) return known.name;
  }
  LOG(FATAL) << "activations " << static_cast<int>(activations);
}

int TokenBits(Activations activations) {
  if (activations == Activations::kToken8) return 8;
  return activations == Activations::kToken4 ? 4 : 0;
}

std::string ActivationsNames() {
  std::string names;
  for (const NamedActivations& known : kNamed) {
    const bool last = &known + 1 == std::end(kNamed);
    absl::StrAppend(&names, names.empty() ? "" : last ? " or " : ", ", known.name);
  }
  return names;
}

}  // namespace bitbudget

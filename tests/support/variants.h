#ifndef BITBUDGET_TESTS_SUPPORT_VARIANTS_H_
#define BITBUDGET_TESTS_SUPPORT_VARIANTS_H_

#include <cstdint>
#include <functional>
#include <ostream>
#include <string>
#include <vector>

#include "tests/support/tiny_model.h"

namespace bitbudget {

// A tiny model by name, as a parameter of tests.
struct Variant {
  std::string name;
  TinyModelOptions options;
};

inline void PrintTo(const Variant& variant, std::ostream* out) { *out << variant.name; }

// Adds the default model, changed, with a seed of its own.
inline void AddVariant(const char* name,
                       uint64_t first_seed,
                       const std::function<void(TinyModelOptions&)>& change,
                       std::vector<Variant>* variants) {
  TinyModelOptions options;
  options.seed = first_seed + variants->size();
  change(options);
  variants->push_back({name, options});
}

}  // namespace bitbudget

#endif  // BITBUDGET_TESTS_SUPPORT_VARIANTS_H_

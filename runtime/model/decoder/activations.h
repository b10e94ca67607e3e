#ifndef BITBUDGET_RUNTIME_MODEL_DECODER_ACTIVATIONS_H_
#define BITBUDGET_RUNTIME_MODEL_DECODER_ACTIVATIONS_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace bitbudget {

// How the activations of matrix products with integer formats are rounded. Float formats have f32
// activations, but for kLlamaCpp.
enum class Activations : uint8_t {
  kInt16,   // to int16 per row: what validation uses
  kInt8,    // to int8 per row and group of the weights, as W4A8 and W8A8 runtimes do
  kToken8,  // with queries, keys and values, to 8 or 4 bits per token (and head), asymmetric, as in
  kToken4,  // OmniQuant's W8A8, W4A8 and W4A4 (arXiv 2308.13137); then as kInt16
  kF32,     // not at all: decoded weights
  // As llama.cpp's products on a CPU round them ahead of weights in this format (InputRounding),
  // float formats included; formats that it does not have run as kInt16.
  kLlamaCpp,
};

// By name: "int16", "int8", "token8", "token4", "f32", "llama.cpp".
absl::StatusOr<Activations> ParseActivations(absl::string_view name);
const char* ActivationsName(Activations activations);
// Bits that activations are rounded to per token first; 0: they are not.
int TokenBits(Activations activations);
// "int16, int8, token8, token4, f32 or llama.cpp"
std::string ActivationsNames();

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_MODEL_DECODER_ACTIVATIONS_H_

#ifndef BITBUDGET_RUNTIME_QUANTIZE_INPUT_SOURCES_H_
#define BITBUDGET_RUNTIME_QUANTIZE_INPUT_SOURCES_H_

#include <vector>

#include "runtime/model/decoder/model.h"

namespace bitbudget {

// For every component the one whose inputs it shares, as TransformerWorkspace::observe_input names
// them: itself, or q for k and v, or gate for up. -1: it is not multiplied (an untied embedding).
std::vector<ComponentId> InputSources(const Model& model);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_QUANTIZE_INPUT_SOURCES_H_

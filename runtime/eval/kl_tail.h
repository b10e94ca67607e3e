#ifndef BITBUDGET_RUNTIME_EVAL_KL_TAIL_H_
#define BITBUDGET_RUNTIME_EVAL_KL_TAIL_H_

#include <span>

#include "runtime/eval/metrics.h"

namespace bitbudget {

// The tail of the divergence along prompts: the 99.9th percentile of KL(reference || candidate) in
// nats over all tokens of all prompts that are measured on (ProbeResult::Text), whichever prompt
// they are in. Of n values in rising order, counted from 0, it is the one at 0.999 (n - 1), between
// two neighbours interpolated linearly: what numpy.quantile gives by default, and llama.cpp's
// --kl-divergence as its 99.9 % KLD.
double TextKl999(std::span<const ProbeResult> probes);

// Its 95 % percentile-bootstrap interval over probes, by the resamples of BootstrapInterval: a
// resample's percentile is over the tokens of the probes in it.
Interval TextKl999Interval(std::span<const ProbeResult> probes);

// Whether there is anything to ask the two above for: tokens that are measured on, each with its
// KL.
bool HasTextKls(std::span<const ProbeResult> probes);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_EVAL_KL_TAIL_H_

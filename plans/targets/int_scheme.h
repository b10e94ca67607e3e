#ifndef BITBUDGET_PLANS_TARGETS_INT_SCHEME_H_
#define BITBUDGET_PLANS_TARGETS_INT_SCHEME_H_

#include <cstdint>

#include "plans/targets/target.h"
#include "runtime/tensor/format.h"

namespace bitbudget::internal {

// An integer format in the words of consumers.
struct IntScheme {
  int64_t bits = 0;
  int64_t group = -1;  // inputs per scale; -1: the whole row
  bool symmetric = true;

  friend bool operator==(const IntScheme&, const IntScheme&) = default;
};

// REQUIRES: an integer format.
IntScheme SchemeOf(const Format& format);

// Sets what a reading gets: weights in `scheme`, or as they are stored.
void GetsScheme(const IntScheme& scheme, Reading* reading);
void GetsKept(Reading* reading);

}  // namespace bitbudget::internal

#endif  // BITBUDGET_PLANS_TARGETS_INT_SCHEME_H_

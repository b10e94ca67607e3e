#include "plans/targets/int_scheme.h"

#include <glog/logging.h>

#include <optional>
#include <string>

#include "absl/strings/str_cat.h"

namespace bitbudget::internal {
namespace {

// nullopt: bitbudget has no such format.
std::optional<Format> FormatOf(const IntScheme& scheme) {
  for (const Format& format : SupportedFormats()) {
    if (format.IsInteger() && SchemeOf(format) == scheme) return format;
  }
  return std::nullopt;
}

// "4 bits, groups of 64, symmetric"
std::string Describe(const IntScheme& scheme) {
  return absl::StrCat(
      scheme.bits,
      " bits, ",
      scheme.group < 0 ? "one group per row" : absl::StrCat("groups of ", scheme.group),
      scheme.symmetric ? ", symmetric" : ", with zero points");
}

}  // namespace

IntScheme SchemeOf(const Format& format) {
  CHECK(format.IsInteger());
  return {format.bits, format.group == 0 ? -1 : format.group, !format.zero_point};
}

void GetsScheme(const IntScheme& scheme, Reading* reading) {
  reading->gets = Describe(scheme);
  reading->format = FormatOf(scheme);
  reading->kept = false;
}

void GetsKept(Reading* reading) {
  reading->gets = "as stored";
  reading->format.reset();
  reading->kept = true;
}

}  // namespace bitbudget::internal

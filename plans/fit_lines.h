#ifndef BITBUDGET_PLANS_FIT_LINES_H_
#define BITBUDGET_PLANS_FIT_LINES_H_

#include <string>

#include "absl/strings/string_view.h"

namespace bitbudget {

// Text for a terminal of `width` columns: lines that are longer are broken at spaces and go on
// after `hang` spaces. A word that is too long for a line of its own stays where it is, so that it
// can be copied (a path, a fingerprint). 0: as it is.
std::string FitLines(absl::string_view text, int width, int hang);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANS_FIT_LINES_H_

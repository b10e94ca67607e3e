#ifndef BITBUDGET_SEARCH_WIDTHS_H_
#define BITBUDGET_SEARCH_WIDTHS_H_

#include <vector>

#include "search/problem.h"

namespace bitbudget {

// The ladder index of unit u for a width: the format itself, else the largest choice that takes no
// more bytes, else the smallest one.
int ChoiceFor(const SearchProblem& problem, UnitId u, const Format& width);

// Every unit at a width.
Selection Everywhere(const SearchProblem& problem, const Format& width);

// Widths for a method that lets every unit have one of two, smaller first, where none are given.
//   When units choose among two formats in all, it is those.
//   Formats that are larger than another one and have no smaller error (TypicalError) are left out:
//   beside int4, bf16 with 70 % zeros is no wider width.
//   The low width is the widest that fits everywhere, the narrowest of the same class (within a
//   factor of 1.25 in bytes), or one between; the high one is the next that is at least 1.25 times
//   as large, or the next after that. (int4-g128 below int4-g64 is not a choice of width, only of
//   scales: with int4 and int8 formats and 6 bits per weight these pairs are int4 below int8.) A
//   single width where there is no wider one. Empty when nothing fits.
std::vector<std::vector<Format>> WidthChains(const SearchProblem& problem);

}  // namespace bitbudget

#endif  // BITBUDGET_SEARCH_WIDTHS_H_

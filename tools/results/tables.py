"""Every table of measurements in README.md and docs/*.md: its page, what it costs, and how it is made."""
import dataclasses
from typing import Callable

import encoder_tables
import peer_tables
import search_tables
import speed_tables


@dataclasses.dataclass(frozen=True)
class Table:
    page: str
    minutes: float  # of a full run on two cores
    quick_minutes: float
    few: str  # what a quick run has less of
    make: Callable


TABLES = {
    "demo": Table("README.md", 2, 0.3, "16 + 32 probes", search_tables.demo),
    "low-bits": Table("README.md", 40, 4, "16 + 64 probes, two sizes", search_tables.low_bits),
    "low-bits-intervals": Table("docs/results.md", 1, 0.1, "16 + 64 probes, two sizes",
                                search_tables.low_bits_intervals),
    "claims": Table("docs/results.md", 60, 5, "16 probes, novel-1m", search_tables.claims),
    "omniquant": Table("docs/results.md", 30, 4, "16 probes, novel-1m, one width", search_tables.omniquant),
    "onebit": Table("docs/results.md", 10, 2, "16 probes, 20 steps", search_tables.onebit),
    "freeze": Table("docs/results.md", 20, 3, "16 probes, 20 steps, 2 bits, two rates", search_tables.freeze),
    "methods-novel-1m": Table("docs/results.md", 30, 2, "16 + 64 probes, one size", search_tables.methods_1m),
    "methods-novel-8m": Table("docs/results.md", 90, 5, "8 + 32 probes, one size", search_tables.methods_8m),
    "searches": Table("docs/performance.md", 60, 3, "8 + 32 probes, one size", search_tables.searches),
    "plan-stages": Table("docs/performance.md", 2, 0.3, "8 + 16 probes", search_tables.plan_stages),
    "recovery": Table("docs/recovery.md", 90, 8, "16 probes, one width, few steps", search_tables.recovery),
    "encoders-novel-8m": Table("docs/encoders.md", 15, 4, "16 probes, one width", encoder_tables.encoders_8m),
    "encoders-novel-1m": Table("docs/encoders.md", 5, 1, "16 probes, one width", encoder_tables.encoders_1m),
    "encode-speed": Table("docs/encoders.md", 3, 0.3, "k = 1,024", speed_tables.encode),
    "lwc-novel-1m": Table("docs/lwc.md", 10, 1, "16 probes, one width", encoder_tables.lwc_1m),
    "lwc-novel-8m": Table("docs/lwc.md", 30, 5, "16 probes, one width", encoder_tables.lwc_8m),
    "equalize": Table("docs/equalize.md", 6, 1, "novel-1m", encoder_tables.equalize),
    "format-errors": Table("docs/formats.md", 2, 1, "65,536 weights", encoder_tables.format_errors),
    "affine-errors": Table("docs/formats.md", 2, 1, "65,536 weights", encoder_tables.affine_errors),
    "low-bit-errors": Table("docs/formats.md", 2, 1, "65,536 weights", encoder_tables.low_bit_errors),
    "block-encoders": Table("docs/formats.md", 8, 1, "three formats", peer_tables.block_encoders),
    "llama-mixes": Table("docs/llama-cpp.md", 40, 4, "8 + 24 probes, two sizes", peer_tables.mixes),
    "llama-recovered": Table("docs/llama-cpp.md", 40, 6, "16 windows, 16 sequences, one size", peer_tables.recovered),
    "llama-promises": Table("docs/llama-cpp.md", 12, 1, "16 windows, one size", peer_tables.promises),
    "llama-types": Table("docs/llama-cpp.md", 20, 2, "8 probes, two types", peer_tables.types),
    "speed-products": Table("docs/performance.md", 6, 0.3, "1 round", speed_tables.products),
    "speed-ratios": Table("docs/performance.md", 1, 0.1, "1 round", speed_tables.ratios),
    "speed-tiles": Table("docs/performance.md", 2, 0.2, "1 round", speed_tables.tiles),
    "speed-model": Table("docs/performance.md", 6, 0.3, "1 round, novel-1m", speed_tables.model),
    "speed-threads": Table("docs/performance.md", 2, 0.2, "1 round, novel-1m", speed_tables.threads),
    "speed-candidates": Table("docs/performance.md", 2, 0.2, "1 round", speed_tables.candidates),
}

// Counts the calls of malloc, calloc, realloc and aligned allocation that the current thread makes, so that a test can
// show that a path allocates nothing. Linked into test binaries only.
#pragma once
#include <stdint.h>

/// Allocations made by the current thread since it began.
uint64_t allocation_count(void);

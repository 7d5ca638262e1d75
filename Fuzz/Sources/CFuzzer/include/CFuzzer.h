// The one function of libFuzzer that a program with a main of its own calls.
#pragma once
#include <stddef.h>
#include <stdint.h>

/// Runs the fuzzer with `callback`, which gets every input.
int LLVMFuzzerRunDriver(int *argc, char ***argv, int (*callback)(const uint8_t *data, size_t size));

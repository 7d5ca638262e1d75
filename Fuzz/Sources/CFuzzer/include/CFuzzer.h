// libFuzzer's driver (compiler-rt/lib/fuzzer/FuzzerInterface.h), for programs with a main function of their own.
#pragma once
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerRunDriver(int *argc, char ***argv, int (*callback)(const uint8_t *data, size_t size));

// One-shot digests.
#pragma once
#include <stddef.h>
#include <stdint.h>

/// Writes the SHA-256 of `count` bytes into `digest` (32 bytes). Allocates nothing.
void sallyport_sha256(const uint8_t *bytes, size_t count, uint8_t *digest);

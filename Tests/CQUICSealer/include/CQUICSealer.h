// Protects QUIC packets (RFC 9001 §5.3, §5.4), for tests that need some.
#pragma once
#include <stddef.h>
#include <stdint.h>

/// Seals a packet in place. `packet` holds the header with its packet number of `number_length` bytes at
/// `header_length - number_length`, then `payload_length` bytes of payload, then room for 16 bytes of tag.
/// `key` and `hp` have 16 bytes, `iv` 12. Returns 1, or 0 on failure.
int quic_seal(
    const uint8_t *key, const uint8_t *iv, const uint8_t *hp, uint64_t packet_number, uint8_t *packet,
    size_t header_length, size_t number_length, size_t payload_length);

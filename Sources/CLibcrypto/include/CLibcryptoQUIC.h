// What protects QUIC Initial packets (RFC 9001 §5), over libcrypto.
#pragma once
#include <stddef.h>
#include <stdint.h>

/// The keys of one direction of one connection's Initial packets.
typedef struct {
    uint8_t key[16];
    uint8_t iv[12];
    uint8_t hp[16];
} clc_quic_keys;

/// Derives the keys of a client's (`is_server` 0) or a server's Initial packets from a version's salt of 20 bytes and the
/// client's first destination connection id of at most 20. `is_v2` chooses the labels of RFC 9369 §3.3.2. Allocates nothing.
void clc_quic_initial_keys(
    const uint8_t *salt, int is_v2, const uint8_t *id, size_t id_length, int is_server, clc_quic_keys *keys);

/// Cipher contexts: used by one thread at a time.
typedef struct clc_quic clc_quic;

/// Null where libcrypto has no AES.
clc_quic *clc_quic_new(void);
void clc_quic_free(clc_quic *contexts);

/// Writes the five bytes that mask a header for a sample of 16 (§5.4.3). Returns 1, or 0 on failure.
int clc_quic_mask(clc_quic *contexts, const clc_quic_keys *keys, const uint8_t *sample, uint8_t *mask);

/// Opens a packet's payload of `length` bytes, its tag of 16 included, into `out` (as many bytes less the tag).
/// Returns 1, or 0 where the tag is wrong or on failure.
int clc_quic_open(
    clc_quic *contexts, const clc_quic_keys *keys, uint64_t packet_number, const uint8_t *header, size_t header_length,
    const uint8_t *payload, size_t length, uint8_t *out);

/// Seals a packet's payload of `length` bytes, at least one, into `out` (as many bytes and 16 of tag); `header` ends with the
/// packet number and has no protection yet. Returns 1, or 0 on failure. `clc_quic_mask` protects the header afterwards.
int clc_quic_seal(
    clc_quic *contexts, const clc_quic_keys *keys, uint64_t packet_number, const uint8_t *header, size_t header_length,
    const uint8_t *payload, size_t length, uint8_t *out);

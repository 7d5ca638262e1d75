#pragma once
// Digests, HMAC and signature verification of libcrypto behind a few functions. Results: 1 yes, 0 no, -1 error.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// Digest names as OpenSSL has them: MD5, SHA1, SHA256, SHA384, SHA512.
// Writes at most 64 bytes; returns their number, 0 on failure.
size_t clc_digest(const char *name, const uint8_t *data, size_t length, uint8_t *out);
size_t clc_hmac(const char *name, const uint8_t *key, size_t key_length, const uint8_t *data, size_t length, uint8_t *out);
// Whether two byte strings are the same, in time that depends on their length only.
bool clc_equal(const uint8_t *a, const uint8_t *b, size_t length);
bool clc_random(uint8_t *out, size_t length);

typedef struct clc_key clc_key;

// A public key from PEM: SubjectPublicKeyInfo, PKCS#1 RSA or the key of a certificate. Null where it is none.
clc_key *clc_key_from_pem(const uint8_t *text, size_t length);
clc_key *clc_key_rsa(const uint8_t *n, size_t n_length, const uint8_t *e, size_t e_length);
// `curve`: P-256, P-384, P-521.
clc_key *clc_key_ec(const char *curve, const uint8_t *x, size_t x_length, const uint8_t *y, size_t y_length);
clc_key *clc_key_ed25519(const uint8_t *x, size_t length);
void clc_key_free(clc_key *key);
// "RSA", "EC", "ED25519" or "".
const char *clc_key_kind(const clc_key *key);
int clc_key_bits(const clc_key *key);

// The padding of RSA: PKCS#1 v1.5, or PSS with a salt of any length or of the digest's (RFC 7518 section 3.5).
enum clc_pss { CLC_PSS_NONE, CLC_PSS_ANY_SALT, CLC_PSS_DIGEST_SALT };

// Verifies. EC: r and s, each of half the signature's bytes. Ed25519: digest ignored.
int clc_verify(
    const clc_key *key, const char *digest, enum clc_pss pss, const uint8_t *data, size_t length, const uint8_t *signature,
    size_t signature_length);

// Private keys by the numbers of a JWK, big-endian. `parts` of RSA: n, e, d, p, q, dp, dq, qi, one behind the other.
clc_key *clc_private_rsa(const uint8_t *parts, const size_t *lengths);
clc_key *clc_private_ec(
    const char *curve, const uint8_t *x, size_t x_length, const uint8_t *y, size_t y_length, const uint8_t *d,
    size_t d_length);
clc_key *clc_private_ed25519(const uint8_t *d, size_t length);
// Signs as `clc_verify` verifies; PSS with a salt of the digest's length. Writes at most `capacity` bytes; their number,
// or 0 on failure.
size_t clc_sign(
    const clc_key *key, const char *digest, bool pss, const uint8_t *data, size_t length, uint8_t *out, size_t capacity);

// Whether the last of `count` certificates (DER, one behind the other) chains to the first, through those between, at
// `time` (seconds since the epoch) and, where `host` is no null, for that name. Writes the places of the chain's
// certificates, the last one's first, and returns how many they are; 0 where there is no chain.
size_t clc_verify_chain(
    const uint8_t *data, const size_t *lengths, size_t count, int64_t time, const char *host, int32_t *order);

#ifdef __cplusplus
}
#endif

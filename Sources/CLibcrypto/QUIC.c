// The low-level SHA-256 of libcrypto, as in CLibcryptoDigest.c: HKDF of QUIC is twelve small hashes, and EVP would allocate for each.
#define OPENSSL_SUPPRESS_DEPRECATED

#include "CLibcryptoQUIC.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>

// RFC 2104, for keys of at most one block: the two hashes over the padded key are kept, for all messages under one key.
typedef struct {
    SHA256_CTX inner;
    SHA256_CTX outer;
} hmac_key;

static void hmac_begin(hmac_key *state, const uint8_t *key, size_t length) {
    uint8_t pad[64];
    memset(pad, 0x36, sizeof pad);
    for (size_t i = 0; i < length; i++) pad[i] ^= key[i];
    SHA256_Init(&state->inner);
    SHA256_Update(&state->inner, pad, sizeof pad);
    for (size_t i = 0; i < sizeof pad; i++) pad[i] ^= 0x36 ^ 0x5C;
    SHA256_Init(&state->outer);
    SHA256_Update(&state->outer, pad, sizeof pad);
    OPENSSL_cleanse(pad, sizeof pad);
}

static void hmac(const hmac_key *state, const uint8_t *data, size_t length, uint8_t *out) {
    SHA256_CTX inner = state->inner;
    SHA256_CTX outer = state->outer;
    uint8_t digest[32];
    SHA256_Update(&inner, data, length);
    SHA256_Final(digest, &inner);
    SHA256_Update(&outer, digest, sizeof digest);
    SHA256_Final(out, &outer);
}

// HKDF-Expand-Label (RFC 8446 §7.1) with an empty context and at most 32 bytes: one block of HKDF-Expand.
static void expand_label(const hmac_key *secret, const char *label, uint8_t *out, size_t length) {
    static const char prefix[] = "tls13 ";
    uint8_t info[64];
    uint8_t block[32];
    size_t label_length = strlen(label);
    size_t count = 0;
    info[count++] = 0;
    info[count++] = (uint8_t)length;
    info[count++] = (uint8_t)(sizeof prefix - 1 + label_length);
    memcpy(info + count, prefix, sizeof prefix - 1);
    count += sizeof prefix - 1;
    memcpy(info + count, label, label_length);
    count += label_length;
    info[count++] = 0;
    info[count++] = 1;
    hmac(secret, info, count, block);
    memcpy(out, block, length);
}

void clc_quic_initial_keys(
    const uint8_t *salt, int is_v2, const uint8_t *id, size_t id_length, int is_server, clc_quic_keys *keys) {
    hmac_key state;
    uint8_t secret[32];
    hmac_begin(&state, salt, 20);
    hmac(&state, id, id_length, secret);
    hmac_begin(&state, secret, sizeof secret);
    expand_label(&state, is_server ? "server in" : "client in", secret, sizeof secret);
    hmac_begin(&state, secret, sizeof secret);
    expand_label(&state, is_v2 ? "quicv2 key" : "quic key", keys->key, sizeof keys->key);
    expand_label(&state, is_v2 ? "quicv2 iv" : "quic iv", keys->iv, sizeof keys->iv);
    expand_label(&state, is_v2 ? "quicv2 hp" : "quic hp", keys->hp, sizeof keys->hp);
}

struct clc_quic {
    EVP_CIPHER *gcm_cipher;
    EVP_CIPHER *ecb_cipher;
    EVP_CIPHER_CTX *gcm;
    EVP_CIPHER_CTX *ecb;
};

clc_quic *clc_quic_new(void) {
    clc_quic *contexts = calloc(1, sizeof *contexts);
    if (!contexts) return NULL;
    contexts->gcm_cipher = EVP_CIPHER_fetch(NULL, "AES-128-GCM", NULL);
    contexts->ecb_cipher = EVP_CIPHER_fetch(NULL, "AES-128-ECB", NULL);
    contexts->gcm = EVP_CIPHER_CTX_new();
    contexts->ecb = EVP_CIPHER_CTX_new();
    // The ciphers are set once; later calls give keys only.
    if (!contexts->gcm_cipher || !contexts->ecb_cipher || !contexts->gcm || !contexts->ecb
        || EVP_DecryptInit_ex2(contexts->gcm, contexts->gcm_cipher, NULL, NULL, NULL) != 1
        || EVP_EncryptInit_ex2(contexts->ecb, contexts->ecb_cipher, NULL, NULL, NULL) != 1
        || EVP_CIPHER_CTX_set_padding(contexts->ecb, 0) != 1) {
        clc_quic_free(contexts);
        return NULL;
    }
    return contexts;
}

void clc_quic_free(clc_quic *contexts) {
    if (!contexts) return;
    EVP_CIPHER_CTX_free(contexts->gcm);
    EVP_CIPHER_CTX_free(contexts->ecb);
    EVP_CIPHER_free(contexts->gcm_cipher);
    EVP_CIPHER_free(contexts->ecb_cipher);
    free(contexts);
}

int clc_quic_mask(clc_quic *contexts, const clc_quic_keys *keys, const uint8_t *sample, uint8_t *mask) {
    uint8_t block[32];
    int count = 0;
    if (EVP_EncryptInit_ex2(contexts->ecb, NULL, keys->hp, NULL, NULL) != 1
        || EVP_EncryptUpdate(contexts->ecb, block, &count, sample, 16) != 1 || count != 16)
        return 0;
    memcpy(mask, block, 5);
    return 1;
}

int clc_quic_open(
    clc_quic *contexts, const clc_quic_keys *keys, uint64_t packet_number, const uint8_t *header, size_t header_length,
    const uint8_t *payload, size_t length, uint8_t *out) {
    uint8_t nonce[12];
    int count = 0;
    if (length < 16 || length > 65535 || header_length > 65535) return 0;
    memcpy(nonce, keys->iv, sizeof nonce);
    for (int i = 0; i < 8; i++) nonce[11 - i] ^= (uint8_t)(packet_number >> (8 * i));
    length -= 16;
    return EVP_DecryptInit_ex2(contexts->gcm, NULL, keys->key, nonce, NULL) == 1
        && EVP_DecryptUpdate(contexts->gcm, NULL, &count, header, (int)header_length) == 1
        && (length == 0 || EVP_DecryptUpdate(contexts->gcm, out, &count, payload, (int)length) == 1)
        && EVP_CIPHER_CTX_ctrl(contexts->gcm, EVP_CTRL_AEAD_SET_TAG, 16, (void *)(payload + length)) == 1
        && EVP_DecryptFinal_ex(contexts->gcm, out + length, &count) == 1;
}

int clc_quic_seal(
    clc_quic *contexts, const clc_quic_keys *keys, uint64_t packet_number, const uint8_t *header, size_t header_length,
    const uint8_t *payload, size_t length, uint8_t *out) {
    uint8_t nonce[12];
    int count = 0;
    if (length == 0 || length > 65535 || header_length > 65535) return 0;
    memcpy(nonce, keys->iv, sizeof nonce);
    for (int i = 0; i < 8; i++) nonce[11 - i] ^= (uint8_t)(packet_number >> (8 * i));
    return EVP_EncryptInit_ex2(contexts->gcm, NULL, keys->key, nonce, NULL) == 1
        && EVP_EncryptUpdate(contexts->gcm, NULL, &count, header, (int)header_length) == 1
        && EVP_EncryptUpdate(contexts->gcm, out, &count, payload, (int)length) == 1
        && EVP_EncryptFinal_ex(contexts->gcm, out + length, &count) == 1
        && EVP_CIPHER_CTX_ctrl(contexts->gcm, EVP_CTRL_AEAD_GET_TAG, 16, out + length) == 1;
}

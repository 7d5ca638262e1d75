#include "CQUICSealer.h"

#include <openssl/evp.h>
#include <string.h>

int quic_seal(
    const uint8_t *key, const uint8_t *iv, const uint8_t *hp, uint64_t packet_number, uint8_t *packet,
    size_t header_length, size_t number_length, size_t payload_length) {
    uint8_t nonce[12], mask[32];
    uint8_t *payload = packet + header_length;
    int count = 0;
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    if (!context) return 0;
    memcpy(nonce, iv, sizeof nonce);
    for (int i = 0; i < 8; i++) nonce[11 - i] ^= (uint8_t)(packet_number >> (8 * i));
    int ok = EVP_EncryptInit_ex(context, EVP_aes_128_gcm(), NULL, key, nonce) == 1
        && EVP_EncryptUpdate(context, NULL, &count, packet, (int)header_length) == 1
        && EVP_EncryptUpdate(context, payload, &count, payload, (int)payload_length) == 1
        && EVP_EncryptFinal_ex(context, payload + payload_length, &count) == 1
        && EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, 16, payload + payload_length) == 1;
    EVP_CIPHER_CTX_reset(context);
    ok = ok && EVP_EncryptInit_ex(context, EVP_aes_128_ecb(), NULL, hp, NULL) == 1
        && EVP_EncryptUpdate(context, mask, &count, packet + header_length - number_length + 4, 16) == 1;
    EVP_CIPHER_CTX_free(context);
    packet[0] ^= mask[0] & 0x0F;
    for (size_t i = 0; i < number_length; i++) packet[header_length - number_length + i] ^= mask[1 + i];
    return ok;
}

#include "CLibcryptoKeys.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>

#include <stdlib.h>
#include <string.h>

struct clc_key {
    EVP_PKEY *pkey;
};

static clc_key *wrap(EVP_PKEY *pkey) {
    ERR_clear_error();
    if (pkey == NULL) return NULL;
    clc_key *key = malloc(sizeof *key);
    if (key == NULL) {
        EVP_PKEY_free(pkey);
        return NULL;
    }
    key->pkey = pkey;
    return key;
}

static EVP_PKEY *build(const char *type, OSSL_PARAM_BLD *builder) {
    EVP_PKEY *pkey = NULL;
    OSSL_PARAM *parameters = OSSL_PARAM_BLD_to_param(builder);
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    if (parameters != NULL && context != NULL && EVP_PKEY_fromdata_init(context) == 1) {
        if (EVP_PKEY_fromdata(context, &pkey, EVP_PKEY_KEYPAIR, parameters) != 1) pkey = NULL;
    }
    EVP_PKEY_CTX_free(context);
    OSSL_PARAM_free(parameters);
    return pkey;
}

clc_key *clc_private_rsa(const uint8_t *parts, const size_t *lengths) {
    static const char *const names[8] = {
        OSSL_PKEY_PARAM_RSA_N, OSSL_PKEY_PARAM_RSA_E, OSSL_PKEY_PARAM_RSA_D, OSSL_PKEY_PARAM_RSA_FACTOR1,
        OSSL_PKEY_PARAM_RSA_FACTOR2, OSSL_PKEY_PARAM_RSA_EXPONENT1, OSSL_PKEY_PARAM_RSA_EXPONENT2,
        OSSL_PKEY_PARAM_RSA_COEFFICIENT1,
    };
    BIGNUM *numbers[8] = {NULL};
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    bool ok = builder != NULL;
    for (int index = 0; ok && index < 8; index++) {
        if (lengths[index] > 0) {
            numbers[index] = BN_bin2bn(parts, (int)lengths[index], NULL);
            ok = numbers[index] != NULL && OSSL_PARAM_BLD_push_BN(builder, names[index], numbers[index]) == 1;
            parts += lengths[index];
        } else if (index < 3) {
            ok = false;
        }
    }
    EVP_PKEY *pkey = ok ? build("RSA", builder) : NULL;
    OSSL_PARAM_BLD_free(builder);
    for (int index = 0; index < 8; index++) BN_clear_free(numbers[index]);
    return wrap(pkey);
}

clc_key *clc_private_ec(
    const char *curve, const uint8_t *x, size_t x_length, const uint8_t *y, size_t y_length, const uint8_t *d,
    size_t d_length) {
    size_t width = strcmp(curve, "P-256") == 0 ? 32 : strcmp(curve, "P-384") == 0 ? 48 : strcmp(curve, "P-521") == 0 ? 66 : 0;
    if (width == 0 || x_length > width || y_length > width || d_length > width || d_length == 0) return NULL;
    uint8_t point[1 + 2 * 66] = {4};
    memcpy(point + 1 + (width - x_length), x, x_length);
    memcpy(point + 1 + width + (width - y_length), y, y_length);
    BIGNUM *secret = BN_bin2bn(d, (int)d_length, NULL);
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    EVP_PKEY *pkey = NULL;
    if (builder != NULL && secret != NULL && OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME, curve, 0) == 1
        && OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY, point, 1 + 2 * width) == 1
        && OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_PRIV_KEY, secret) == 1) {
        pkey = build("EC", builder);
    }
    OSSL_PARAM_BLD_free(builder);
    BN_clear_free(secret);
    return wrap(pkey);
}

clc_key *clc_private_ed25519(const uint8_t *d, size_t length) {
    if (length != 32) return NULL;
    return wrap(EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, d, length));
}

// The DER sequence of r and s as two numbers of `width` bytes each; 0 on failure.
static size_t plain_signature(const uint8_t *der, size_t der_length, size_t width, uint8_t *out) {
    ECDSA_SIG *pair = d2i_ECDSA_SIG(NULL, &der, (long)der_length);
    if (pair == NULL) return 0;
    const BIGNUM *r = NULL, *s = NULL;
    ECDSA_SIG_get0(pair, &r, &s);
    bool ok = BN_bn2binpad(r, out, (int)width) == (int)width && BN_bn2binpad(s, out + width, (int)width) == (int)width;
    ECDSA_SIG_free(pair);
    return ok ? 2 * width : 0;
}

size_t clc_sign(
    const clc_key *key, const char *digest, bool pss, const uint8_t *data, size_t length, uint8_t *out, size_t capacity) {
    const char *kind = clc_key_kind(key);
    bool edwards = strcmp(kind, "ED25519") == 0;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    EVP_PKEY_CTX *parameters = NULL;
    size_t written = 0;
    if (context != NULL
        && EVP_DigestSignInit_ex(context, &parameters, edwards ? NULL : digest, NULL, NULL, key->pkey, NULL) == 1) {
        bool ready = true;
        if (pss) {
            ready = strcmp(kind, "RSA") == 0 && EVP_PKEY_CTX_set_rsa_padding(parameters, RSA_PKCS1_PSS_PADDING) == 1
                && EVP_PKEY_CTX_set_rsa_pss_saltlen(parameters, RSA_PSS_SALTLEN_DIGEST) == 1;
        }
        uint8_t signature[1024];
        size_t count = sizeof signature;
        if (ready && EVP_DigestSign(context, signature, &count, data, length) == 1) {
            if (strcmp(kind, "EC") == 0) {
                size_t width = ((size_t)EVP_PKEY_get_bits(key->pkey) + 7) / 8;
                if (2 * width <= capacity) written = plain_signature(signature, count, width, out);
            } else if (count <= capacity) {
                memcpy(out, signature, count);
                written = count;
            }
        }
    }
    EVP_MD_CTX_free(context);
    ERR_clear_error();
    return written;
}

#include "CLibcryptoKeys.h"

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <stdlib.h>
#include <string.h>

struct clc_key {
    EVP_PKEY *pkey;
};

size_t clc_digest(const char *name, const uint8_t *data, size_t length, uint8_t *out) {
    EVP_MD *digest = EVP_MD_fetch(NULL, name, NULL);
    if (digest == NULL) return 0;
    unsigned int written = 0;
    int ok = EVP_Digest(data, length, out, &written, digest, NULL);
    EVP_MD_free(digest);
    return ok == 1 ? written : 0;
}

size_t clc_hmac(const char *name, const uint8_t *key, size_t key_length, const uint8_t *data, size_t length, uint8_t *out) {
    static const uint8_t none = 0;
    EVP_MD *digest = EVP_MD_fetch(NULL, name, NULL);
    if (digest == NULL) return 0;
    unsigned int written = 0;
    unsigned char *ok =
        HMAC(digest, key != NULL ? key : &none, (int)key_length, data != NULL ? data : &none, length, out, &written);
    EVP_MD_free(digest);
    return ok != NULL ? written : 0;
}

bool clc_equal(const uint8_t *a, const uint8_t *b, size_t length) { return CRYPTO_memcmp(a, b, length) == 0; }

bool clc_random(uint8_t *out, size_t length) { return RAND_bytes(out, (int)length) == 1; }

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

clc_key *clc_key_from_pem(const uint8_t *text, size_t length) {
    BIO *bio = BIO_new_mem_buf(text, (int)length);
    if (bio == NULL) return NULL;
    EVP_PKEY *pkey = PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL);
    if (pkey == NULL) {
        (void)BIO_reset(bio);
        X509 *certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL);
        if (certificate != NULL) {
            pkey = X509_get_pubkey(certificate);
            X509_free(certificate);
        }
    }
    BIO_free(bio);
    return wrap(pkey);
}

static EVP_PKEY *build(const char *type, OSSL_PARAM_BLD *builder) {
    EVP_PKEY *pkey = NULL;
    OSSL_PARAM *parameters = OSSL_PARAM_BLD_to_param(builder);
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    if (parameters != NULL && context != NULL && EVP_PKEY_fromdata_init(context) == 1) {
        if (EVP_PKEY_fromdata(context, &pkey, EVP_PKEY_PUBLIC_KEY, parameters) != 1) pkey = NULL;
    }
    EVP_PKEY_CTX_free(context);
    OSSL_PARAM_free(parameters);
    return pkey;
}

clc_key *clc_key_rsa(const uint8_t *n, size_t n_length, const uint8_t *e, size_t e_length) {
    BIGNUM *modulus = BN_bin2bn(n, (int)n_length, NULL);
    BIGNUM *exponent = BN_bin2bn(e, (int)e_length, NULL);
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    EVP_PKEY *pkey = NULL;
    if (modulus != NULL && exponent != NULL && builder != NULL && OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, modulus) == 1
        && OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, exponent) == 1) {
        pkey = build("RSA", builder);
    }
    OSSL_PARAM_BLD_free(builder);
    BN_free(modulus);
    BN_free(exponent);
    return wrap(pkey);
}

clc_key *clc_key_ec(const char *curve, const uint8_t *x, size_t x_length, const uint8_t *y, size_t y_length) {
    size_t width = strcmp(curve, "P-256") == 0 ? 32 : strcmp(curve, "P-384") == 0 ? 48 : strcmp(curve, "P-521") == 0 ? 66 : 0;
    if (width == 0 || x_length > width || y_length > width) return NULL;
    uint8_t point[1 + 2 * 66] = {4};
    memcpy(point + 1 + (width - x_length), x, x_length);
    memcpy(point + 1 + width + (width - y_length), y, y_length);
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    EVP_PKEY *pkey = NULL;
    if (builder != NULL && OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME, curve, 0) == 1
        && OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY, point, 1 + 2 * width) == 1) {
        pkey = build("EC", builder);
    }
    OSSL_PARAM_BLD_free(builder);
    return wrap(pkey);
}

clc_key *clc_key_ed25519(const uint8_t *x, size_t length) {
    if (length != 32) return NULL;
    return wrap(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, x, length));
}

void clc_key_free(clc_key *key) {
    if (key == NULL) return;
    EVP_PKEY_free(key->pkey);
    free(key);
}

const char *clc_key_kind(const clc_key *key) {
    if (EVP_PKEY_is_a(key->pkey, "RSA")) return "RSA";
    if (EVP_PKEY_is_a(key->pkey, "EC")) return "EC";
    if (EVP_PKEY_is_a(key->pkey, "ED25519")) return "ED25519";
    return "";
}

int clc_key_bits(const clc_key *key) { return EVP_PKEY_get_bits(key->pkey); }

// r and s as the DER sequence that libcrypto reads; null on failure.
static uint8_t *der_signature(const uint8_t *signature, size_t length, size_t *der_length) {
    ECDSA_SIG *pair = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(signature, (int)(length / 2), NULL);
    BIGNUM *s = BN_bin2bn(signature + length / 2, (int)(length / 2), NULL);
    if (pair == NULL || r == NULL || s == NULL || ECDSA_SIG_set0(pair, r, s) != 1) {
        ECDSA_SIG_free(pair);
        BN_free(r);
        BN_free(s);
        return NULL;
    }
    uint8_t *der = NULL;
    int written = i2d_ECDSA_SIG(pair, &der);
    ECDSA_SIG_free(pair);
    *der_length = written > 0 ? (size_t)written : 0;
    return der;
}

int clc_verify(
    const clc_key *key, const char *digest, enum clc_pss pss, const uint8_t *data, size_t length,
    const uint8_t *signature, size_t signature_length) {
    const char *kind = clc_key_kind(key);
    uint8_t *der = NULL;
    if (strcmp(kind, "EC") == 0) {
        size_t width = ((size_t)EVP_PKEY_get_bits(key->pkey) + 7) / 8;
        if (signature_length != 2 * width) return 0;
        der = der_signature(signature, signature_length, &signature_length);
        if (der == NULL) return -1;
        signature = der;
    }
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    EVP_PKEY_CTX *parameters = NULL;
    int result = -1;
    bool edwards = strcmp(kind, "ED25519") == 0;
    if (context != NULL
        && EVP_DigestVerifyInit_ex(context, &parameters, edwards ? NULL : digest, NULL, NULL, key->pkey, NULL) == 1) {
        bool ready = true;
        if (pss != CLC_PSS_NONE) {
            int salt = pss == CLC_PSS_ANY_SALT ? RSA_PSS_SALTLEN_AUTO : RSA_PSS_SALTLEN_DIGEST;
            ready = strcmp(kind, "RSA") == 0 && EVP_PKEY_CTX_set_rsa_padding(parameters, RSA_PKCS1_PSS_PADDING) == 1
                && EVP_PKEY_CTX_set_rsa_pss_saltlen(parameters, salt) == 1;
        }
        if (ready) result = EVP_DigestVerify(context, signature, signature_length, data, length) == 1 ? 1 : 0;
    }
    EVP_MD_CTX_free(context);
    OPENSSL_free(der);
    ERR_clear_error();
    return result;
}

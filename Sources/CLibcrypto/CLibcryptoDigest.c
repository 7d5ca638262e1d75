// The low-level SHA-256 of libcrypto: deprecated in favour of EVP, which allocates and looks the digest up by name each time.
#define OPENSSL_SUPPRESS_DEPRECATED

#include "CLibcryptoDigest.h"

#include <openssl/sha.h>

void sallyport_sha256(const uint8_t *bytes, size_t count, uint8_t *digest) {
    SHA256_CTX context;
    SHA256_Init(&context);
    SHA256_Update(&context, bytes, count);
    SHA256_Final(digest, &context);
}

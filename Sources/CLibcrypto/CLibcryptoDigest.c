#include "CLibcryptoDigest.h"

#include <openssl/evp.h>
#include <string.h>

void sallyport_sha256(const uint8_t *bytes, size_t count, uint8_t *digest) {
    if (EVP_Digest(bytes, count, digest, NULL, EVP_sha256(), NULL) != 1) memset(digest, 0, 32);
}

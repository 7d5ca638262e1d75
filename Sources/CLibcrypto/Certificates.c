#include "CLibcryptoKeys.h"

#include <openssl/err.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include <stdlib.h>

size_t clc_verify_chain(
    const uint8_t *data, const size_t *lengths, size_t count, int64_t time, const char *host, int32_t *order) {
    if (count < 2) return 0;
    X509 **certificates = calloc(count, sizeof *certificates);
    X509_STORE *store = X509_STORE_new();
    STACK_OF(X509) *between = sk_X509_new_null();
    X509_STORE_CTX *context = X509_STORE_CTX_new();
    size_t found = 0;
    bool ready = certificates != NULL && store != NULL && between != NULL && context != NULL;
    for (size_t index = 0; ready && index < count; index++) {
        const uint8_t *start = data;
        certificates[index] = d2i_X509(NULL, &start, (long)lengths[index]);
        ready = certificates[index] != NULL;
        data += lengths[index];
        if (ready && index > 0 && index + 1 < count) ready = sk_X509_push(between, certificates[index]) > 0;
    }
    ready = ready && X509_STORE_add_cert(store, certificates[0]) == 1
        && X509_STORE_CTX_init(context, store, certificates[count - 1], between) == 1;
    if (ready) {
        X509_VERIFY_PARAM *parameters = X509_STORE_CTX_get0_param(context);
        X509_VERIFY_PARAM_set_flags(parameters, X509_V_FLAG_PARTIAL_CHAIN);
        X509_VERIFY_PARAM_set_time(parameters, (time_t)time);
        if (host != NULL) {
            X509_VERIFY_PARAM_set_hostflags(parameters, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
            ready = X509_VERIFY_PARAM_set1_host(parameters, host, 0) == 1;
        }
        if (ready && X509_verify_cert(context) == 1) {
            STACK_OF(X509) *chain = X509_STORE_CTX_get0_chain(context);
            for (int place = 0; place < sk_X509_num(chain) && found < count; place++) {
                for (size_t index = 0; index < count; index++) {
                    if (X509_cmp(sk_X509_value(chain, place), certificates[index]) == 0) {
                        order[found++] = (int32_t)index;
                        break;
                    }
                }
            }
        }
    }
    X509_STORE_CTX_free(context);
    sk_X509_free(between);
    X509_STORE_free(store);
    for (size_t index = 0; certificates != NULL && index < count; index++) X509_free(certificates[index]);
    free(certificates);
    ERR_clear_error();
    return found;
}

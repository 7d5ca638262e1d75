#include "CCurl.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct body {
    char *bytes;
    size_t length;
    size_t limit;
};

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void start(void) {
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

static size_t take(char *bytes, size_t size, size_t count, void *context) {
    struct body *body = context;
    size_t length = size * count;
    if (length > body->limit - body->length) return 0;
    char *larger = realloc(body->bytes, body->length + length + 1);
    if (!larger) return 0;
    memcpy(larger + body->length, bytes, length);
    body->bytes = larger;
    body->length += length;
    return length;
}

long ccurl_fetch(const char *url, const char *authorities, long timeout_milliseconds, size_t limit, char **bytes,
                 size_t *length, char *error) {
    pthread_once(&once, start);
    error[0] = 0;
    CURL *curl = curl_easy_init();
    if (!curl) {
        snprintf(error, CCURL_ERROR_SIZE, "libcurl cannot start");
        return -1;
    }
    struct body body = {.limit = limit};
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "https");
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, timeout_milliseconds);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, error);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &body);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "sallyport");
    if (authorities) {
        curl_easy_setopt(curl, CURLOPT_CAINFO, authorities);
        curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
    }
    CURLcode code = curl_easy_perform(curl);
    long status = -1;
    if (code == CURLE_OK) {
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    } else if (code == CURLE_WRITE_ERROR) {
        snprintf(error, CCURL_ERROR_SIZE, "the answer is longer than %zu bytes", limit);
    } else if (!error[0]) {
        snprintf(error, CCURL_ERROR_SIZE, "%s", curl_easy_strerror(code));
    }
    curl_easy_cleanup(curl);
    *bytes = body.bytes;
    *length = body.length;
    return status;
}

// One GET request over HTTPS by libcurl, whose interface of variadic functions Swift cannot call.
#pragma once

#include <stddef.h>

enum {
    CCURL_ERROR_SIZE = 256, ///< Bytes of an error's text, with its NUL.
};

/// Fetches `url`, which must be `https:`; redirections are not followed. `authorities` is a file of CA certificates in PEM, or
/// NULL for the host's. The body has at most `limit` bytes and is to be freed by `free`.
/// Answers the HTTP status; -1 where there was none, with the reason in `error` (CCURL_ERROR_SIZE bytes).
long ccurl_fetch(const char *url, const char *authorities, long timeout_milliseconds, size_t limit, char **body,
                 size_t *length, char *error);

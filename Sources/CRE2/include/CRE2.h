#pragma once
// RE2 behind a few functions: no exceptions, no C++ types, no printing.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct cre2_pattern cre2_pattern;

// Compiles `length` bytes of `pattern` with at most `max_memory` bytes of automata. Never null; see cre2_ok.
cre2_pattern *cre2_compile(const char *pattern, size_t length, int64_t max_memory);
void cre2_free(cre2_pattern *pattern);
bool cre2_ok(const cre2_pattern *pattern);
// RE2's own error code (RE2::ErrorCode); 0 when ok.
int cre2_error_code(const cre2_pattern *pattern);
// The message and the offending piece, zero-terminated, owned by the pattern.
const char *cre2_error(const cre2_pattern *pattern);
const char *cre2_error_argument(const cre2_pattern *pattern);
// Number of capturing groups.
int cre2_groups(const cre2_pattern *pattern);
// The name of group `index`, or null.
const char *cre2_group_name(const cre2_pattern *pattern, int index);
// Searches `text` from `start`; writes begin and end offsets of group 0..count-1 (-1 where a group did not match).
bool cre2_match(const cre2_pattern *pattern, const char *text, size_t length, size_t start, int count, int64_t *groups);

#ifdef __cplusplus
}
#endif

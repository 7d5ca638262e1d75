#include "CRE2.h"

#include <re2/re2.h>

#include <new>
#include <string>
#include <vector>

struct cre2_pattern {
    RE2 regex;
    std::string argument;

    cre2_pattern(re2::StringPiece text, const RE2::Options &options)
        : regex(text, options), argument(regex.error_arg()) {}
};

extern "C" {

cre2_pattern *cre2_compile(const char *pattern, size_t length, int64_t max_memory) {
    RE2::Options options;
    options.set_log_errors(false);
    options.set_max_mem(max_memory);
    return new cre2_pattern(re2::StringPiece(pattern, length), options);
}

void cre2_free(cre2_pattern *pattern) { delete pattern; }

bool cre2_ok(const cre2_pattern *pattern) { return pattern->regex.ok(); }

int cre2_error_code(const cre2_pattern *pattern) { return static_cast<int>(pattern->regex.error_code()); }

const char *cre2_error(const cre2_pattern *pattern) { return pattern->regex.error().c_str(); }

const char *cre2_error_argument(const cre2_pattern *pattern) { return pattern->argument.c_str(); }

int cre2_groups(const cre2_pattern *pattern) { return pattern->regex.NumberOfCapturingGroups(); }

const char *cre2_group_name(const cre2_pattern *pattern, int index) {
    const auto &names = pattern->regex.CapturingGroupNames();
    auto found = names.find(index);
    return found == names.end() ? nullptr : found->second.c_str();
}

bool cre2_match(const cre2_pattern *pattern, const char *text, size_t length, size_t start, int count, int64_t *groups) {
    if (start > length) return false;
    re2::StringPiece subject(text, length);
    if (count <= 0) return pattern->regex.Match(subject, start, length, RE2::UNANCHORED, nullptr, 0);
    std::vector<re2::StringPiece> found(count);
    if (!pattern->regex.Match(subject, start, length, RE2::UNANCHORED, found.data(), count)) return false;
    for (int index = 0; index < count; index++) {
        if (found[index].data() == nullptr) {
            groups[2 * index] = -1;
            groups[2 * index + 1] = -1;
        } else {
            groups[2 * index] = found[index].data() - text;
            groups[2 * index + 1] = groups[2 * index] + static_cast<int64_t>(found[index].size());
        }
    }
    return true;
}

}

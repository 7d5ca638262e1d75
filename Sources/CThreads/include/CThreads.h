// Thread attributes that glibc declares under _GNU_SOURCE only, which Swift does not see.
#pragma once

/// Names the calling thread (at most 15 bytes) and, where `processor` is 0 or more, asks that it runs on that processor
/// alone. Both are best effort: a refusal costs legibility or speed, nothing else.
void current_thread_configure(const char *name, int processor);

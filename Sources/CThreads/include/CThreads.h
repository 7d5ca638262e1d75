// Thread attributes that glibc declares under _GNU_SOURCE only, which Swift does not see.
#pragma once

/// Names the calling thread (at most 15 bytes), asks for a nice value (below 0 under CAP_SYS_NICE), where `is_batch` is not 0
/// for SCHED_BATCH (sched(7): waking up takes the processor from nobody) and, where `processor` is 0 or more, that it runs on
/// that processor alone. All are best effort: a refusal costs legibility or speed, nothing else.
void current_thread_configure(const char *name, int niceness, int is_batch, int processor);

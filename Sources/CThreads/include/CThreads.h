// Thread attributes that glibc declares under _GNU_SOURCE only, which Swift does not see.
#pragma once

/// Names the calling thread (at most 15 bytes), sets its nice value, where `is_batch` is not 0
/// for SCHED_BATCH (sched(7): waking up takes the processor from nobody) and, where `processor` is 0 or more, that it runs on
/// that processor alone. All are best effort: a refusal costs legibility or speed, nothing else.
void current_thread_configure(const char *name, int niceness, int is_batch, int processor);

/// Sets the calling thread's nice value: down to what RLIMIT_NICE allows, or any under CAP_SYS_NICE. Best effort.
void current_thread_set_niceness(int niceness);

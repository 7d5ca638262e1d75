#define _GNU_SOURCE
#include "CThreads.h"

#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

void current_thread_set_niceness(int niceness) {
    // On Linux the nice value is a thread's own (setpriority(2), BUGS).
    setpriority(PRIO_PROCESS, gettid(), niceness);
}

void current_thread_configure(const char *name, int niceness, int is_batch, int processor) {
    pthread_setname_np(pthread_self(), name);
    current_thread_set_niceness(niceness);
    if (is_batch) {
        struct sched_param parameters = {0};
        pthread_setschedparam(pthread_self(), SCHED_BATCH, &parameters);
    }
    if (processor >= 0 && processor < CPU_SETSIZE) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET(processor, &set);
        pthread_setaffinity_np(pthread_self(), sizeof set, &set);
    }
}

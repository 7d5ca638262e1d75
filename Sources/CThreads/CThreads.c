#define _GNU_SOURCE
#include "CThreads.h"

#include <pthread.h>
#include <sched.h>

void current_thread_configure(const char *name, int processor) {
    pthread_setname_np(pthread_self(), name);
    if (processor >= 0 && processor < CPU_SETSIZE) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET(processor, &set);
        pthread_setaffinity_np(pthread_self(), sizeof set, &set);
    }
}

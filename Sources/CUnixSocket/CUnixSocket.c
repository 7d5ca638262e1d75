#define _GNU_SOURCE
#include "CUnixSocket.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

int unix_event_descriptor(void) {
    return eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
}

int unix_timer_descriptor(int clock) {
    return timerfd_create(clock, TFD_NONBLOCK | TFD_CLOEXEC);
}

int unix_timer_set(int descriptor, uint64_t nanoseconds) {
    struct itimerspec when = {.it_value = {.tv_sec = (time_t)(nanoseconds / 1000000000), .tv_nsec = (long)(nanoseconds % 1000000000)}};
    // Timers of other clocks cannot be cancelled and ignore the second flag.
    return timerfd_settime(descriptor, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &when, NULL);
}

int unix_pidfd_open(int pid) {
    return (int)syscall(SYS_pidfd_open, pid, 0);
}

int unix_socket_cookie(int pidfd, int number, uint64_t *cookie) {
    int descriptor = (int)syscall(SYS_pidfd_getfd, pidfd, number, 0);
    if (descriptor < 0) return -1;
    socklen_t length = sizeof *cookie;
    int status = getsockopt(descriptor, SOL_SOCKET, SO_COOKIE, cookie, &length);
    int error = errno;
    close(descriptor);
    errno = error;
    return status;
}

static int send_descriptor(int descriptor, int passed) {
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    memset(&control, 0, sizeof control);
    struct msghdr message = {.msg_control = &control, .msg_controllen = sizeof control};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &passed, sizeof passed);
    return sendmsg(descriptor, &message, MSG_NOSIGNAL) < 0 ? -1 : 0;
}

int unix_send_sealed(int descriptor, const void *bytes, size_t length) {
    int memory = memfd_create("sallyport-record", MFD_ALLOW_SEALING | MFD_CLOEXEC);
    if (memory < 0) return -1;
    size_t written = 0;
    int status = 0;
    while (status == 0 && written < length) {
        ssize_t count = write(memory, (const char *)bytes + written, length - written);
        if (count > 0) written += (size_t)count;
        else if (count < 0 && errno != EINTR) status = -1;
    }
    if (status == 0) status = fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
    if (status == 0) status = send_descriptor(descriptor, memory);
    int error = errno;
    close(memory);
    errno = error;
    return status;
}

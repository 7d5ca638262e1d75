// Unix sockets and descriptors that glibc declares under _GNU_SOURCE only, which Swift does not see, and control
// messages, whose macros it cannot import. Every function answers -1 with errno set where it fails.
#pragma once

#include <stddef.h>
#include <stdint.h>

/// An eventfd(2), non-blocking and close-on-exec.
int unix_event_descriptor(void);

/// A timerfd(2) of a clock (CLOCK_BOOTTIME, CLOCK_REALTIME), non-blocking and close-on-exec.
int unix_timer_descriptor(int clock);

/// Has a timer go off at an absolute time of its clock in nanoseconds, 0 for never; one of CLOCK_REALTIME also where somebody
/// sets the clock (its read then fails with ECANCELED).
int unix_timer_set(int descriptor, uint64_t nanoseconds);

/// A pidfd(2) of a process; -1 where there is none.
int unix_pidfd_open(int pid);

/// The SO_COOKIE of a socket that is descriptor `number` in the process behind `pidfd`; that process's permission is not
/// asked, CAP_SYS_PTRACE is (pidfd_getfd(2)).
int unix_socket_cookie(int pidfd, int number, uint64_t *cookie);

/// Sends `length` bytes as a sealed memfd in the control message of an empty datagram on the connected socket
/// `descriptor`: the form that journald's native protocol has for records larger than a datagram.
int unix_send_sealed(int descriptor, const void *bytes, size_t length);

// Unix sockets and descriptors that glibc declares under _GNU_SOURCE only, which Swift does not see, and control
// messages, whose macros it cannot import. Every function answers -1 with errno set where it fails.
#pragma once

#include <stddef.h>
#include <stdint.h>

/// An eventfd(2), non-blocking and close-on-exec.
int unix_event_descriptor(void);

/// Sends `length` bytes as a sealed memfd in the control message of an empty datagram on the connected socket
/// `descriptor`: the form that journald's native protocol has for records larger than a datagram.
int unix_send_sealed(int descriptor, const void *bytes, size_t length);

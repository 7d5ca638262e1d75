// The seccomp program of a confined agent: what could carry a packet past the rules of table inet sallyport, or the agent
// out of its cgroup. Everything else passes; this is no sandbox for files.
//
// A call is refused with EPERM, so that a program sees an ordinary error. Calls of another architecture, and x32 calls,
// whose numbers mean something else, end the process.
#define _GNU_SOURCE
#include "CConfinement.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define NATIVE_ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define NATIVE_ARCHITECTURE AUDIT_ARCH_AARCH64
#else
#error "the seccomp program knows x86-64 and arm64"
#endif

// Every flag that makes a new namespace (linux/sched.h). CLONE_NEWTIME shares a bit with the exit signal of clone(2).
#define NEW_NAMESPACE                                                                                                  \
    (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET)

// socket(2) takes flags in the same word as the type.
#define SOCKET_TYPE_MASK 0xf

#define LOAD(member) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, member))
// The low and the high half of an argument; both architectures are little-endian.
#define LOAD_ARGUMENT(index) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[index]))
#define MASK(bits) BPF_STMT(BPF_ALU | BPF_AND | BPF_K, (bits))
#define RETURN(action) BPF_STMT(BPF_RET | BPF_K, (action))
#define PASS RETURN(SECCOMP_RET_ALLOW)
#define REFUSE RETURN(SECCOMP_RET_ERRNO | EPERM)
#define KILL RETURN(SECCOMP_RET_KILL_PROCESS)
// Skips the next `count` statements unless the loaded word is `value`.
#define UNLESS_EQUAL_SKIP(value, count) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), 0, (count))
// Refuses the call `number`, whatever its arguments. The number is in the accumulator before and after.
#define REFUSE_CALL(number) UNLESS_EQUAL_SKIP((number), 1), REFUSE

static const struct sock_filter program[] = {
    LOAD(arch),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, NATIVE_ARCHITECTURE, 1, 0),
    KILL,
    LOAD(nr),
#if defined(__x86_64__)
    // __X32_SYSCALL_BIT and everything above; -1 is what a tracer leaves to skip a call.
    BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1),
    KILL,
#endif

    // Packets that no socket layer sees.
    REFUSE_CALL(SYS_io_uring_setup),
    REFUSE_CALL(SYS_io_uring_enter),
    REFUSE_CALL(SYS_io_uring_register),
    REFUSE_CALL(SYS_bpf),

    // Sockets of others; keys of others; programs that pause the kernel.
    REFUSE_CALL(SYS_pidfd_getfd),
    REFUSE_CALL(SYS_add_key),
    REFUSE_CALL(SYS_request_key),
    REFUSE_CALL(SYS_keyctl),
    REFUSE_CALL(SYS_userfaultfd),
    REFUSE_CALL(SYS_perf_event_open),

    // Out of the namespaces that hide the cgroups and our sockets.
    REFUSE_CALL(SYS_setns),
    REFUSE_CALL(SYS_chroot),
    REFUSE_CALL(SYS_pivot_root),
    REFUSE_CALL(SYS_mount),
    REFUSE_CALL(SYS_umount2),
    REFUSE_CALL(SYS_open_tree),
    REFUSE_CALL(SYS_move_mount),
    REFUSE_CALL(SYS_fsopen),
    REFUSE_CALL(SYS_fspick),
    REFUSE_CALL(SYS_mount_setattr),
    REFUSE_CALL(SYS_open_by_handle_at),

    // unshare(flags): no new namespace of any kind. A user namespace would give every capability inside it.
    UNLESS_EQUAL_SKIP(SYS_unshare, 4),
    LOAD_ARGUMENT(0),
    BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, NEW_NAMESPACE | CLONE_NEWTIME, 0, 1),
    REFUSE,
    PASS,

    // clone(flags, ...): the same.
    UNLESS_EQUAL_SKIP(SYS_clone, 4),
    LOAD_ARGUMENT(0),
    BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, NEW_NAMESPACE, 0, 1),
    REFUSE,
    PASS,

    // clone3 keeps its flags in memory, which cannot be read here; ENOSYS sends the C library to clone.
    UNLESS_EQUAL_SKIP(SYS_clone3, 1),
    RETURN(SECCOMP_RET_ERRNO | ENOSYS),

    // ioctl(_, TIOCSTI or TIOCLINUX, _): typing into the operator's terminal.
    UNLESS_EQUAL_SKIP(SYS_ioctl, 6),
    LOAD_ARGUMENT(1),
    UNLESS_EQUAL_SKIP(TIOCSTI, 1),
    REFUSE,
    UNLESS_EQUAL_SKIP(TIOCLINUX, 1),
    REFUSE,
    PASS,

    // socketpair(domain, ...): Unix sockets.
    UNLESS_EQUAL_SKIP(SYS_socketpair, 4),
    LOAD_ARGUMENT(0),
    UNLESS_EQUAL_SKIP(AF_UNIX, 1),
    PASS,
    REFUSE,

    // socket(domain, type, protocol): Unix, and IPv4 and IPv6 but for raw sockets, and route queries of netlink, which the
    // C library needs to list addresses. Every other family has a way of its own to the wire (packet, vsock, xdp, can, ...).
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 1, 0),
    PASS,
    LOAD_ARGUMENT(0),
    UNLESS_EQUAL_SKIP(AF_UNIX, 1),
    PASS,
    UNLESS_EQUAL_SKIP(AF_NETLINK, 4),
    LOAD_ARGUMENT(2),
    UNLESS_EQUAL_SKIP(NETLINK_ROUTE, 1),
    PASS,
    REFUSE,
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_INET, 2, 0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_INET6, 1, 0),
    REFUSE,
    LOAD_ARGUMENT(1),
    MASK(SOCKET_TYPE_MASK),
    UNLESS_EQUAL_SKIP(SOCK_STREAM, 1),
    PASS,
    UNLESS_EQUAL_SKIP(SOCK_DGRAM, 1),
    PASS,
    REFUSE,
};

int confinement_install_filter(void) {
    struct sock_fprog filter = {
        .len = sizeof program / sizeof program[0],
        // The kernel copies the program and takes it as read-only; its header does not say so.
        .filter = (struct sock_filter *)program,
    };
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter);
}

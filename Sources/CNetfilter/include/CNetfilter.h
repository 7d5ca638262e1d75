// Every kernel header that Sallyport speaks through, and the few shims that their macros and GNU extensions need. No logic.
//
// <netinet/in.h> comes before anything of <linux/...>: linux/libc-compat.h then leaves its own copies of the address
// structures out, and the module agrees with Swift's Glibc.
#pragma once
#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netfilter/x_tables.h>
#include <linux/netfilter/xt_NFQUEUE.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>

/// `struct mmsghdr`, which <sys/socket.h> shows under _GNU_SOURCE only.
struct datagram_slot {
    struct msghdr header;
    /// The datagram's length as the kernel had it, set by `receive_datagrams`.
    unsigned int byte_count;
};

/// recvmmsg(2): up to `count` datagrams at once; how many, or -1 with errno. `flags` as for recvmsg.
int receive_datagrams(int descriptor, struct datagram_slot *slots, unsigned int count, int flags);

/// Where `tcpi_bytes_acked` lies in the kernel's `struct tcp_info` (linux/tcp.h; glibc's copy of it ends earlier).
extern const size_t tcp_info_bytes_acked_offset;

/// open_by_handle_at(2) of a kernfs node (FILEID_KERNFS, 0xfe) by its 64-bit id, with O_PATH; -1 with errno.
int open_kernfs_node(int mount_descriptor, uint64_t identifier);

/// unshare(2) for the calling thread alone: a new network namespace.
int enter_new_network_namespace(void);

/// setns(2) for the calling thread alone, to the network namespace that the descriptor names.
int enter_network_namespace(int descriptor);

/// unshare(2) for the calling thread alone: a mount namespace of its own, from which nothing propagates back. The thread's
/// working directory is then its own too, for good: use a thread that ends.
int enter_private_mount_namespace(void);

/// mount(2) of a file system without a device and without data.
int mount_filesystem(const char *type, const char *target);

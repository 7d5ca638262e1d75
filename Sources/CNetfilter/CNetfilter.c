#define _GNU_SOURCE
#include "CNetfilter.h"

#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>

_Static_assert(sizeof(struct datagram_slot) == sizeof(struct mmsghdr), "datagram_slot is mmsghdr");
_Static_assert(offsetof(struct datagram_slot, byte_count) == offsetof(struct mmsghdr, msg_len),
               "datagram_slot is mmsghdr");

int receive_datagrams(int descriptor, struct datagram_slot *slots, unsigned int count, int flags) {
    return recvmmsg(descriptor, (struct mmsghdr *)slots, count, flags, NULL);
}

// A struct file_handle with room for one kernfs id: kernel fs/kernfs/mount.c, kernfs_fh_to_dentry.
enum { FILEID_KERNFS = 0xfe };
union kernfs_handle {
    struct file_handle handle;
    unsigned char bytes[sizeof(struct file_handle) + sizeof(uint64_t)];
};

int open_kernfs_node(int mount_descriptor, uint64_t identifier) {
    union kernfs_handle node;
    memset(&node, 0, sizeof node);
    node.handle.handle_bytes = sizeof identifier;
    node.handle.handle_type = FILEID_KERNFS;
    memcpy(node.handle.f_handle, &identifier, sizeof identifier);
    return open_by_handle_at(mount_descriptor, &node.handle, O_PATH | O_CLOEXEC);
}

int enter_new_network_namespace(void) { return unshare(CLONE_NEWNET); }

int enter_network_namespace(int descriptor) { return setns(descriptor, CLONE_NEWNET); }

int enter_private_mount_namespace(void) {
    if (unshare(CLONE_FS | CLONE_NEWNS) < 0) return -1;
    return mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
}

int mount_filesystem(const char *type, const char *target) { return mount(type, target, type, 0, NULL); }

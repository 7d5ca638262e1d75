#define _GNU_SOURCE
#include "CConfinement.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <linux/landlock.h>
#include <linux/securebits.h>
#include <sched.h>
#include <stddef.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

int confinement_unshare_mounts(void) {
    if (unshare(CLONE_NEWNS) < 0) return -1;
    return mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL);
}

int confinement_mount_tmpfs(const char *target, const char *options) {
    return mount("tmpfs", target, "tmpfs", MS_NOSUID | MS_NODEV, options);
}

int confinement_bind(const char *source, const char *target) {
    return mount(source, target, NULL, MS_BIND | MS_REC, NULL);
}

int confinement_open_place(const char *path) {
    return open(path, O_PATH | O_CLOEXEC);
}

int confinement_make_read_only(const char *target) {
    return mount(NULL, target, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
}

int confinement_join_empty_keyring(void) {
    if (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL) < 0 && errno != ENOSYS) return -1;
    return 0;
}

int confinement_close_from(unsigned int first) {
    return (int)syscall(SYS_close_range, first, ~0U, 0);
}

int confinement_socket_family(int descriptor) {
    int family = -1;
    socklen_t length = sizeof family;
    if (getsockopt(descriptor, SOL_SOCKET, SO_DOMAIN, &family, &length) < 0) return -1;
    return family;
}

int confinement_drop_bounding_set(void) {
    // The kernel answers EINVAL past its last capability; 64 is the most that two words hold.
    for (unsigned long capability = 0; capability < 64; capability++) {
        if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0) {
            if (errno == EINVAL && capability > 0) break;
            return -1;
        }
    }
    return prctl(
        PR_SET_SECUREBITS,
        SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE
            | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED,
        0, 0, 0);
}

int confinement_become(uint32_t uid, uint32_t gid, const uint32_t *groups, int group_count) {
    if (setgroups((size_t)group_count, groups) < 0) return -1;
    if (setresgid(gid, gid, gid) < 0) return -1;
    return setresuid(uid, uid, uid);
}

int confinement_clear_capabilities(void) {
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0) return -1;
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3];
    memset(none, 0, sizeof none);
    return (int)syscall(SYS_capset, &header, none);
}

int confinement_set_no_new_privileges(void) {
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

// struct landlock_ruleset_attr of Linux 6.12; Debian 12's header ends after the first member. The kernel takes a size.
struct ruleset_attributes {
    uint64_t handled_access_fs;
    uint64_t handled_access_net;
    uint64_t scoped;
};

enum {
    scope_abstract_unix_socket = 1 << 0,
    scope_signal = 1 << 1,
    access_fs_refer = 1 << 13,
};

// A Landlock domain of any kind keeps its processes from tracing those outside (Documentation/userspace-api/landlock.rst,
// "Ptrace restrictions"); that is what is wanted here. Since a rule set must restrict something, kernels before version 6
// are told to handle renames between directories, and to allow them everywhere.
int confinement_isolate(void) {
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (version < 0) return -1;
    if (version < 2) {
        // Version 1 refuses renames between directories whatever the rules say, which breaks ordinary programs.
        errno = ENOSYS;
        return -1;
    }
    struct ruleset_attributes attributes = {0};
    size_t size = offsetof(struct ruleset_attributes, handled_access_net);
    if (version >= 6) {
        attributes.scoped = scope_abstract_unix_socket | scope_signal;
        size = sizeof attributes;
    } else {
        attributes.handled_access_fs = access_fs_refer;
    }
    int rules = (int)syscall(SYS_landlock_create_ruleset, &attributes, size, 0);
    if (rules < 0) return -1;
    int result = 0;
    if (attributes.handled_access_fs != 0) {
        struct landlock_path_beneath_attr everywhere = {.allowed_access = access_fs_refer};
        everywhere.parent_fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
        result = everywhere.parent_fd;
        if (result >= 0) {
            result = (int)syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &everywhere, 0);
            close(everywhere.parent_fd);
        }
    }
    if (result >= 0) result = (int)syscall(SYS_landlock_restrict_self, rules, 0);
    int error = errno;
    close(rules);
    errno = error;
    return result < 0 ? -1 : (int)version;
}

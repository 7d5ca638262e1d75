// System calls that confine the calling process and that Swift cannot reach: variadic ones, ones without a wrapper in
// glibc, and the seccomp program, which is a table of macros. Every function returns 0 or a count on success and -1 with
// `errno` set otherwise. No decisions are taken here but those of the seccomp program.
#pragma once

#include <stdint.h>

/// Gives the caller a mount namespace of its own in which mounts of the host still arrive and none leave.
int confinement_unshare_mounts(void);

/// Mounts an empty tmpfs on `target`; `options` are tmpfs(5)'s. nosuid and nodev.
int confinement_mount_tmpfs(const char *target, const char *options);

/// Binds `source` with everything mounted below it on `target`.
int confinement_bind(const char *source, const char *target);

/// A descriptor that names `path` and survives whatever is mounted over it; close it.
int confinement_open_place(const char *path);

/// Makes the mount at `target` read-only, in this namespace only.
int confinement_make_read_only(const char *target);

/// Gives the caller an empty session keyring in place of the one it inherited (keyrings(7)). A kernel without keyrings
/// is a success.
int confinement_join_empty_keyring(void);

/// Closes every descriptor from `first` on.
int confinement_close_from(unsigned int first);

/// The address family of the socket `descriptor`, or -1 where it is no socket.
int confinement_socket_family(int descriptor);

/// Takes every capability out of the bounding set and locks the bits that give uid 0 none (capabilities(7)).
int confinement_drop_bounding_set(void);

/// Sets the real, effective and saved uid and gid, and nothing but `groups` as supplementary groups.
int confinement_become(uint32_t uid, uint32_t gid, const uint32_t *groups, int group_count);

/// Empties the effective, permitted, inheritable and ambient sets.
int confinement_clear_capabilities(void);

/// No program that is executed from now on gains a privilege (`PR_SET_NO_NEW_PRIVS`).
int confinement_set_no_new_privileges(void);

/// Separates the caller from every process outside: no ptrace, no `/proc/PID/mem`, and, from Landlock 6 on, no signals and
/// no abstract Unix sockets. Files are not restricted. Returns the kernel's Landlock version, or -1 where it has none that
/// can do this (ENOSYS, EOPNOTSUPP).
int confinement_isolate(void);

/// Installs the seccomp program for the rest of the process's life and that of everything it starts. Needs no_new_privs.
int confinement_install_filter(void);

// One attempt to get out of a confinement, and what the kernel said: prints `ok`, the name of the error, or the name of
// the signal that ended it.
//
// usage: confinement-probe ATTEMPT [ARGUMENT]
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *argument = "";

static long ring_setup(void) {
    uint32_t parameters[30] = {0}; // struct io_uring_params
    return syscall(SYS_io_uring_setup, 4, parameters);
}
static long packet(void) { return socket(AF_PACKET, SOCK_RAW, 0); }
static long packet_type(void) { return socket(AF_INET, SOCK_PACKET, 0); }
static long raw4(void) { return socket(AF_INET, SOCK_RAW, IPPROTO_UDP); }
static long raw6(void) { return socket(AF_INET6, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_UDP); }
static long vsock(void) { return socket(AF_VSOCK, SOCK_STREAM, 0); }
static long algorithm(void) { return socket(AF_ALG, SOCK_SEQPACKET, 0); }
static long diag(void) { return socket(AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG); }
static long route(void) { return socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE); }
static long stream(void) { return socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, IPPROTO_TCP); }
static long datagram(void) { return socket(AF_INET, SOCK_DGRAM, 0); }
static long pair(void) {
    int ends[2];
    return socketpair(AF_UNIX, SOCK_STREAM, 0, ends);
}
static long user_namespace(void) { return unshare(CLONE_NEWUSER); }
static long net_namespace(void) { return unshare(CLONE_NEWNET); }
static long join_namespace(void) { return setns(open("/proc/self/ns/net", O_RDONLY), CLONE_NEWNET); }
static long clone_user_namespace(void) {
    long child = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
    if (child == 0) _exit(0);
    return child;
}
static long clone_three(void) { return syscall(SYS_clone3, NULL, 0); }
static long plain_fork(void) {
    long child = fork();
    if (child == 0) _exit(0);
    return child;
}
static long type_into_terminal(void) { return ioctl(open("/dev/null", O_RDONLY), TIOCSTI, "x"); }
static long keys(void) { return syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0); }
static long mark(void) {
    int value = 0x02000000;
    return setsockopt(socket(AF_INET, SOCK_STREAM, 0), SOL_SOCKET, SO_MARK, &value, sizeof value);
}
static long write_file(void) {
    int descriptor = open(argument, O_WRONLY);
    return descriptor < 0 ? -1 : write(descriptor, "0\n", 2);
}
static long read_file(void) { return open(argument, O_RDONLY); }
static long make_directory(void) { return mkdir(argument, 0755); }
static long descriptor_open(void) { return fcntl(atoi(argument), F_GETFD); }
static long become_root(void) { return setuid(0); }
static long mount_over(void) { return mount("none", "/tmp", "tmpfs", 0, NULL); }
static long read_memory(void) {
    // The first page of the program's own image is at the same place in every process that is a copy of this one; here
    // any mapped byte does, so an address that faults (EFAULT) has passed the check for permission.
    char byte;
    struct iovec here = {&byte, 1}, there = {(void *)4096, 1};
    long count = process_vm_readv(atoi(argument), &here, 1, &there, 1, 0);
    return count < 0 && errno == EFAULT ? 0 : count;
}
static long open_memory(void) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%s/mem", argument);
    return open(path, O_RDWR);
}
static long attach(void) { return ptrace(PTRACE_SEIZE, atoi(argument), NULL, NULL); }
static long signal_outside(void) { return kill(atoi(argument), 0); }
static long connect_unix(void) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strncpy(address.sun_path, argument, sizeof address.sun_path - 1);
    return connect(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&address, sizeof address);
}
#if defined(__x86_64__)
static long other_numbers(void) { return syscall(0x40000000 | SYS_getpid); }
static long other_architecture(void) {
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(20L) : "memory", "r8", "r9", "r10", "r11");
    return result;
}
#endif

static const struct {
    const char *name;
    long (*attempt)(void);
} attempts[] = {
    {"io-uring", ring_setup},
    {"packet", packet},
    {"packet-type", packet_type},
    {"raw4", raw4},
    {"raw6", raw6},
    {"vsock", vsock},
    {"alg", algorithm},
    {"netlink-diag", diag},
    {"netlink-route", route},
    {"tcp6", stream},
    {"udp4", datagram},
    {"socketpair", pair},
    {"user-namespace", user_namespace},
    {"net-namespace", net_namespace},
    {"join-namespace", join_namespace},
    {"clone-user-namespace", clone_user_namespace},
    {"clone3", clone_three},
    {"fork", plain_fork},
    {"type-into-terminal", type_into_terminal},
    {"keyring", keys},
    {"mark", mark},
    {"write", write_file},
    {"read", read_file},
    {"mkdir", make_directory},
    {"descriptor", descriptor_open},
    {"become-root", become_root},
    {"mount", mount_over},
    {"read-memory", read_memory},
    {"open-memory", open_memory},
    {"attach", attach},
    {"signal", signal_outside},
    {"connect-unix", connect_unix},
#if defined(__x86_64__)
    {"x32", other_numbers},
    {"int80", other_architecture},
#endif
};

int main(int count, char **words) {
    if (count < 2) return 2;
    if (count > 2) argument = words[2];
    for (size_t index = 0; index < sizeof attempts / sizeof attempts[0]; index++) {
        if (strcmp(attempts[index].name, words[1]) != 0) continue;
        // In a child, because some attempts end the process.
        fflush(stdout);
        pid_t child = fork();
        if (child == 0) {
            errno = 0;
            long result = attempts[index].attempt();
            puts(result >= 0 ? "ok" : strerrorname_np(errno));
            fflush(stdout);
            _exit(0);
        }
        int status = 0;
        if (child < 0 || waitpid(child, &status, 0) != child) return 1;
        if (WIFSIGNALED(status)) printf("SIG%s\n", sigabbrev_np(WTERMSIG(status)));
        return 0;
    }
    fprintf(stderr, "confinement-probe: no attempt %s\n", words[1]);
    return 2;
}

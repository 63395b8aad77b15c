/* Counts the system calls of a running process, as strace would: prints one line for each, with the
 * thread and the call's name, until SIGTERM ends it. The process runs on then. */

#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <linux/ptrace.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

/* Called directly: the headers of the kernel and of the C library do not go together. */
static long trace(long request, pid_t thread, unsigned long at, unsigned long data) {
    return syscall(SYS_ptrace, request, thread, at, data);
}

static volatile sig_atomic_t over;

static void end(int signal) {
    (void)signal;
    over = 1;
}

/* What a gate asks for by name; the others are written by their number. */
static const char *name(long number) {
    switch (number) {
    case SYS_recvfrom: return "recv";
    case SYS_sendto: return "send";
    case SYS_read: return "read";
    case SYS_write: return "write";
    case SYS_writev: return "writev";
    case SYS_pread64: return "pread";
    case SYS_pwritev: return "pwritev";
    case SYS_futex: return "futex";
#ifdef SYS_epoll_wait
    case SYS_epoll_wait: return "epoll";
#endif
    case SYS_epoll_pwait: return "epoll";
    default: return NULL;
    }
}

static void die(const char *what) {
    fprintf(stderr, "calls: %s: ", what);
    perror(NULL);
    exit(1);
}

static void attach(pid_t thread) {
    unsigned long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE;
    if (trace(PTRACE_SEIZE, thread, 0, options) != 0) die("this process may not be traced");
    if (trace(PTRACE_INTERRUPT, thread, 0, 0) != 0) die("a thread cannot be stopped");
    int status;
    if (waitpid(thread, &status, __WALL) != thread) die("a thread does not stop");
    if (trace(PTRACE_SYSCALL, thread, 0, 0) != 0) die("a thread does not go on");
}

static void tell(pid_t thread) {
    struct ptrace_syscall_info info;
    if (trace(PTRACE_GET_SYSCALL_INFO, thread, sizeof info, (unsigned long)&info) <= 0) return;
    if (info.op != PTRACE_SYSCALL_INFO_ENTRY) return;
    const char *known = name((long)info.entry.nr);
    if (known != NULL) printf("%d %s\n", thread, known);
    else printf("%d %llu\n", thread, (unsigned long long)info.entry.nr);
}

int main(int count, char **words) {
    if (count != 2) return 2;
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task", atoi(words[1]));
    DIR *tasks = opendir(path);
    if (tasks == NULL) die("there is no such process");
    for (struct dirent *it; (it = readdir(tasks)) != NULL;) {
        if (it->d_name[0] != '.') attach((pid_t)atoi(it->d_name));
    }
    closedir(tasks);
    struct sigaction action = {.sa_handler = end};
    sigaction(SIGTERM, &action, NULL);
    puts("ready");
    fflush(stdout);
    while (!over) {
        int status;
        pid_t thread = waitpid(-1, &status, __WALL);
        if (thread < 0 && errno == EINTR) continue;
        if (thread < 0) break;
        if (!WIFSTOPPED(status)) continue;
        int signal = WSTOPSIG(status);
        int is_call = signal == (SIGTRAP | 0x80);
        int is_event = status >> 16 != 0;
        if (is_call) tell(thread);
        trace(PTRACE_SYSCALL, thread, 0, is_call || is_event ? 0 : (unsigned long)signal);
    }
    fflush(stdout);
    return 0;
}

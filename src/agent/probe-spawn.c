/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/probe-spawn.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "agent/probe-client.h"
#include "host/privilege.h"

#define SOCKET_FD 3
#define ERROR_FD 4
#define ABOVE_FDS 10
#define ARGS_MAX 12
#define SEND_BUFFER_BYTES (1 << 20)

/* What sonde-probe keeps, and what it needs to give the rest up. */
#define CAPS                                                                                       \
	(SONDE_CAP(CAP_BPF) | SONDE_CAP(CAP_PERFMON) | SONDE_CAP(CAP_NET_ADMIN) |                  \
	 SONDE_CAP(CAP_SYS_PTRACE) | SONDE_CAP(CAP_DAC_READ_SEARCH) | SONDE_CAP(CAP_SETPCAP) |     \
	 SONDE_CAP(CAP_SYS_RESOURCE))

/* Everything that the child needs is made before the fork: behind it only system calls are allowed. */
struct image {
	char path[PATH_MAX];
	char agent_pid[16];
	char journal[256];
	const char *argv[ARGS_MAX];
	const char *envp[2];
};

/* The program in the folder that ours is in. */
static int beside_ourselves(char *buf, size_t size)
{
	ssize_t n = readlink("/proc/self/exe", buf, size);
	char *slash;
	size_t room;

	if (n < 0)
		return -errno;
	if ((size_t)n == size)
		return -ENAMETOOLONG;
	buf[n] = '\0';
	slash = strrchr(buf, '/');
	if (!slash)
		return -ENOENT;
	room = size - (size_t)(slash + 1 - buf);
	if ((size_t)snprintf(slash + 1, room, "sonde-probe") >= room)
		return -ENAMETOOLONG;
	return 0;
}

static int make_image(const struct sonde_probe_client_config *config, struct image *im)
{
	const char *journal = getenv("JOURNAL_STREAM");
	size_t n = 0;
	int r;

	if (config->path) {
		if (strlen(config->path) >= sizeof(im->path))
			return -ENAMETOOLONG;
		(void)snprintf(im->path, sizeof(im->path), "%s", config->path);
	} else {
		r = beside_ourselves(im->path, sizeof(im->path));
		if (r < 0)
			return r;
	}
	(void)snprintf(im->agent_pid, sizeof(im->agent_pid), "%d", (int)getpid());
	im->argv[n++] = "sonde-probe";
	im->argv[n++] = "--agent-pid";
	im->argv[n++] = im->agent_pid;
	if (config->policy) {
		im->argv[n++] = "--policy";
		im->argv[n++] = config->policy;
	}
	if (config->state_dir) {
		im->argv[n++] = "--state";
		im->argv[n++] = config->state_dir;
	}
	if (config->verbose)
		im->argv[n++] = "--verbose";
	im->argv[n] = NULL;
	assert(n < ARGS_MAX);
	if (journal && strlen(journal) < sizeof(im->journal) - sizeof("JOURNAL_STREAM=")) {
		(void)snprintf(im->journal, sizeof(im->journal), "JOURNAL_STREAM=%s", journal);
		im->envp[0] = im->journal;
	}
	return 0;
}

static int place_descriptors(int sock, int error_fd)
{
	int null_fd = open("/dev/null", O_RDONLY);

	/* Out of the way of 0 to 4 first: any of ours may be one of them. */
	sock = fcntl(sock, F_DUPFD, ABOVE_FDS);
	error_fd = fcntl(error_fd, F_DUPFD_CLOEXEC, ABOVE_FDS);
	if (null_fd < 0 || sock < 0 || error_fd < 0)
		return -errno;
	if (dup2(null_fd, STDIN_FILENO) < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0 ||
	    dup2(sock, SOCKET_FD) < 0 || dup3(error_fd, ERROR_FD, O_CLOEXEC) < 0)
		return -errno;
	if (syscall(SYS_close_range, ERROR_FD + 1, ~0U, 0) < 0)
		return -errno;
	return 0;
}

static void reset_signals(void)
{
	sigset_t none;

	for (int sig = 1; sig < NSIG; sig++)
		(void)signal(sig, SIG_DFL);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* In the child. Comes back only when the exec failed; then @error_fd has been told. */
static void execute(const struct image *im, int sock, int error_fd)
{
	int r;

	reset_signals();
	(void)sonde_privilege_pass_on(
		CAPS); /* what is not there is missing later, and said in HELLO */
	r = place_descriptors(sock, error_fd);
	if (r == 0) {
		error_fd = ERROR_FD;
		(void)execve(im->path, (char *const *)im->argv, (char *const *)im->envp);
		r = -errno;
	}
	(void)!write(error_fd, &r, sizeof(r));
}

/* An end of file says that the exec closed the pipe. */
static int read_error(int fd)
{
	int error = 0;
	ssize_t n;

	do
		n = read(fd, &error, sizeof(error));
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return n == (ssize_t)sizeof(error) ? error : 0;
}

/* Room for a burst of records, so that a snapshot is not paced by this process's turns. */
static void widen(int sock)
{
	const int bytes = SEND_BUFFER_BYTES;

	(void)setsockopt(sock, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
}

int sonde_probe_spawn(const struct sonde_probe_client_config *config, int *ret_socket,
		      struct sonde_probe_child *ret)
{
	_cleanup_close_ int ours = -1, theirs = -1, read_fd = -1, write_fd = -1;
	_cleanup_free_ struct image *im = NULL;
	struct sonde_probe_child child = {.pidfd = -1};
	char words[64];
	int pair[2], r;

	assert(config && ret_socket && ret);

	im = calloc(1, sizeof(*im));
	if (!im)
		return -ENOMEM;
	r = make_image(config, im);
	if (r < 0)
		return r;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	ours = pair[0];
	theirs = pair[1];
	widen(theirs);
	if (fcntl(ours, F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	if (pipe2(pair, O_CLOEXEC) < 0)
		return -errno;
	read_fd = pair[0];
	write_fd = pair[1];

	child.pid = fork();
	if (child.pid < 0)
		return -errno;
	if (child.pid == 0) {
		execute(im, theirs, write_fd);
		_exit(127);
	}
	closep(&write_fd);
	write_fd = -1;
	child.pidfd = (int)syscall(SYS_pidfd_open, child.pid, 0);
	r = read_error(read_fd);
	if (r < 0) {
		sonde_probe_reap(&child, 1000, words, sizeof(words));
		return r;
	}
	*ret_socket = TAKE_FD(ours);
	*ret = child;
	return 0;
}

static void describe(int status, char *words, size_t size)
{
	static const char *const codes[] = {
		[0] = "it ended in order",
		[1] = "it met an error, see its log",
		[2] = "its arguments or the policy file are refused, see its log",
		[3] = "it met a message that it does not accept, see its log",
		[4] = "its worker died too often, see its log",
	};

	if (WIFSIGNALED(status))
		(void)snprintf(words, size, "it was killed by signal %d", WTERMSIG(status));
	else if ((size_t)WEXITSTATUS(status) < ELEMENTS_OF(codes))
		(void)snprintf(words, size, "%s", codes[WEXITSTATUS(status)]);
	else
		(void)snprintf(words, size, "it ended with status %d", WEXITSTATUS(status));
}

void sonde_probe_reap(struct sonde_probe_child *child, int timeout_ms, char *words, size_t size)
{
	struct pollfd p;
	int status = 0;

	assert(child && words && size > 0);

	(void)snprintf(words, size, "how is not known");
	if (child->pid <= 0)
		return;
	p = (struct pollfd){.fd = child->pidfd, .events = POLLIN};
	if (child->pidfd < 0 || poll(&p, 1, timeout_ms) <= 0)
		(void)kill(child->pid, SIGKILL);
	while (waitpid(child->pid, &status, 0) < 0)
		if (errno != EINTR)
			goto out;
	describe(status, words, size);
out:
	closep(&child->pidfd);
	*child = (struct sonde_probe_child){.pidfd = -1};
}

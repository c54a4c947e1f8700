/* SPDX-License-Identifier: Apache-2.0 */
#include "probe/keeper.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/netlink.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "host/privilege.h"
#include "probe/bpf-ids.h"
#include "probe/filter.h"
#include "probe/worker.h"

#define FILES_MAX 1024

#define CAPS                                                                                       \
	(SONDE_CAP(CAP_BPF) | SONDE_CAP(CAP_PERFMON) | SONDE_CAP(CAP_NET_ADMIN) |                  \
	 SONDE_CAP(CAP_SYS_PTRACE) | SONDE_CAP(CAP_DAC_READ_SEARCH))

/* What every worker inherits, opened while there is no filter. */
struct inherited {
	int proc_fd;
	int ids_fd;
	int netfilter_fd;
	int sock_diag_fd;
};

static void inherited_done(struct inherited *i)
{
	closep(&i->proc_fd);
	closep(&i->ids_fd);
	closep(&i->netfilter_fd);
	closep(&i->sock_diag_fd);
}

bool sonde_keeper_note_death(struct sonde_keeper_deaths *d, uint64_t now_ns, uint64_t *ret_delay_ns)
{
	uint64_t delay = SONDE_KEEPER_DELAY_MIN_NS;
	uint32_t recent = 0;

	assert(d && ret_delay_ns);

	d->at_ns[d->n++ % SONDE_KEEPER_DEATHS_MAX] = now_ns;
	for (uint32_t i = 0; i < SONDE_KEEPER_DEATHS_MAX && i < d->n; i++)
		recent += now_ns - d->at_ns[i] < SONDE_KEEPER_WINDOW_NS;
	if (recent >= SONDE_KEEPER_DEATHS_MAX)
		return false;
	for (uint32_t i = 1; i < recent; i++)
		delay *= 4;
	*ret_delay_ns = delay < SONDE_KEEPER_DELAY_MAX_NS ? delay : SONDE_KEEPER_DELAY_MAX_NS;
	return true;
}

/*
 * A signal to the agent's whole group (a terminal's ^C, an orderly stop of a
 * service) is the agent's to handle: it drains first, and that takes a probe.
 */
static void leave_signals_to_the_agent(void)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGQUIT, SIGTSTP};

	for (size_t i = 0; i < ELEMENTS_OF(signals); i++)
		(void)signal(signals[i], SIG_IGN);
}

static int die_with_agent(pid_t agent_pid)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		return -errno;
	if (agent_pid > 0 && getppid() != agent_pid) /* it died before the prctl */
		return -ESRCH;
	return 0;
}

static void limit(int resource, rlim_t max)
{
	struct rlimit now, want = {.rlim_cur = max, .rlim_max = max};

	if (getrlimit((__rlimit_resource_t)resource, &now) < 0)
		return;
	if (now.rlim_max < max && setrlimit((__rlimit_resource_t)resource, &want) == 0)
		return; /* raised, by CAP_SYS_RESOURCE */
	if (want.rlim_max > now.rlim_max)
		want.rlim_cur = want.rlim_max = now.rlim_max;
	(void)setrlimit((__rlimit_resource_t)resource, &want);
}

static void set_limits(void)
{
	limit(RLIMIT_CORE, 0);
	limit(RLIMIT_NOFILE, FILES_MAX);
	/* Before 5.11 maps are charged to it; later kernels charge the cgroup. What maps hold is bounded by the policy's peers. */
	limit(RLIMIT_MEMLOCK, RLIM_INFINITY);
}

static int open_ids(const char *state_dir)
{
	_cleanup_close_ int dir_fd = -1;

	dir_fd = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (dir_fd < 0)
		return -errno;
	return sonde_bpf_ids_open(dir_fd);
}

/* What was opened before a failure stays in @i, which its owner releases. */
static int open_inherited(const char *state_dir, struct inherited *i)
{
	i->proc_fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (i->proc_fd < 0)
		return sonde_log_err(-errno, "cannot open /proc");
	if (state_dir) {
		i->ids_fd = open_ids(state_dir);
		if (i->ids_fd < 0)
			return sonde_log_err(i->ids_fd, "cannot open '%s' in the state folder '%s'",
					     SONDE_BPF_IDS_FILE, state_dir);
	}
	/* nfnetlink asks for the opener's capability as well as the sender's: before any is lowered. */
	i->netfilter_fd =
		socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_NETFILTER);
	if (i->netfilter_fd < 0)
		(void)sonde_log_warn(-errno, "no netfilter netlink socket, ignoring");
	i->sock_diag_fd =
		socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_SOCK_DIAG);
	if (i->sock_diag_fd < 0)
		(void)sonde_log_warn(-errno, "no sock_diag netlink socket, ignoring");
	return 0;
}

static int set_up(const struct sonde_keeper_config *config, struct inherited *i)
{
	int r;

	r = die_with_agent(config->agent_pid);
	if (r < 0)
		return sonde_log_err(r, "the agent is gone");
	leave_signals_to_the_agent();
	set_limits();
	r = open_inherited(config->state_dir, i);
	if (r < 0)
		return r;
	r = sonde_privilege_keep(CAPS);
	if (r < 0)
		return sonde_log_err(r, "cannot reduce the capabilities");
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return sonde_log_err(-errno, "cannot forbid core files");
	r = sonde_filter_load(SONDE_FILTER_KEEPER);
	if (r < 0)
		return sonde_log_err(r, "cannot set the seccomp filter");
	return 0;
}

/* Return: the worker's wait status, -errno. */
static int run_worker(const struct sonde_keeper_config *config, const struct inherited *i,
		      uint32_t restarts)
{
	const pid_t keeper_pid = getpid();
	int status;
	pid_t pid;

	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0) {
		const struct sonde_worker_config worker = {
			.collectors = config->collectors,
			.socket = config->socket,
			.proc_fd = i->proc_fd,
			.ids_fd = i->ids_fd,
			.netfilter_fd = i->netfilter_fd,
			.policy = config->policy,
			.restarts = restarts,
			.keeper_pid = keeper_pid,
		};

		_exit(sonde_worker_run(&worker));
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return status;
}

/* Ends of a worker's that another worker would meet too. */
static bool is_final(int status)
{
	int code;

	if (!WIFEXITED(status))
		return false;
	code = WEXITSTATUS(status);
	return code == SONDE_PROBE_EXIT_OK || code == SONDE_PROBE_EXIT_USAGE ||
	       code == SONDE_PROBE_EXIT_PROTOCOL;
}

static void log_death(int status)
{
	if (WIFSIGNALED(status))
		(void)sonde_log_err(0, "worker died of signal %d, everything is detached",
				    WTERMSIG(status));
	else
		(void)sonde_log_err(0, "worker ended with status %d, everything is detached",
				    WEXITSTATUS(status));
}

int sonde_keeper_run(const struct sonde_keeper_config *config)
{
	_cleanup_(inherited_done) struct inherited inherited = {-1, -1, -1, -1};
	struct sonde_keeper_deaths deaths = {0};

	assert(config);

	if (set_up(config, &inherited) < 0)
		return SONDE_PROBE_EXIT_FAILED;
	for (;;) {
		uint64_t delay_ns = 0;
		struct timespec delay;
		int status;

		status = run_worker(config, &inherited, deaths.n);
		if (status < 0)
			(void)sonde_log_err(status, "cannot fork a worker");
		else if (is_final(status))
			return WEXITSTATUS(status);
		else
			log_death(status);
		if (!sonde_keeper_note_death(&deaths, sonde_mono_ns(), &delay_ns))
			break;
		delay = (struct timespec){.tv_sec = (time_t)(delay_ns / SONDE_NS_PER_S),
					  .tv_nsec = (long)(delay_ns % SONDE_NS_PER_S)};
		(void)nanosleep(&delay, NULL);
	}
	(void)sonde_log_err(0, "worker died %d times within %llu s, giving up",
			    SONDE_KEEPER_DEATHS_MAX,
			    (unsigned long long)(SONDE_KEEPER_WINDOW_NS / SONDE_NS_PER_S));
	return SONDE_PROBE_EXIT_GAVE_UP;
}

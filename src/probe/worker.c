/* SPDX-License-Identifier: Apache-2.0 */
#include "probe/worker.h"

#include <assert.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"
#include "collect/kernel-btf.h"
#include "probe/bpf-ids.h"
#include "probe/bpf-try.h"
#include "probe/channel.h"
#include "probe/filter.h"
#include "probe/policy.h"
#include "probe/serve.h"

static int send_reply(void *ctx, const struct sonde_probe_reply *reply)
{
	return sonde_channel_send(ctx, reply);
}

/* libbpf's words are for who debugs; what failed is told in PROBE records. */
static _printf_(2, 0) int print_libbpf(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	char line[512];
	int n;

	if (level == LIBBPF_DEBUG || sonde_log_level() < SONDE_LOG_DEBUG)
		return 0;
	n = vsnprintf(line, sizeof(line), fmt, ap);
	if (n <= 0)
		return n;
	line[strcspn(line, "\n")] = '\0';
	sonde_log_debug("%s", line);
	return n;
}

static int end_with_keeper(const struct sonde_worker_config *config)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		return -errno;
	if (getppid() != config->keeper_pid) /* it died before the prctl */
		return -ESRCH;
	return 0;
}

static int timeout_ms(const struct sonde_serve *serve)
{
	uint64_t at = sonde_serve_next_deadline_ns(serve), now = sonde_mono_ns();
	uint64_t ms;

	if (at == UINT64_MAX)
		return -1;
	if (at <= now)
		return 0;
	ms = (at - now) / SONDE_NS_PER_MS + 1;
	return ms > INT_MAX ? INT_MAX : (int)ms;
}

static int say_hello(const struct sonde_worker_config *config, struct sonde_serve *serve)
{
	struct sonde_probe_hello hello = {
		.worker_pid = (uint32_t)getpid(),
		.keeper_pid = (uint32_t)config->keeper_pid,
		.restarts = config->restarts,
	};
	int r;

	r = sonde_bpf_try(config->btf_own, config->btf_external, hello.missing,
			  sizeof(hello.missing));
	if (r < 0) {
		hello.bpf_error = (uint32_t)-r;
		sonde_log_warn(r, "BPF is refused, missing: %s; no task can run", hello.missing);
	}
	return sonde_serve_hello(serve, &hello);
}

/* Return: exit status. */
static int fail(int error, const char *what)
{
	if (error == -EPIPE)
		return SONDE_PROBE_EXIT_OK; /* the agent is gone: nothing is wrong */
	(void)sonde_log_err(error, "%s, detaching", what);
	return SONDE_PROBE_EXIT_FAILED;
}

int sonde_worker_loop(const struct sonde_worker_config *config, struct sonde_serve *serve)
{
	struct sonde_probe_request request;
	uint64_t last_id = 0;
	const char *why;
	size_t n;
	int r;

	assert(config && serve);

	r = sonde_channel_drain(config->socket);
	if (r < 0)
		return fail(r, "cannot drop the requests to the last worker");
	r = say_hello(config, serve);
	if (r < 0)
		return fail(r, "cannot greet the agent");
	for (;;) {
		r = sonde_channel_receive(config->socket, timeout_ms(serve), &request, &n);
		if (r < 0)
			return fail(r, "cannot read requests");
		if (r > 0 && sonde_probe_request_check(&request, n, last_id, &why) < 0) {
			(void)sonde_log_err(
				0, "request refused: %s (%zu bytes), detaching and ending", why, n);
			return SONDE_PROBE_EXIT_PROTOCOL;
		}
		if (r > 0) {
			last_id = request.id;
			r = sonde_serve_request(serve, &request, sonde_mono_ns());
			if (r < 0)
				return fail(r, "cannot answer the agent");
		}
		r = sonde_serve_deadlines(serve, sonde_mono_ns());
		if (r < 0)
			return fail(r, "cannot tell the agent that a task ended");
	}
}

/*
 * The external BTF file, held open: what is read later is what was checked. *@ret: -1 = the policy names none, or it
 * is refused, which is told and costs what only it could give.
 */
static int open_btf(const struct sonde_policy *policy)
{
	const char *path = sonde_policy_btf_external(policy);
	_cleanup_free_ char *words = NULL;
	_cleanup_close_ int fd = -1;
	struct stat st;
	int r;

	if (!path)
		return -1;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	r = fd < 0 ? -errno : sonde_policy_check_file(fd, path, &words);
	if (r == 0 && fstat(fd, &st) < 0)
		r = -errno;
	if (r == 0 && st.st_size > (off_t)SONDE_KERNEL_BTF_MAX)
		r = -EFBIG;
	if (r == 0)
		return TAKE_FD(fd);
	(void)sonde_log_err(r, "btf.external is refused: %s", words ? words : path);
	return -1;
}

int sonde_worker_run(const struct sonde_worker_config *given)
{
	struct sonde_worker_config copy = *given, *config = &copy;
	_cleanup_close_ int btf_fd = -1;
	char btf_path[32];
	_cleanup_(sonde_policy_freep) struct sonde_policy *policy = NULL;
	_cleanup_(sonde_serve_freep) struct sonde_serve *serve = NULL;
	_cleanup_free_ char *words = NULL;
	struct sonde_channel channel = {.sock = config->socket};
	struct sonde_serve_config serve_config;
	struct sonde_bpf_proved proved;
	size_t ids;
	int r;

	r = end_with_keeper(config);
	if (r < 0)
		return fail(r, "the keeper is gone");
	r = sonde_policy_load(config->policy, &policy, &words);
	if (r < 0) {
		(void)sonde_log_err(words ? 0 : r, "policy is refused: %s",
				    words	     ? words
				    : config->policy ? config->policy
						     : SONDE_POLICY_FILE);
		return SONDE_PROBE_EXIT_USAGE;
	}
	config->btf_own = sonde_policy_btf_own(policy);
	btf_fd = open_btf(policy);
	(void)snprintf(btf_path, sizeof(btf_path), "/proc/self/fd/%d", btf_fd);
	config->btf_external = btf_fd < 0 ? NULL : btf_path;
	if (config->ids_fd >= 0 && sonde_bpf_ids_tidy(config->ids_fd, &ids, &proved) < 0)
		(void)sonde_log_warn(0, "cannot write '%s' in the state folder, ignoring",
				     SONDE_BPF_IDS_FILE);
	libbpf_set_print(print_libbpf);
	r = sonde_filter_load(SONDE_FILTER_WORKER);
	if (r < 0)
		return fail(r, "cannot set the seccomp filter");

	serve_config = (struct sonde_serve_config){
		.collectors = config->collectors,
		.policy = policy,
		.btf_own = config->btf_own,
		.btf_external = config->btf_external,
		.proc_fd = config->proc_fd,
		.ids_fd = config->ids_fd,
		.netfilter_fd = config->netfilter_fd,
		.send = send_reply,
		.ctx = &channel,
	};
	r = sonde_serve_new(&serve_config, &serve);
	if (r < 0)
		return fail(r, "out of memory");
	return sonde_worker_loop(config, serve);
}

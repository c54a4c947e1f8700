/* SPDX-License-Identifier: Apache-2.0 */
#include "probe/serve-state.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "host/exe.h"
#include "host/listeners.h"
#include "host/pidfile.h"
#include "host/privilege.h"
#include "host/proc.h"
#include "probe/bpf-ids.h"

#define PIDS_MAX 65536

int serve_list_pids(struct sonde_serve *s, const struct sonde_probe_request *q, uint64_t now_ns,
		    struct serve_answer *a)
{
	_cleanup_free_ uint32_t *pids = NULL;
	size_t n = 0;
	int r;

	r = sonde_pidfile_list(s->config.proc_fd, PIDS_MAX, &pids, &n);
	if (r < 0 && r != -ENOSPC)
		return r;
	a->numbers[0] = r == -ENOSPC; /* cut */
	for (size_t at = 0; at < n;) {
		struct sonde_probe_reply reply = {.type = SONDE_PROBE_PID};
		size_t some = n - at;

		if (some > ELEMENTS_OF(reply.pids.pid))
			some = ELEMENTS_OF(reply.pids.pid);
		reply.pids.n = (uint32_t)some;
		memcpy(reply.pids.pid, pids + at, some * sizeof(*pids));
		at += some;
		r = serve_record(a, &reply);
		if (r < 0)
			return r;
	}
	return 0;
}

int serve_exe(struct sonde_serve *s, const struct sonde_probe_request *q, uint64_t now_ns,
	      struct serve_answer *a)
{
	struct sonde_probe_reply reply = {.type = SONDE_PROBE_EXE_PATH, .exe = {.pid = q->pid}};
	struct sonde_proc_stat stat;
	bool cut;
	int r;

	sonde_pidfile_raise();
	r = sonde_proc_read_stat(s->config.proc_fd, q->pid, &stat);
	sonde_privilege_lower();
	if (r == 0) {
		reply.exe.start_ticks = stat.start_ticks;
		(void)snprintf(reply.exe.comm, sizeof(reply.exe.comm), "%s", stat.comm);
	}
	r = sonde_exe_read(s->config.proc_fd, q->pid, reply.exe.path, sizeof(reply.exe.path), &cut);
	if (r < 0)
		return r;
	reply.exe.cut = cut;
	return serve_record(a, &reply);
}

int serve_listeners(struct sonde_serve *s, const struct sonde_probe_request *q, uint64_t now_ns,
		    struct serve_answer *a)
{
	_cleanup_free_ struct sonde_listener *listeners = NULL;
	struct sonde_listeners_cut cut = {0};
	size_t n = 0;
	int r;

	r = sonde_listeners_scan(s->config.proc_fd, NULL, &listeners, &n, &cut);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		const struct sonde_listener *l = &listeners[i];
		struct sonde_probe_reply reply = {
			.type = SONDE_PROBE_LISTENER,
			.listener =
				{
					.netns = l->netns,
					.netns_inode = l->netns_inode,
					.pid = l->pid,
					.port = l->port,
					.family = l->family,
				},
		};

		memcpy(reply.listener.addr, l->addr, sizeof(l->addr));
		r = serve_record(a, &reply);
		if (r < 0)
			return r;
	}
	a->numbers[0] = cut.processes;
	a->numbers[1] = cut.fds;
	a->numbers[2] = cut.namespaces;
	a->numbers[3] = cut.sockets;
	a->numbers[4] = cut.listeners;
	a->numbers[5] = cut.unreadable;
	return 0;
}

int serve_proof_record(struct serve_answer *a)
{
	struct sonde_serve *s = a->serve;
	struct sonde_probe_reply reply = {.type = SONDE_PROBE_IDLE, .idle = s->noted};
	int r;

	r = sonde_bpf_ids_prove(s->config.ids_fd, SONDE_BPF_IDS_WAIT_NS, &reply.idle);
	if (r < 0)
		return serve_say(a, r, "the proof could not be made");
	return serve_record(a, &reply);
}

int serve_idle_proof(struct sonde_serve *s, const struct sonde_probe_request *q, uint64_t now_ns,
		     struct serve_answer *a)
{
	return serve_proof_record(a);
}

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Probe client: the agent's end of the socketpair to sonde-probe. It starts
 * the keeper, sends fixed-size requests, and gives every record and the end of
 * each request to the caller's functions from the event loop. Never blocks.
 *
 * Requests are answered in order. At most SONDE_PROBE_CLIENT_PENDING_MAX may be
 * unanswered; more are refused with -ENOBUFS. A request that is too late fails
 * with -ETIMEDOUT and what comes for it afterwards is dropped: the worker may
 * have done it, so a caller that gives a task up sends TASK_END for its slot
 * (which is -ENOENT where there was nothing).
 *
 * When the worker died, the keeper forks a new one which has nothing attached
 * and knows no task. Every pending request ends with -EPIPE, then on_restart
 * says so: the caller admits its tasks again (same slots, TARGET_ADD,
 * TASK_START) and writes it in their states; counters start from 0.
 *
 * Loop thread only. Callbacks may send further requests; they may not free the
 * client.
 */

#include <stdint.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

#include "base/cleanup.h"
#include "model/probe-msg.h"

#define SONDE_PROBE_CLIENT_PENDING_MAX 512

struct sonde_probe_client;

struct sonde_probe_client_config {
	const char *path;      /* of sonde-probe; NULL: the one in the folder of /proc/self/exe */
	const char *policy;    /* policy file; NULL: sonde-probe's own default */
	const char *state_dir; /* holds bpf-ids; NULL: ids are not noted */
	uint32_t verbose;      /* 1: debug lines on stderr */
};

/* Unasked messages. Each may be NULL. */
struct sonde_probe_client_handlers {
	/* The first worker is ready; @hello is borrowed. hello->bpf_error != 0: no task can attach, hello->missing says why. */
	void (*on_hello)(void *ctx, const struct sonde_probe_hello *hello);
	/* Another worker is ready after a death. All earlier requests have ended. */
	void (*on_restart)(void *ctx, const struct sonde_probe_hello *hello);
	/* The worker ended a task by itself (10 s after its admitted duration). */
	void (*on_task_ended)(void *ctx, const struct sonde_probe_task_ended *ended);
	/*
	 * The keeper is gone, once. Pending requests have ended with -EPIPE, further ones are refused
	 * with -EPIPE. @words: how it ended, for a log line or a task's state; borrowed.
	 */
	void (*on_gone)(void *ctx, const char *words);
	void *ctx;
};

/* What a request's answer is given to. */
struct sonde_probe_call {
	/* Each record, in order; @reply is borrowed, its size, version, type and texts are checked. May be NULL. */
	void (*on_record)(void *ctx, const struct sonde_probe_reply *reply);
	/*
	 * Exactly once for each accepted request. @error: end->error, or -EPIPE (worker or keeper gone),
	 * -ETIMEDOUT, -ECANCELED (client freed); then @end is NULL. @end is borrowed.
	 */
	void (*on_end)(void *ctx, int error, const struct sonde_probe_end *end);
	void *ctx;
};

/*
 * Starts sonde-probe (fork and exec, fd 3 is its end of the socketpair). Call it
 * before any outside input is read and before sonde_privilege_drop_all() of
 * host/privilege.h. Return: 0, -errno (-ENOENT, -EACCES of the program, …).
 */
int sonde_probe_client_start(const struct sonde_probe_client_config *config,
			     struct sonde_probe_client **ret) _must_check_;

/* Puts it on the loop; replies are read from then on. References @event. Once. Return: 0, -errno. */
int sonde_probe_client_attach(struct sonde_probe_client *c, sd_event *event,
			      struct sonde_probe_client_handlers handlers) _must_check_;

/*
 * Closes the socket, so that worker (which detaches) and keeper end by themselves; waits for the
 * keeper at most 1 s, then kills it. Pending requests end with -ECANCELED. NULL is fine. Returns NULL.
 */
struct sonde_probe_client *sonde_probe_client_free(struct sonde_probe_client *c);
SONDE_DEFINE_CLEANUP(struct sonde_probe_client *, sonde_probe_client_free)

/*
 * sonde_probe_client_request() - send one request, or queue it behind the others
 * @request: borrowed; version and id are filled in here
 * @timeout_ns: from now to its END; 0 = SONDE_PROBE_CLIENT_TIMEOUT_NS
 *
 * Return: 0 (call.on_end comes later, never from within), -ENOBUFS, -EPIPE (keeper gone), -ENOTCONN (not attached).
 */
#define SONDE_PROBE_CLIENT_TIMEOUT_NS 10000000000ULL
int sonde_probe_client_request(struct sonde_probe_client *c,
			       const struct sonde_probe_request *request, uint64_t timeout_ns,
			       struct sonde_probe_call call) _must_check_;

/* The last HELLO, or NULL before the first. Borrowed, until the next turn of the loop. */
const struct sonde_probe_hello *sonde_probe_client_hello(const struct sonde_probe_client *c);

/* Counted since the start. */
struct sonde_probe_client_stats {
	uint64_t requests;
	uint64_t records;
	uint64_t refused; /* -ENOBUFS */
	uint64_t timeouts;
	uint64_t late;	   /* replies to a request that had ended already, dropped */
	uint64_t invalid;  /* replies that failed their check: the client then gives the probe up */
	uint64_t restarts; /* of the worker */
	uint32_t pending;  /* now */
	uint32_t pending_peak;
};
void sonde_probe_client_stats(const struct sonde_probe_client *c,
			      struct sonde_probe_client_stats *ret);

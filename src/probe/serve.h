/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Serve: what the worker does with requests. It holds the admitted tasks, the
 * running collectors and the policy; it knows nothing of forks, filters and
 * capabilities but which to raise for a call. Everything of a request is
 * checked here or before (model/probe-msg.h). One thread.
 *
 * A task: admitted (under the policy, with its targets), started (collectors
 * run), ended by a request or by its deadline: SONDE_SERVE_GRACE_NS after the
 * duration it was admitted for. Admitting an occupied slot again extends it.
 */

#include <stdint.h>

#include "base/cleanup.h"
#include "model/probe-msg.h"

#define SONDE_SERVE_GRACE_NS 10000000000ULL
#define SONDE_SERVE_TARGETS_MAX 256	  /* a task */
#define SONDE_SERVE_PEERS_DEFAULT 4096	  /* of a task that asks for no number */
#define SONDE_SERVE_TARGET_TABLE_MAX 8192 /* of all tasks, with the children that they fork */

struct sonde_collector;
struct sonde_policy;
struct sonde_serve;

struct sonde_serve_config {
	const struct sonde_collector *const *collectors; /* NULL-ended, borrowed */
	const struct sonde_policy *policy;		 /* borrowed */
	const char *btf_own,
		*btf_external; /* paths as struct sonde_kernel_btf_files has them, borrowed */
	int proc_fd;	       /* borrowed */
	int ids_fd;	       /* of sonde_bpf_ids_open(), or -1. Borrowed */
	int netfilter_fd;      /* NETLINK_NETFILTER, or -1. Borrowed */
	/* Takes a complete reply. 0, or -errno, which ends the worker. */
	int (*send)(void *ctx, const struct sonde_probe_reply *reply);
	void *ctx;
};

/* @config: copied. Return: 0, -ENOMEM. */
int sonde_serve_new(const struct sonde_serve_config *config, struct sonde_serve **ret) _must_check_;

/* Detaches everything. NULL is fine. Always returns NULL. */
struct sonde_serve *sonde_serve_free(struct sonde_serve *s);
SONDE_DEFINE_CLEANUP(struct sonde_serve *, sonde_serve_free)

/* Answers one request that passed sonde_probe_request_check(). Return: 0, or -errno of send(). */
int sonde_serve_request(struct sonde_serve *s, const struct sonde_probe_request *request,
			uint64_t now_ns) _must_check_;

/* Ends tasks whose deadline has passed, with a TASK_ENDED each. Return: 0, or -errno of send(). */
int sonde_serve_deadlines(struct sonde_serve *s, uint64_t now_ns) _must_check_;

/* Of the next deadline; UINT64_MAX = none. */
uint64_t sonde_serve_next_deadline_ns(const struct sonde_serve *s);

/* Says HELLO; the caller fills in pids, restarts and what BPF said. Return: as send(). */
int sonde_serve_hello(struct sonde_serve *s, const struct sonde_probe_hello *hello) _must_check_;

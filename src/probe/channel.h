/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Channel: the worker's end of the socketpair to the agent. Requests are
 * whole messages of one size, replies too, of which a packet holds one or
 * several: records are held until a packet is full or the reply that
 * is no record ends them. A packet waits at most SONDE_CHANNEL_SEND_MAX_NS for
 * room: an agent that does not read must not keep hooks attached.
 */

#include <stdint.h>

#include "base/cleanup.h"
#include "model/probe-msg.h"

#define SONDE_CHANNEL_SEND_MAX_NS 5000000000ULL
#define SONDE_CHANNEL_STALE_MAX 4096 /* requests dropped by a new worker */

struct sonde_channel {
	int sock; /* borrowed */
	unsigned int n;
	struct sonde_probe_reply held[SONDE_PROBE_PACKET_MAX];
};

/*
 * Sends @reply behind what is held, or holds it: END, HELLO and TASK_ENDED are never held.
 * Return: 0, -ETIMEDOUT, -EPIPE (the agent is gone), -errno.
 */
int sonde_channel_send(struct sonde_channel *c, const struct sonde_probe_reply *reply) _must_check_;

/*
 * Waits for a request until @timeout_ms (-1: for ever) have passed.
 * *@ret_n: its size as sent, whatever fits is in *@ret. Return: 1, 0 (time), -EPIPE (the agent is gone), -errno.
 */
int sonde_channel_receive(int sock, int timeout_ms, struct sonde_probe_request *ret,
			  size_t *ret_n) _must_check_;

/* Drops what was sent to a worker that died. Return: how many, -EPIPE, -E2BIG (more than the limit), -errno. */
int sonde_channel_drain(int sock) _must_check_;

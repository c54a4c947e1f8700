/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Inquiry: a question to agents over their watches, and their answers gathered:
 * what this machine allows (doctor), what a task would do (plan). Bounded: so
 * many at once, each answered within seconds; an answer counts only from the agent
 * that was asked, under an id that cannot be guessed, once. Loop thread only.
 */

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/backend.h"

#define SONDE_INQUIRIES_MAX 32
#define SONDE_INQUIRY_WAIT_MS 9000 /* less than `sonde` waits for an answer by default */

/* @answers: an array of one object an agent, in the order of the question; borrowed. NULL: the server is going. */
typedef void (*sonde_inquiry_done_fn)(void *ctx, const json_t *answers);

/*
 * @agents, @specs: @n of them; a spec is TaskSpec JSON or "". @done runs exactly once on success, never from within.
 * Return: 0, -ENOSPC (too many inquiries), -ENOMEM.
 */
int sonde_inquiry_start(struct sonde_backend *b, const char *const *agents,
			const char *const *specs, size_t n, sonde_inquiry_done_fn done,
			void *ctx) _must_check_;

/* The agent watches now: it is asked what waits for it. */
void sonde_inquiry_watch_came(struct sonde_backend *b, const char *agent_id);
/* Every second: ends those that waited long enough. */
void sonde_inquiry_tick(struct sonde_backend *b, int64_t now_ms);
/* Ends all. */
void sonde_inquiry_end_all(struct sonde_backend *b);

/* TaskControlService.answer. */
enum sonde_grpc_status sonde_services_plan(void *ctx, struct sonde_grpc_server_call *call,
					   const uint8_t *data, size_t n);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Continuous policy: which thresholds a backend wants watched for a service, out of
 * the JSON of a ContinuousProfilingPolicyQuery command; and a threshold's window.
 * Hostile: bounded, each threshold checked on its own. Pure; one thread.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "model/process.h"

#define SONDE_CONTINUOUS_JSON_MAX (256UL * 1024)
#define SONDE_CONTINUOUS_POLICIES_MAX 256
#define SONDE_CONTINUOUS_UUID_MAX 129 /* an OAP takes SHA-512 in hex for it */
#define SONDE_CONTINUOUS_PERIOD_MAX_S 1024
#define SONDE_CONTINUOUS_WORDS_MAX 200

enum sonde_continuous_monitor {
	SONDE_CONTINUOUS_PROCESS_CPU = 0, /* percent of one core */
	SONDE_CONTINUOUS_PROCESS_THREAD_COUNT,
	SONDE_CONTINUOUS_SYSTEM_LOAD, /* of one minute */
	_SONDE_CONTINUOUS_MONITOR_MAX,
};
/* "PROCESS_CPU", as the policy has it. */
const char *sonde_continuous_monitor_name(enum sonde_continuous_monitor m);

struct sonde_continuous_rule {
	enum sonde_continuous_monitor monitor;
	double threshold;	  /* reached at this value */
	unsigned period_s, count; /* so many of the last period's seconds must reach it */
};

struct sonde_continuous_policy {
	char service[SONDE_PROCESS_NAME_MAX];
	char uuid[SONDE_CONTINUOUS_UUID_MAX]; /* "": there is no policy for it any more */
	struct sonde_continuous_rule
		rules[_SONDE_CONTINUOUS_MONITOR_MAX]; /* that lead to a NETWORK task */
	size_t n_rules;
	char remark
		[SONDE_CONTINUOUS_WORDS_MAX]; /* what of it is not watched and why; "" = nothing */
};

/*
 * The argument ServiceWithPolicyJSON. @ret: malloc'd. @words: why, on -EINVAL.
 * Return: 0, -EINVAL, -ENOMEM.
 */
int sonde_continuous_parse(const char *text, size_t n, struct sonde_continuous_policy **ret,
			   size_t *ret_n, char words[SONDE_CONTINUOUS_WORDS_MAX]) _must_check_;

/* One bit a second. Zeroed: no second reached the threshold. */
struct sonde_continuous_window {
	double threshold; /* that they are held against; negative = none */
	uint64_t bits[SONDE_CONTINUOUS_PERIOD_MAX_S / 64];
	unsigned at;
};

/* @threshold is what the next seconds are held against: those of another one are forgotten. */
void sonde_continuous_window_aim(struct sonde_continuous_window *w, double threshold);
void sonde_continuous_window_push(struct sonde_continuous_window *w, bool reached);
/* Of the last @period_s pushes, 1 to SONDE_CONTINUOUS_PERIOD_MAX_S. */
unsigned sonde_continuous_window_count(const struct sonde_continuous_window *w, unsigned period_s);

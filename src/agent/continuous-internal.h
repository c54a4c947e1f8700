/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the files of continuous profiling share. For this folder only. */

#include "agent/continuous-policy.h"
#include "agent/continuous.h"
#include "skywalking/v3/common.pb-c.h"

#define CONTINUOUS_SILENCES_MAX 256
#define CONTINUOUS_TOLD_MAX 256

/* One process whose service has a policy. */
struct continuous_watched {
	struct sonde_process *process; /* one reference */
	const struct sonde_continuous_policy
		*policy;	  /* borrowed of the list, as long as it stands */
	uint64_t ticks, ticks_ns; /* CPU time at the last look; 0 = none yet */
	struct sonde_continuous_window window[_SONDE_CONTINUOUS_MONITOR_MAX];
	double reached[_SONDE_CONTINUOUS_MONITOR_MAX]; /* the last value that did */
};

struct sonde_continuous {
	struct sonde_continuous_config config;
	sd_event_source *timer;			  /* once a second while anything is watched */
	struct sonde_continuous_policy *policies; /* owned; of all services that have one */
	size_t n_policies;
	struct continuous_watched *watched; /* owned */
	size_t n_watched;
	bool stale; /* the processes or the policies are others than @watched was made of */
	bool asking;
	uint64_t ask_ns;    /* not before */
	uint64_t sample_ns; /* the next second's values */
	uint64_t check_ns;  /* the next look at what they reached */
	struct {
		uint64_t instance; /* hash */
		uint64_t until_ns;
	} silences[CONTINUOUS_SILENCES_MAX];
	size_t silence_at;
	uint64_t told[CONTINUOUS_TOLD_MAX]; /* hashes */
	size_t told_at;
};

/* False: it was said before. */
bool continuous_tell_once(struct sonde_continuous *c, const char *what, const char *more);

/* continuous-watch.c */
/* Makes the list anew out of processes and policies; what was seen of a process stays. */
void continuous_watch(struct sonde_continuous *c);
void continuous_forget(struct sonde_continuous *c);
/* A second's values. */
void continuous_sample(struct sonde_continuous *c);
/* Index of a rule of its policy that is reached, from @from on; -1 = none. */
int continuous_reached(const struct continuous_watched *w, int from);

/* continuous-trigger.c */
/* @w reached a threshold: asks for a task of its instance, unless that is silent. */
void continuous_trigger(struct sonde_continuous *c, const struct continuous_watched *w);

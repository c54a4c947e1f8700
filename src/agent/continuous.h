/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Continuous profiling as an OAP knows it (ContinuousProfilingService): asks for
 * policies of the services here, watches their thresholds once a second by /proc
 * alone, nothing attached, and where one is reached tells the backend. The network
 * task that an OAP names then is run at once; a server with our extension hands it
 * out like any other. Bounded; silent while there is no policy. Loop thread only.
 */

#include <stdint.h>
#include <systemd/sd-event.h>

#include "agent/finder.h"
#include "agent/tasks.h"
#include "base/cleanup.h"
#include "io/grpc-client.h"

#define SONDE_CONTINUOUS_WATCHED_MAX 256 /* processes */

struct sonde_continuous;

struct sonde_continuous_config {
	sd_event *event;		  /* borrowed */
	struct sonde_grpc_client *client; /* borrowed; freed before it */
	struct sonde_finder *finder;	  /* borrowed */
	struct sonde_tasks *tasks;	  /* borrowed */
	const char *agent_id;		  /* borrowed */
	int proc_fd;			  /* borrowed */
	uint64_t poll_ns, deadline_ns;
	uint64_t check_ns;    /* between two looks whether a threshold was reached */
	uint64_t duration_ns; /* of a task */
	uint64_t silence_ns;  /* after a task was asked for, in its instance */
	int64_t interval_ms;  /* of the task's reports */
};

int sonde_continuous_new(const struct sonde_continuous_config *config,
			 struct sonde_continuous **ret) _must_check_;
struct sonde_continuous *sonde_continuous_free(struct sonde_continuous *c);
SONDE_DEFINE_CLEANUP(struct sonde_continuous *, sonde_continuous_free)

/*
 * Asks for policies if it is time to; the answer of queryTasks is when. A server with our extension is asked each time:
 * it has no cache, and tells us to ask when a policy changes.
 */
void sonde_continuous_poll(struct sonde_continuous *c);

/* Processes came, went or got ids. */
void sonde_continuous_processes_changed(struct sonde_continuous *c);

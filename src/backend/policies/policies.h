/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Policies: one a service, which the server keeps: its document, and what has come of it. A change is in force when it is
 * stored. Bounded; ordered by service. What watches thresholds is on the agents' side (services/continuous.c hands them
 * out), what makes tasks is fire.h. Loop thread only.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/hash.h"
#include "backend/policies/document.h"
#include "backend/store/store.h"
#include "backend/tasks/task.h"

#define SONDE_POLICIES_MAX 256	      /* what an agent keeps, too */
#define SONDE_POLICY_WATCHERS_MAX 64  /* of one policy */
#define SONDE_POLICY_WATCHES_MS 60000 /* one that did not ask for so long watches no more */

/* What has come of a threshold or a schedule. */
struct sonde_policy_record {
	uint64_t tasks;		      /* that it led to */
	uint64_t refused;	      /* that could not be made: the last one's words say why */
	uint64_t skipped;	      /* because the task before still ran */
	uint64_t missed;	      /* the server was not there; of a schedule */
	int64_t last_ms;	      /* of any but a missed one; 0: never */
	char task[SONDE_TASK_ID_MAX]; /* of the last one; "" if it led to none */
	char words[SONDE_TASK_WORDS_MAX];
};

struct sonde_policy_schedule {
	char name[SONDE_POLICY_NAME_MAX];
	struct sonde_when when;
	int64_t due_ms; /* all times up to this one are done with */
	struct sonde_policy_record record;
};

/* Who asked for it of late. */
struct sonde_policy_watcher {
	char agent_id[SONDE_SPEC_TEXT_MAX]; /* "": one that does not say, such as a Rover */
	bool current;			    /* it told the present uuid back */
	int64_t seen_ms;
};

struct sonde_policy {
	char service[SONDE_SPEC_TEXT_MAX];
	json_t *document; /* normal form, see document.h; owned */
	char uuid[SONDE_POLICY_UUID_MAX];
	int64_t changed_ms;
	struct sonde_policy_record thresholds; /* of NETWORK */
	struct sonde_policy_schedule schedules[SONDE_POLICY_SCHEDULES_MAX];
	size_t n_schedules;
	struct sonde_policy_watcher *watchers; /* owned */
	size_t n_watchers;
	UT_hash_handle hh;
};

struct sonde_policies;

/* Loads what @store holds; borrows it. Return: 0, -errno. */
int sonde_policies_new(struct sonde_store *store, struct sonde_policies **ret) _must_check_;
/* Behind the store, whose writes come back to it. */
struct sonde_policies *sonde_policies_free(struct sonde_policies *pp);
SONDE_DEFINE_CLEANUP(struct sonde_policies *, sonde_policies_free)

struct sonde_policy *sonde_policies_find(struct sonde_policies *pp, const char *service);
/* By service; walk by hh.next. */
struct sonde_policy *sonde_policies_first(struct sonde_policies *pp);

/*
 * sonde_policies_put() - the whole policy of a service
 * @document: in the normal form, taken
 * @done: runs when it is in force, or not; may be NULL
 *
 * What has come of it so far stays: of its thresholds, and of each schedule whose name it still has; one whose times are
 * others begins anew. Return: 0, -EINVAL with *@problem filled (no room), -ENOMEM.
 */
int sonde_policies_put(struct sonde_policies *pp, const char *service, json_t *document,
		       int64_t now_ms, sonde_store_done_fn done, void *ctx,
		       struct sonde_problem *problem) _must_check_;

/* Of one that is there. Return: as sonde_policies_put(). */
int sonde_policies_delete(struct sonde_policies *pp, const char *service, sonde_store_done_fn done,
			  void *ctx, struct sonde_problem *problem) _must_check_;

/* What has come of @p is other than before: written. */
void sonde_policies_note(struct sonde_policies *pp, const struct sonde_policy *p);

/* An agent asked for it. */
void sonde_policy_watched(struct sonde_policy *p, const char *agent_id, bool current,
			  int64_t now_ms);

/* Its entry of `schedules`. Borrowed. */
const json_t *sonde_policy_schedule_entry(const struct sonde_policy *p,
					  const struct sonde_policy_schedule *s);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Registry: who is there. Agents (last sign of life, properties, whether they
 * hold a watch), the processes that they reported (one a pid), and entities:
 * the names behind process ids, kept longer than the processes so that an old
 * task's topology still has names. Bounded; what does not fit is refused and
 * counted. Changes are written to the store by sonde_registry_tick(). Loop thread only.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "backend/hash.h"
#include "backend/store/store.h"
#include "backend/tasks/spec.h"
#include "mal/id.h"

#define SONDE_REGISTRY_AGENTS_MAX 1000
#define SONDE_REGISTRY_PROCESSES_MAX 50000
#define SONDE_REGISTRY_ENTITIES_MAX 100000
#define SONDE_REGISTRY_NAME_MAX 512		    /* bytes of one name; longer ones are refused */
#define SONDE_REGISTRY_LIVE_MS (60LL * 1000)	    /* pinged within: live */
#define SONDE_REGISTRY_FORGET_MS (15LL * 60 * 1000) /* not pinged for: the process is forgotten */

struct sonde_agent {
	char id[SONDE_SPEC_TEXT_MAX];
	int64_t last_seen_ms, stored_ms;
	unsigned watches;	/* open watch streams */
	int64_t watch_ended_ms; /* when the last of them ended; 0: never */
	int64_t replaced_ms;	/* when a later agent of its host told of itself; 0: never */
	unsigned processes;
	json_t *properties; /* of its instance: object; owned */
	UT_hash_handle hh;
};

struct sonde_process {
	char key[SONDE_SPEC_TEXT_MAX + 16]; /* agent "\n" pid */
	struct sonde_agent *agent;	    /* borrowed */
	int32_t pid;
	char process_id[SONDE_MAL_PROCESS_ID_SIZE];
	char *service, *instance, *name; /* into doc */
	json_t *doc; /* {layer, service, instance, name, labels[], properties{}, kubernetes}; owned */
	int64_t last_seen_ms, stored_ms;
	UT_hash_handle hh;
};

enum sonde_entity_kind {
	SONDE_ENTITY_PROCESS = 0,
	SONDE_ENTITY_ADDRESS, /* a peer that is no process of ours */
	SONDE_ENTITY_OTHER,   /* the overflow cell, and peers of unknown name */
	_SONDE_ENTITY_KIND_MAX,
};
const char *sonde_entity_kind_name(enum sonde_entity_kind k); /* "process", "address", "other" */

struct sonde_entity {
	char id[SONDE_MAL_PROCESS_ID_SIZE];
	enum sonde_entity_kind kind;
	char *service, *instance, *name;
	int64_t seen_ms, stored_ms;
	UT_hash_handle hh;
};

struct sonde_registry;

struct sonde_registry_stats {
	size_t agents, processes, entities;
	uint64_t refused; /* for want of room */
};

/* Loads what @store holds; borrows it. Return: 0, -errno. */
int sonde_registry_new(struct sonde_store *store, struct sonde_registry **ret) _must_check_;
/* Waits for the writes that are under way: the store is freed before it, or lives on. */
struct sonde_registry *sonde_registry_free(struct sonde_registry *r);
SONDE_DEFINE_CLEANUP(struct sonde_registry *, sonde_registry_free)

/* A sign of life. Makes the agent known. Return: 0, -EINVAL (empty or overlong id), -ENOSPC, -ENOMEM. */
int sonde_registry_see_agent(struct sonde_registry *r, const char *agent_id, int64_t now_ms,
			     struct sonde_agent **ret) _must_check_;
struct sonde_agent *sonde_registry_find_agent(struct sonde_registry *r, const char *agent_id);
struct sonde_agent *sonde_registry_agents(struct sonde_registry *r); /* walk by hh.next */
/*
 * @by told of itself: others of its host that hold no watch are agents of before, until they are heard of again.
 * They are forgotten as soon as processes are.
 */
void sonde_registry_replace(struct sonde_registry *r, const struct sonde_agent *by, int64_t now_ms);
bool sonde_agent_replaced(const struct sonde_agent *a);
/* It was replaced; or had a watch, which ended, and nothing was heard since: it ended, or is cut off. */
bool sonde_agent_left(const struct sonde_agent *a);
/* It watches, or was heard of lately and has not left. */
bool sonde_agent_live(const struct sonde_agent *a, int64_t now_ms);
/* One of its watches is over. */
void sonde_registry_watch_ended(struct sonde_agent *a, int64_t now_ms);

struct sonde_process_report {
	const char *layer, *service, *instance, *name;
	int32_t pid;
	bool kubernetes;
	json_t *labels;	    /* array; borrowed */
	json_t *properties; /* object; borrowed */
};

/* Adds or refreshes one. Return: 0, -EINVAL (a name is missing or overlong), -ENOSPC, -ENOMEM, -EOVERFLOW. */
int sonde_registry_report(struct sonde_registry *r, struct sonde_agent *a,
			  const struct sonde_process_report *in, int64_t now_ms,
			  const struct sonde_process **ret) _must_check_;

/* Refreshes all of the agent's processes of that entity. Return: how many. */
unsigned sonde_registry_ping(struct sonde_registry *r, struct sonde_agent *a, const char *service,
			     const char *instance, const char *name, int64_t now_ms);
struct sonde_process *sonde_registry_processes(struct sonde_registry *r); /* walk by hh.next */
/* Pinged lately, by an agent that has not left. */
bool sonde_process_live(const struct sonde_process *p, int64_t now_ms);

/* Does this target name this process? agent_id of the target counts. */
bool sonde_process_matches(const struct sonde_process *p, const struct sonde_spec_target *t);

/* Remembers a name. Never fails loudly: without room the id stays nameless, counted. */
void sonde_registry_note_entity(struct sonde_registry *r, const char *id,
				enum sonde_entity_kind kind, const char *service,
				const char *instance, const char *name, int64_t now_ms);
const struct sonde_entity *sonde_registry_find_entity(struct sonde_registry *r, const char *id);
const struct sonde_entity *sonde_registry_entities(struct sonde_registry *r); /* walk by hh.next */

/*
 * Writes changes now; @done runs once they are stored, at once if there are none. Return: 0, -ENOBUFS, -ENOMEM
 * (then @done does not run, and the changes are written later).
 */
int sonde_registry_store(struct sonde_registry *r, sonde_store_done_fn done,
			 void *ctx) _must_check_;

/* Writes changes, forgets old processes, and entities not seen for @retention_ms. */
void sonde_registry_tick(struct sonde_registry *r, int64_t now_ms, int64_t retention_ms);

void sonde_registry_get_stats(const struct sonde_registry *r, struct sonde_registry_stats *ret);

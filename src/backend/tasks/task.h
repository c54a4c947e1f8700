/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Task: one task as the server knows it: its spec, the time line, and for each
 * agent that has a part in it that agent's state, last report and what has come
 * of its reports. The task's state follows from its agents': a start on one is
 * a start, it ends when all have ended. What the server concludes by itself
 * (expired, vanished) is marked inferred, and the agent's own word replaces it. Loop thread only.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "backend/hash.h"
#include "backend/tasks/ranges.h"
#include "backend/tasks/refusals.h"
#include "backend/tasks/spec.h"
#include "model/task.h"

#define SONDE_TASK_AGENTS_MAX 64
#define SONDE_TASK_STATES_MAX 256 /* entries of the time line; later ones replace the last */
#define SONDE_TASK_WORDS_MAX 320

struct sonde_task_agent {
	char id[SONDE_SPEC_TEXT_MAX];
	enum sonde_task_state state;
	bool inferred;		/* the state is the server's conclusion */
	bool ended;		/* its report with the end flag has come */
	bool dropped_history;	/* it said that earlier reports were dropped */
	int64_t update_ms;	/* TaskUpdateTime of its command */
	int64_t handed_out_ms;	/* 0: never */
	int64_t started_ms;	/* running since, by its own clock; 0: not yet */
	int64_t last_report_ms; /* by our clock; 0: none */
	int64_t late_ms;	/* longest from a window's end to its report's arrival */
	uint64_t duplicates;
	uint64_t refused; /* reports with sequences that no range had room for */
	struct sonde_ranges sequences;
	char words[SONDE_TASK_WORDS_MAX];
	char reason_code[SONDE_TASK_CODE_MAX]; /* of its end */
	/* as last reported, in the REST contract's form; owned, NULL until then */
	json_t *targets, *probes, *ledger, *cost, *absent, *idle_proof, *namespaces;
	json_t *flows; /* sums of those that are not stored one by one; see services/flows.c */
};

struct sonde_task {
	struct sonde_spec *spec; /* owned; duration grows by an extension */
	enum sonde_task_state state;
	char reason[SONDE_TASK_WORDS_MAX];
	char reason_code[SONDE_TASK_CODE_MAX]; /* of the agent that decided; "" if it gave none */
	int64_t created_ms, started_ms, ended_ms;
	int64_t imported_ms; /* from another server's bundle; 0: it is our own */
	bool extended;	     /* at least once: who watches anew is told the end */
	bool unwritten;	     /* newer here than on disk: written by a later tick, see table.c */
	bool stop_asked;
	int64_t stop_asked_ms;
	char stop_reason[SONDE_TASK_WORDS_MAX];
	json_t *trigger;			/* see policies/fire.h; NULL: asked for; owned */
	json_t *states;				/* array of {state, at, words}; owned */
	int64_t window_start_ms, window_end_ms; /* of all reports; 0: none */
	struct sonde_task_agent **agents;	/* owned */
	size_t n_agents;
	/* batches that came by collectBatch for this task */
	uint64_t batches, batch_duplicates, rules_failed, series_refused;
	struct sonde_refusals refusals; /* of its series, by name */
	UT_hash_handle hh;
};

/* Takes @spec. State accepted. Return: 0, -ENOMEM. */
int sonde_task_new(struct sonde_spec **spec, int64_t now_ms, struct sonde_task **ret) _must_check_;
struct sonde_task *sonde_task_free(struct sonde_task *t);
SONDE_DEFINE_CLEANUP(struct sonde_task *, sonde_task_free)

struct sonde_task_agent *sonde_task_find_agent(const struct sonde_task *t, const char *agent_id);

/* Return: 0 (*@ret the new or the known one), -ENOSPC, -ENOMEM. */
int sonde_task_add_agent(struct sonde_task *t, const char *agent_id,
			 struct sonde_task_agent **ret) _must_check_;

/*
 * sonde_task_move() - one agent's state changes
 * @at_ms: when, by the clock of who says so
 * @inferred: the server's own conclusion
 *
 * Derives the task's state and adds to its time line, by time: reports may come long after what they tell of. A
 * conclusion that the agent's own word replaces leaves the line. Return: 1 moved, 0 nothing new (the same state, or
 * a step back, which an agent cannot mean).
 */
int sonde_task_move(struct sonde_task *t, struct sonde_task_agent *a, enum sonde_task_state state,
		    int64_t at_ms, const char *words, bool inferred);

/* End of the task by the server's clock, for one agent: from its own start where it has one, else from when it got it. */
int64_t sonde_task_agent_end_ms(const struct sonde_task *t, const struct sonde_task_agent *a);
/*
 * Until when this agent may still take it. A task that begins now loses nothing of its duration on the way to
 * the agent, so it waits @grace_ms longer; one with a start of its own is over at its end.
 */
int64_t sonde_task_take_until_ms(const struct sonde_task *t, const struct sonde_task_agent *a,
				 int64_t grace_ms);
int64_t sonde_task_end_ms(const struct sonde_task *t); /* the latest of them */

struct sonde_task_clock {
	int64_t now_ms;
	int64_t grace_ms;  /* after the end before the server concludes by itself */
	int64_t silent_ms; /* without any sign before an agent has vanished */
	int64_t (*agent_seen_ms)(void *ctx, const char *agent_id); /* last sign of life; 0: never */
	void *ctx;
	/* Its watch ended, and nothing came since. May be NULL. */
	bool (*agent_left)(void *ctx, const char *agent_id);
	int64_t since_ms; /* the server takes calls: silence before it was the server's own */
	/* It is there and holds reports that have not come yet. May be NULL. */
	bool (*agent_holds)(void *ctx, const char *agent_id);
};

/* The server's own timers. Return: 1 if anything moved, 0. */
int sonde_task_tick(struct sonde_task *t, const struct sonde_task_clock *clock);

/* A person stops it: agents that never took it are stopped at once. The caller tells the others. */
void sonde_task_stop(struct sonde_task *t, int64_t now_ms, const char *reason);

/* Weakened by loss: entries that weaken, missing reports, dropped history, an agent without an end report. */
bool sonde_task_complete(const struct sonde_task *t);

/* Sums over the agents. */
struct sonde_task_reports {
	uint64_t sequence, received, duplicates, missing;
	int64_t late_ms;
};
void sonde_task_count_reports(const struct sonde_task *t, struct sonde_task_reports *ret);

/* The stored document and back. NULL when memory ran out. Return: 0, -EBADMSG, -ENOMEM. */
json_t *sonde_task_document(const struct sonde_task *t);
int sonde_task_from_document(const json_t *doc, struct sonde_task **ret) _must_check_;

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Store: the server's SQLite file (WAL, synchronous=FULL, STRICT tables, schema number in
 * user_version). All writes go through jobs: a job is a list of prepared
 * statements that commit together or not at all. One writer thread takes the
 * queued jobs in order, several to one transaction (so that one fsync serves
 * all that waited), and tells the loop. The queue is bounded in jobs and
 * bytes; what does not fit is refused with -ENOBUFS and counted, never dropped
 * silently. Reads use a connection of the loop's own and see committed data only.
 *
 * Everything here is called on the loop thread, except where a comment says otherwise.
 */

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "base/cleanup.h"

#define SONDE_STORE_JOBS_MAX 1024
#define SONDE_STORE_QUEUE_BYTES_MAX (64U << 20)

struct sonde_store;
struct sonde_store_job;

/* The statements that a job may hold, with their parameters; the text is in store/schema.c. */
enum sonde_store_statement {
	SONDE_STORE_PUT_TASK,		 /* id, created_ms, ended_ms, state, doc */
	SONDE_STORE_DELETE_TASK,	 /* id */
	SONDE_STORE_DELETE_TASK_REPORTS, /* task, received before ms */
	SONDE_STORE_PUT_AGENT,		 /* id, last_seen_ms, doc */
	SONDE_STORE_DELETE_AGENT,	 /* id */
	SONDE_STORE_PUT_PROCESS,	 /* agent, pid, process_id, last_seen_ms, doc */
	SONDE_STORE_DELETE_PROCESS,	 /* agent, pid */
	SONDE_STORE_PUT_ENTITY,		 /* id, seen_ms, service, instance, name, kind */
	SONDE_STORE_DELETE_ENTITY,	 /* id */
	SONDE_STORE_PUT_REPORT,		 /* serial, task, sequence, hash, received_ms, kind, data */
	SONDE_STORE_CLEAR_REPORTS, /* up to serial: their data is in the series now, ids stay */
	/*
	 * Series: see to_6 in schema.c. step: 0 10 s, 1 a minute, 2 an hour; times in units of 10 s; minutes: of an hour,
	 * those that got a value, one bit each, and of a minute likewise its 10 s.
	 */
	SONDE_STORE_PUT_SET,	/* task, no, first, last; the span only grows */
	SONDE_STORE_PUT_NAME,	/* no, metric, entity, id */
	SONDE_STORE_PUT_BUCKET, /* step, start, id, serial, minutes, data */
	SONDE_STORE_DROP_TASK, /* task: all of it is deleted a little at a time, see ingest/retention.h */
	SONDE_STORE_DELETE_SOME_FLOWS,	 /* task, at most so many */
	SONDE_STORE_DELETE_SOME_REPORTS, /* task, at most so many */
	SONDE_STORE_DELETE_DROPPED,	 /* task */
	SONDE_STORE_DELETE_OLD_BUCKETS,	 /* step, begun before, at most so many */
	SONDE_STORE_DELETE_SET_BUCKETS,	 /* step, start, from id, to id */
	SONDE_STORE_DELETE_NAMES,	 /* no, at most so many */
	SONDE_STORE_DELETE_SET,		 /* no */
	SONDE_STORE_GIVE_BACK,		 /* 2 MiB of free pages to the file system */
	/*
	 * task, agent, id, sequence, open, state, failed, role, pid, process, process_name, peer, peer_name, remote,
	 * client, start_ms, end_ms, bytes, retransmits, rtt_us, data; not over a later sequence
	 */
	SONDE_STORE_PUT_FLOW,
	SONDE_STORE_DELETE_FLOW,	/* task, agent, id, unless of a later sequence than this */
	SONDE_STORE_DELETE_STALE_FLOWS, /* task, agent: open ones of earlier sequences than this */
	SONDE_STORE_PUT_TEMPLATE,	/* id, configuration, disabled */
	SONDE_STORE_PUT_POLICY,		/* service, changed_ms, document; its record stays */
	SONDE_STORE_PUT_POLICY_RECORD,	/* service, record; nothing where the policy is gone */
	SONDE_STORE_DELETE_POLICY,	/* service */
	SONDE_STORE_COUNT_COMMIT,	/* the writer's own */
	SONDE_STORE_PUT_AUDIT, /* at_ms, refused, who, role, address, action, subject, status, words */
	SONDE_STORE_TRIM_AUDIT, /* refused, how many of these to keep */
	_SONDE_STORE_STATEMENT_MAX,
};

struct sonde_store_stats {
	uint64_t jobs, jobs_failed, jobs_refused;
	uint64_t commits;
	uint64_t rows_deleted; /* by statements of retention */
	size_t queued_jobs, queued_bytes;
};

/* Can it take more? */
enum sonde_store_condition {
	SONDE_STORE_SOUND = 0,
	SONDE_STORE_FULL,    /* the disk is; ends by itself */
	SONDE_STORE_DAMAGED, /* a read or write met it; until the server is started anew */
	_SONDE_STORE_CONDITION_MAX,
};
extern const char *const sonde_store_condition_name[_SONDE_STORE_CONDITION_MAX];

/* What an agent is told then: with a status that makes it keep the report. */
#define SONDE_STORE_FULL_WORDS "the server's disk is full, send it again"
#define SONDE_STORE_DAMAGED_WORDS "the server's database is damaged, send it again"

/* Such a failure is logged by the store, once; others need not. */
static inline bool sonde_store_has_told(int error)
{
	return error == -ENOSPC || error == -EUCLEAN;
}

struct sonde_store_health {
	enum sonde_store_condition condition;
	int64_t since_ms; /* wall clock; 0 = from the start */
	uint64_t free_bytes, reserve_bytes;
	uint64_t times_full;
};

/* Runs on the loop once a job has committed (0) or not (-errno). */
typedef void (*sonde_store_done_fn)(void *ctx, int error);

/*
 * Opens or creates @path (mode 0600), migrates it and starts the writer.
 * @event may be NULL for tests: then sonde_store_flush() runs the callbacks.
 * Return: 0, -EPROTO (a newer server's file), -EUCLEAN (no database or a damaged one), -errno.
 */
int sonde_store_open(sd_event *event, const char *path, struct sonde_store **ret) _must_check_;

/*
 * Writes out everything queued and what the callbacks of that submit, runs the callbacks, closes. Those of the second kind
 * can submit nothing more. NULL is fine. Returns NULL.
 */
struct sonde_store *sonde_store_free(struct sonde_store *s);
SONDE_DEFINE_CLEANUP(struct sonde_store *, sonde_store_free)

/* Waits until all that is queued has committed and runs the callbacks. For shutdown and tests. */
void sonde_store_flush(struct sonde_store *s);

/* The user_version of a database of this build. */
int sonde_store_schema(void);

void sonde_store_get_stats(struct sonde_store *s, struct sonde_store_stats *ret);

/* So many bytes of its file system are left free by what may wait: reports and new tasks. */
void sonde_store_set_reserve(struct sonde_store *s, uint64_t bytes);
/* Each second: is there room? What has changed is logged, once. */
void sonde_store_tick(struct sonde_store *s);
/* May a report or a task come in? To be asked before anything is done with it. Return: 0, -ENOSPC, -EUCLEAN. */
int sonde_store_check_room(const struct sonde_store *s) _must_check_;
void sonde_store_get_health(const struct sonde_store *s, struct sonde_store_health *ret);

struct sonde_store_job *sonde_store_job_new(void);
struct sonde_store_job *sonde_store_job_free(struct sonde_store_job *j);
SONDE_DEFINE_CLEANUP(struct sonde_store_job *, sonde_store_job_free)

/*
 * sonde_store_job_add() - append one statement, parameters by position
 * @types: one letter a parameter: 't' const char *, 'i' int64_t, 'b' const void * and size_t, 'n' nothing (NULL)
 *
 * Copies text and blobs. Return: 0, -ENOMEM.
 */
int sonde_store_job_add(struct sonde_store_job *j, enum sonde_store_statement statement,
			const char *types, ...) _must_check_;

/*
 * sonde_store_submit() - queue a job
 * @job: taken, and *@job set to NULL, only when 0 is returned
 * @done: may be NULL; @ctx is borrowed until it ran
 *
 * Return: 0, -ENOBUFS when the queue is full, -ESHUTDOWN from the last callbacks of sonde_store_free().
 */
int sonde_store_submit(struct sonde_store *s, struct sonde_store_job **job,
		       sonde_store_done_fn done, void *ctx) _must_check_;

/* One row of a query. Text and blobs are borrowed for the callback. */
struct sonde_store_row;
int64_t sonde_store_row_int(const struct sonde_store_row *row, int column);
const char *sonde_store_row_text(const struct sonde_store_row *row, int column); /* "" for NULL */
const void *sonde_store_row_blob(const struct sonde_store_row *row, int column, size_t *ret_n);

enum sonde_store_query {
	SONDE_STORE_GET_TASKS,	    /* -> id, created_ms, ended_ms, state, doc; oldest first */
	SONDE_STORE_GET_AGENTS,	    /* -> id, last_seen_ms, doc */
	SONDE_STORE_GET_PROCESSES,  /* -> agent, pid, process_id, last_seen_ms, doc */
	SONDE_STORE_GET_ENTITIES,   /* -> id, seen_ms, service, instance, name, kind */
	SONDE_STORE_GET_REPORT_IDS, /* task -> sequence, hash, received_ms */
	SONDE_STORE_GET_PENDING, /* -> serial, task, sequence, hash, received_ms, kind, data; by serial */
	SONDE_STORE_GET_SERIAL,	   /* -> highest serial, 0 if none */
	SONDE_STORE_GET_SET,	   /* task -> no, first, last */
	SONDE_STORE_GET_SET_MAX,   /* -> largest no, 0 if none */
	SONDE_STORE_GET_DROPPED,   /* -> task, has flows, has reports; of one */
	SONDE_STORE_FIND_DROPPED,  /* task -> 1, if it is one */
	SONDE_STORE_GET_NAMES,	   /* no -> metric, entity, id */
	SONDE_STORE_GET_NAME,	   /* no, metric, entity -> id */
	SONDE_STORE_GET_LAST_NAME, /* no -> largest id, -1 if none */
	/* step, from and to, from id, to id, distance of starts -> start, id, serial, minutes, data; by start, id */
	SONDE_STORE_GET_BUCKETS,
	SONDE_STORE_GET_OLDEST_BUCKET, /* step -> start */
	SONDE_STORE_GET_SPACE,	       /* -> bytes of a page, pages, free ones of these */
	SONDE_STORE_COUNT_FLOWS,       /* task -> number */
	/*
	 * task, key at most, then agent and id behind these; process, peer ("": any); open, state, failed, role
	 * (-1: any); at most so many -> agent, id, pid, process, process_name, peer, peer_name, data, key; by key
	 * from the largest, then agent and id
	 */
	SONDE_STORE_GET_FLOWS_BY_BYTES,
	SONDE_STORE_GET_FLOWS_BY_RETRANSMITS,
	SONDE_STORE_GET_FLOWS_BY_RTT,
	SONDE_STORE_GET_FLOWS_BY_START,
	/*
	 * client, role not of, from and to ms -> task, process, process_name, data: ends of a connection that has
	 * this "address port" at its client
	 */
	SONDE_STORE_GET_FLOW_ENDS,
	SONDE_STORE_GET_FLOWS_TO, /* task, remote address -> data: a few clients' whose peer no agent knows */
	SONDE_STORE_GET_POLICIES, /* -> service, changed_ms, document, record; by service */
	SONDE_STORE_GET_COMMITS,  /* -> how many there were */
	/* serials below, from and to ms, at most so many -> serial, at_ms, who, role, address, action, subject, status, words */
	SONDE_STORE_GET_AUDIT,
	SONDE_STORE_GET_TEMPLATES, /* -> id, configuration, disabled; as they were added */
	_SONDE_STORE_QUERY_MAX,
};

/* A row callback returns 0 to go on; anything else ends the query and is returned. */
typedef int (*sonde_store_row_fn)(void *ctx, const struct sonde_store_row *row);

/* As sonde_store_query(), with parameters of 't' and 'i' as sonde_store_job_add() takes them. */
int sonde_store_select(struct sonde_store *s, enum sonde_store_query query, sonde_store_row_fn fn,
		       void *ctx, const char *types, ...) _must_check_;

/* @key: the query's text parameter, or NULL. Return: 0, what the callback returned, -errno. */
int sonde_store_query(struct sonde_store *s, enum sonde_store_query query, const char *key,
		      sonde_store_row_fn fn, void *ctx) _must_check_;

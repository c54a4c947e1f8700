/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/tasks/registry.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend/json.h"
#include "base/clock.h"
#include "base/log.h"

#define STORE_EVERY_MS (60LL * 1000)
#define TICK_ROWS_MAX 4096 /* rows written in one tick; the rest follows in the next */

struct sonde_registry {
	struct sonde_store *store; /* borrowed */
	struct sonde_agent *agents;
	struct sonde_process *processes;
	struct sonde_entity *entities;
	uint64_t refused;
	unsigned unwritten; /* jobs that are with the writer */
	uint64_t failures;  /* of writes */
};

static const char *const kind_names[_SONDE_ENTITY_KIND_MAX] = {
	[SONDE_ENTITY_PROCESS] = "process",
	[SONDE_ENTITY_ADDRESS] = "address",
	[SONDE_ENTITY_OTHER] = "other",
};

const char *sonde_entity_kind_name(enum sonde_entity_kind k)
{
	assert((unsigned)k < _SONDE_ENTITY_KIND_MAX);
	return kind_names[k];
}

static bool good_name(const char *name)
{
	return name && name[0] != '\0' && strlen(name) < SONDE_REGISTRY_NAME_MAX;
}

struct sonde_agent *sonde_registry_find_agent(struct sonde_registry *r, const char *agent_id)
{
	struct sonde_agent *a;

	HASH_FIND_STR(r->agents, agent_id, a);
	return a;
}

struct sonde_agent *sonde_registry_agents(struct sonde_registry *r)
{
	return r->agents;
}

struct sonde_process *sonde_registry_processes(struct sonde_registry *r)
{
	return r->processes;
}

bool sonde_agent_replaced(const struct sonde_agent *a)
{
	return a->watches == 0 && a->replaced_ms > 0 && a->last_seen_ms <= a->replaced_ms;
}

bool sonde_agent_left(const struct sonde_agent *a)
{
	return sonde_agent_replaced(a) ||
	       (a->watches == 0 && a->watch_ended_ms > 0 && a->last_seen_ms <= a->watch_ended_ms);
}

bool sonde_agent_live(const struct sonde_agent *a, int64_t now_ms)
{
	return a->watches > 0 ||
	       (!sonde_agent_left(a) && now_ms - a->last_seen_ms <= SONDE_REGISTRY_LIVE_MS);
}

void sonde_registry_replace(struct sonde_registry *r, const struct sonde_agent *by, int64_t now_ms)
{
	const char *host = sonde_json_get_text(by->properties, "host", "");

	for (struct sonde_agent *a = r->agents; a && host[0] != '\0'; a = a->hh.next) {
		if (a != by && a->watches == 0 &&
		    strcmp(sonde_json_get_text(a->properties, "host", ""), host) == 0)
			a->replaced_ms = now_ms;
	}
}

void sonde_registry_watch_ended(struct sonde_agent *a, int64_t now_ms)
{
	assert(a->watches > 0);

	if (--a->watches > 0)
		return;
	a->last_seen_ms = now_ms > a->last_seen_ms ? now_ms : a->last_seen_ms;
	a->watch_ended_ms = a->last_seen_ms;
}

bool sonde_process_live(const struct sonde_process *p, int64_t now_ms)
{
	return !sonde_agent_left(p->agent) && now_ms - p->last_seen_ms <= SONDE_REGISTRY_LIVE_MS;
}

int sonde_registry_see_agent(struct sonde_registry *r, const char *agent_id, int64_t now_ms,
			     struct sonde_agent **ret)
{
	struct sonde_agent *a;

	if (!agent_id || agent_id[0] == '\0' || strlen(agent_id) >= sizeof(a->id))
		return -EINVAL;
	a = sonde_registry_find_agent(r, agent_id);
	if (!a) {
		if (HASH_COUNT(r->agents) >= SONDE_REGISTRY_AGENTS_MAX) {
			r->refused++;
			return -ENOSPC;
		}
		a = calloc(1, sizeof(*a));
		if (!a)
			return -ENOMEM;
		memcpy(a->id, agent_id, strlen(agent_id) + 1);
		HASH_ADD_STR(r->agents, id, a);
		if (!SONDE_HASH_ADDED(a)) {
			free(a);
			return -ENOMEM;
		}
	}
	if (now_ms > a->last_seen_ms)
		a->last_seen_ms = now_ms;
	*ret = a;
	return 0;
}

static void process_free(struct sonde_registry *r, struct sonde_process *p)
{
	HASH_DEL(r->processes, p);
	p->agent->processes--;
	json_decref(p->doc);
	free(p);
}

static void agent_free(struct sonde_registry *r, struct sonde_agent *a)
{
	HASH_DEL(r->agents, a);
	json_decref(a->properties);
	free(a);
}

static void entity_free(struct sonde_registry *r, struct sonde_entity *e)
{
	HASH_DEL(r->entities, e);
	free(e->service);
	free(e->instance);
	free(e->name);
	free(e);
}

struct sonde_registry *sonde_registry_free(struct sonde_registry *r)
{
	struct sonde_process *p, *p_next;
	struct sonde_agent *a, *a_next;
	struct sonde_entity *e, *e_next;

	if (!r)
		return NULL;
	if (r->unwritten > 0) /* their callbacks come here */
		sonde_store_flush(r->store);
	HASH_ITER (hh, r->processes, p, p_next)
		process_free(r, p);
	HASH_ITER (hh, r->agents, a, a_next)
		agent_free(r, a);
	HASH_ITER (hh, r->entities, e, e_next)
		entity_free(r, e);
	free(r);
	return NULL;
}

static int get_process(struct sonde_registry *r, struct sonde_agent *a, int32_t pid,
		       struct sonde_process **ret)
{
	char key[sizeof((*ret)->key)];
	struct sonde_process *p;

	(void)snprintf(key, sizeof(key), "%s\n%d", a->id, pid);
	HASH_FIND_STR(r->processes, key, p);
	if (p) {
		*ret = p;
		return 0;
	}
	if (HASH_COUNT(r->processes) >= SONDE_REGISTRY_PROCESSES_MAX) {
		r->refused++;
		return -ENOSPC;
	}
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	memcpy(p->key, key, sizeof(key));
	p->agent = a;
	p->pid = pid;
	HASH_ADD_STR(r->processes, key, p);
	if (!SONDE_HASH_ADDED(p)) {
		free(p);
		return -ENOMEM;
	}
	a->processes++;
	*ret = p;
	return 0;
}

static void take_doc(struct sonde_process *p, json_t *doc)
{
	json_decref(p->doc);
	p->doc = doc;
	p->service = (char *)sonde_json_get_text(doc, "service", "");
	p->instance = (char *)sonde_json_get_text(doc, "instance", "");
	p->name = (char *)sonde_json_get_text(doc, "name", "");
}

int sonde_registry_report(struct sonde_registry *r, struct sonde_agent *a,
			  const struct sonde_process_report *in, int64_t now_ms,
			  const struct sonde_process **ret)
{
	char id[SONDE_MAL_PROCESS_ID_SIZE];
	_cleanup_json_ json_t *doc = NULL;
	struct sonde_process *p;
	int rc;

	if (!good_name(in->service) || !good_name(in->instance) || !good_name(in->name))
		return -EINVAL;
	rc = sonde_mal_process_id(in->name, in->service, in->instance, id);
	if (rc < 0)
		return rc;
	doc = json_pack("{s:o, s:o, s:o, s:o, s:b, s:O?, s:O?}", "layer",
			sonde_json_text(in->layer), "service", sonde_json_text(in->service),
			"instance", sonde_json_text(in->instance), "name",
			sonde_json_text(in->name), "kubernetes", (int)in->kubernetes, "labels",
			in->labels, "properties", in->properties);
	if (!doc)
		return -ENOMEM;
	rc = get_process(r, a, in->pid, &p);
	if (rc < 0)
		return rc;
	if (!p->doc || !json_equal(p->doc, doc))
		p->stored_ms = 0;
	take_doc(p, TAKE_PTR(doc));
	memcpy(p->process_id, id, sizeof(id));
	p->last_seen_ms = now_ms;
	sonde_registry_note_entity(r, id, SONDE_ENTITY_PROCESS, p->service, p->instance, p->name,
				   now_ms);
	*ret = p;
	return 0;
}

unsigned sonde_registry_ping(struct sonde_registry *r, struct sonde_agent *a, const char *service,
			     const char *instance, const char *name, int64_t now_ms)
{
	unsigned n = 0;

	for (struct sonde_process *p = r->processes; p; p = p->hh.next) {
		if (p->agent != a || strcmp(p->name, name) != 0 ||
		    strcmp(p->service, service) != 0 || strcmp(p->instance, instance) != 0)
			continue;
		p->last_seen_ms = now_ms;
		sonde_registry_note_entity(r, p->process_id, SONDE_ENTITY_PROCESS, service,
					   instance, name, now_ms);
		n++;
	}
	return n;
}

bool sonde_process_matches(const struct sonde_process *p, const struct sonde_spec_target *t)
{
	if (t->agent_id[0] && strcmp(t->agent_id, p->agent->id) != 0)
		return false;
	if (t->process_id[0])
		return strcmp(t->process_id, p->process_id) == 0;
	if (t->process_name[0])
		return strcmp(t->process_name, p->name) == 0;
	if (t->service[0])
		return strcmp(t->service, p->service) == 0;
	return t->pid == p->pid;
}

static int make_entity(struct sonde_registry *r, const char *id, struct sonde_entity **ret)
{
	struct sonde_entity *e;

	if (HASH_COUNT(r->entities) >= SONDE_REGISTRY_ENTITIES_MAX) {
		r->refused++;
		return -ENOSPC;
	}
	e = calloc(1, sizeof(*e));
	if (!e)
		return -ENOMEM;
	memcpy(e->id, id, strlen(id) + 1);
	HASH_ADD_STR(r->entities, id, e);
	if (!SONDE_HASH_ADDED(e)) {
		free(e);
		return -ENOMEM;
	}
	*ret = e;
	return 0;
}

void sonde_registry_note_entity(struct sonde_registry *r, const char *id,
				enum sonde_entity_kind kind, const char *service,
				const char *instance, const char *name, int64_t now_ms)
{
	struct sonde_entity *e;

	if (!id || id[0] == '\0' || strlen(id) >= sizeof(e->id))
		return;
	HASH_FIND_STR(r->entities, id, e);
	if (!e && make_entity(r, id, &e) < 0)
		return;
	if (now_ms > e->seen_ms)
		e->seen_ms = now_ms;
	/* A process's own report is the better word about an id that was virtual before. */
	if (e->name && (kind != SONDE_ENTITY_PROCESS || e->kind == SONDE_ENTITY_PROCESS))
		return;
	free(e->service);
	free(e->instance);
	free(e->name);
	e->kind = kind;
	e->service = strdup(service ? service : "");
	e->instance = strdup(instance ? instance : "");
	e->name = strdup(name ? name : "");
	e->stored_ms = 0;
	if (!e->service || !e->instance || !e->name)
		entity_free(r, e);
}

const struct sonde_entity *sonde_registry_find_entity(struct sonde_registry *r, const char *id)
{
	struct sonde_entity *e;

	HASH_FIND_STR(r->entities, id, e);
	return e;
}

const struct sonde_entity *sonde_registry_entities(struct sonde_registry *r)
{
	return r->entities;
}

static bool due(int64_t seen_ms, int64_t stored_ms)
{
	return stored_ms == 0 || seen_ms - stored_ms >= STORE_EVERY_MS;
}

static int write_text(struct sonde_store_job *job, enum sonde_store_statement s, const json_t *doc,
		      const struct sonde_agent *a, const struct sonde_process *p)
{
	_cleanup_free_ char *text = doc ? json_dumps(doc, JSON_COMPACT) : strdup("{}");

	if (!text)
		return -ENOMEM;
	if (s == SONDE_STORE_PUT_AGENT)
		return sonde_store_job_add(job, s, "tit", a->id, a->last_seen_ms, text);
	return sonde_store_job_add(job, s, "titit", p->agent->id, (int64_t)p->pid, p->process_id,
				   p->last_seen_ms, text);
}

static int collect_changes(struct sonde_registry *r, struct sonde_store_job *job, unsigned *rows)
{
	int rc = 0;

	for (struct sonde_agent *a = r->agents; a && rc == 0 && *rows < TICK_ROWS_MAX;
	     a = a->hh.next) {
		if (due(a->last_seen_ms, a->stored_ms)) {
			rc = write_text(job, SONDE_STORE_PUT_AGENT, a->properties, a, NULL);
			a->stored_ms = a->last_seen_ms;
			(*rows)++;
		}
	}
	for (struct sonde_process *p = r->processes; p && rc == 0 && *rows < TICK_ROWS_MAX;
	     p = p->hh.next) {
		if (due(p->last_seen_ms, p->stored_ms)) {
			rc = write_text(job, SONDE_STORE_PUT_PROCESS, p->doc, NULL, p);
			p->stored_ms = p->last_seen_ms;
			(*rows)++;
		}
	}
	for (struct sonde_entity *e = r->entities; e && rc == 0 && *rows < TICK_ROWS_MAX;
	     e = e->hh.next) {
		if (due(e->seen_ms, e->stored_ms)) {
			rc = sonde_store_job_add(job, SONDE_STORE_PUT_ENTITY, "titttt", e->id,
						 e->seen_ms, e->service, e->instance, e->name,
						 sonde_entity_kind_name(e->kind));
			e->stored_ms = e->seen_ms;
			(*rows)++;
		}
	}
	return rc;
}

static int collect_forgotten(struct sonde_registry *r, struct sonde_store_job *job, int64_t now_ms,
			     int64_t retention_ms, unsigned *rows)
{
	struct sonde_process *p, *p_next;
	struct sonde_entity *e, *e_next;
	struct sonde_agent *a, *a_next;
	int rc = 0;

	HASH_ITER (hh, r->processes, p, p_next) {
		if (rc < 0 || now_ms - p->last_seen_ms <= SONDE_REGISTRY_FORGET_MS)
			continue;
		rc = sonde_store_job_add(job, SONDE_STORE_DELETE_PROCESS, "ti", p->agent->id,
					 (int64_t)p->pid);
		process_free(r, p);
		(*rows)++;
	}
	HASH_ITER (hh, r->entities, e, e_next) {
		if (rc < 0 || now_ms - e->seen_ms <= retention_ms)
			continue;
		rc = sonde_store_job_add(job, SONDE_STORE_DELETE_ENTITY, "t", e->id);
		entity_free(r, e);
		(*rows)++;
	}
	HASH_ITER (hh, r->agents, a, a_next) {
		int64_t keep_ms = sonde_agent_replaced(a) ? SONDE_REGISTRY_FORGET_MS : retention_ms;

		if (rc < 0 || a->watches > 0 || a->processes > 0 ||
		    now_ms - a->last_seen_ms <= keep_ms)
			continue;
		rc = sonde_store_job_add(job, SONDE_STORE_DELETE_AGENT, "t", a->id);
		agent_free(r, a);
		(*rows)++;
	}
	return rc;
}

/* A job of changes that is with the writer. */
struct writing {
	struct sonde_registry *registry;
	uint64_t failures; /* of the registry when it was queued */
	sonde_store_done_fn done;
	void *ctx;
};

/* What was taken for stored may not be: all is written again, which hurts nobody. */
static void mark_unstored(struct sonde_registry *r)
{
	r->failures++;
	for (struct sonde_agent *a = r->agents; a; a = a->hh.next)
		a->stored_ms = 0;
	for (struct sonde_process *p = r->processes; p; p = p->hh.next)
		p->stored_ms = 0;
	for (struct sonde_entity *e = r->entities; e; e = e->hh.next)
		e->stored_ms = 0;
}

static void on_written(void *ctx, int error)
{
	_cleanup_free_ struct writing *w = ctx;
	struct sonde_registry *r = w->registry;

	r->unwritten--;
	/* Changes that an earlier job took and lost are not in this one. */
	if (error == 0 && w->failures != r->failures)
		error = -EAGAIN;
	if (error < 0)
		mark_unstored(r);
	if (w->done)
		w->done(w->ctx, error);
	else if (error < 0 && !sonde_store_has_told(error))
		(void)sonde_log_warn(error, "cannot write the registry, will try again");
}

static int submit(struct sonde_registry *r, struct sonde_store_job **job, sonde_store_done_fn done,
		  void *ctx)
{
	_cleanup_free_ struct writing *w = malloc(sizeof(*w));
	int rc = -ENOMEM;

	if (w) {
		*w = (struct writing){r, r->failures, done, ctx};
		rc = sonde_store_submit(r->store, job, on_written, w);
	}
	if (rc < 0) {
		mark_unstored(r);
		return rc;
	}
	w = NULL;
	r->unwritten++;
	return 0;
}

int sonde_registry_store(struct sonde_registry *r, sonde_store_done_fn done, void *ctx)
{
	_cleanup_(sonde_store_job_freep) struct sonde_store_job *job = sonde_store_job_new();
	unsigned rows = 0;
	int rc = -ENOMEM;

	if (job)
		rc = collect_changes(r, job, &rows);
	if (rc < 0) {
		mark_unstored(r);
		return rc;
	}
	/* Nothing to write may mean that it is being written: an empty job waits for that. */
	if (rows == 0 && r->unwritten == 0) {
		done(ctx, 0);
		return 0;
	}
	return submit(r, &job, done, ctx);
}

void sonde_registry_tick(struct sonde_registry *r, int64_t now_ms, int64_t retention_ms)
{
	_cleanup_(sonde_store_job_freep) struct sonde_store_job *job = sonde_store_job_new();
	unsigned rows = 0;
	int rc = -ENOMEM;

	if (job)
		rc = collect_changes(r, job, &rows);
	if (rc == 0)
		rc = collect_forgotten(r, job, now_ms, retention_ms, &rows);
	if (rc < 0)
		mark_unstored(r);
	else if (rows > 0)
		rc = submit(r, &job, NULL, NULL);
	if (rc < 0)
		(void)sonde_log_warn(rc, "cannot write the registry, will try again");
}

static int load_agent(void *ctx, const struct sonde_store_row *row)
{
	struct sonde_registry *r = ctx;
	char words[160];
	const char *doc = sonde_store_row_text(row, 2);
	struct sonde_agent *a;
	int line, rc;

	rc = sonde_registry_see_agent(r, sonde_store_row_text(row, 0), sonde_store_row_int(row, 1),
				      &a);
	if (rc == -ENOMEM)
		return rc;
	if (rc == 0) {
		a->stored_ms = a->last_seen_ms;
		if (sonde_json_parse(doc, strlen(doc), &a->properties, &line, words) < 0)
			a->properties = NULL;
	}
	return 0;
}

static int load_process(void *ctx, const struct sonde_store_row *row)
{
	struct sonde_registry *r = ctx;
	struct sonde_agent *a = sonde_registry_find_agent(r, sonde_store_row_text(row, 0));
	const char *id = sonde_store_row_text(row, 2), *text = sonde_store_row_text(row, 4);
	struct sonde_process *p;
	json_t *doc = NULL;
	char words[160];
	int line, rc;

	if (!a || strlen(id) >= sizeof(p->process_id) ||
	    sonde_json_parse(text, strlen(text), &doc, &line, words) < 0)
		return 0;
	rc = get_process(r, a, (int32_t)sonde_store_row_int(row, 1), &p);
	if (rc < 0) {
		json_decref(doc);
		return rc == -ENOMEM ? rc : 0;
	}
	take_doc(p, doc);
	memcpy(p->process_id, id, strlen(id) + 1);
	p->last_seen_ms = p->stored_ms = sonde_store_row_int(row, 3);
	return 0;
}

static int load_entity(void *ctx, const struct sonde_store_row *row)
{
	const char *kind = sonde_store_row_text(row, 5), *id = sonde_store_row_text(row, 0);
	struct sonde_registry *r = ctx;
	struct sonde_entity *e;

	for (unsigned k = 0; k < _SONDE_ENTITY_KIND_MAX; k++) {
		if (strcmp(kind, kind_names[k]) == 0)
			sonde_registry_note_entity(r, id, k, sonde_store_row_text(row, 2),
						   sonde_store_row_text(row, 3),
						   sonde_store_row_text(row, 4),
						   sonde_store_row_int(row, 1));
	}
	HASH_FIND_STR(r->entities, id, e);
	if (e)
		e->stored_ms = e->seen_ms;
	return 0;
}

int sonde_registry_new(struct sonde_store *store, struct sonde_registry **ret)
{
	_cleanup_(sonde_registry_freep) struct sonde_registry *r = calloc(1, sizeof(*r));
	int rc;

	if (!r)
		return -ENOMEM;
	r->store = store;
	rc = sonde_store_query(store, SONDE_STORE_GET_AGENTS, NULL, load_agent, r);
	if (rc == 0)
		rc = sonde_store_query(store, SONDE_STORE_GET_PROCESSES, NULL, load_process, r);
	if (rc == 0)
		rc = sonde_store_query(store, SONDE_STORE_GET_ENTITIES, NULL, load_entity, r);
	if (rc < 0)
		return rc;
	*ret = TAKE_PTR(r);
	return 0;
}

void sonde_registry_get_stats(const struct sonde_registry *r, struct sonde_registry_stats *ret)
{
	*ret = (struct sonde_registry_stats){
		.agents = HASH_COUNT(r->agents),
		.processes = HASH_COUNT(r->processes),
		.entities = HASH_COUNT(r->entities),
		.refused = r->refused,
	};
}

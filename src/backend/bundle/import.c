/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/bundle/bundle-store.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend/bundle/bundle.h"
#include "backend/ingest/entity.h"
#include "backend/json.h"
#include "backend/services/flows.h"
#include "mal/id.h"
#include "wire/message.h"

#define ID_LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
#define ID_WORDS "letters, digits, '.', '_' and '-', 64 at most"
#define TEXT_MAX 512		/* bytes of a name */
#define TIME_MAX_MS (1LL << 42) /* the year 2109 */

/* One walk over a bundle's rows: what they are checked for, and where they go. */
struct import {
	struct sonde_series_table *series;
	struct sonde_series_set *set; /* NULL: only checked */
	struct sonde_registry *registry;
	struct sonde_store_job *job; /* flows; NULL: only checked */
	struct sonde_problem *problem;
	const char *task;
	int64_t serial, now_ms;
};

static int bad(struct import *im, const char *what)
{
	return sonde_problem_set(im->problem, 400, NULL, "the bundle's %s", what);
}

/* --- entities --- */

static int read_kind(const char *name, enum sonde_entity_kind *ret)
{
	for (unsigned k = 0; k < _SONDE_ENTITY_KIND_MAX; k++) {
		if (strcmp(name, sonde_entity_kind_name(k)) == 0) {
			*ret = k;
			return 0;
		}
	}
	return -EINVAL;
}

/* The id of a process is made of its names: another one would give a stranger's numbers to it. */
static bool is_own_id(const char *id, const char *service, const char *instance, const char *name)
{
	char made[SONDE_MAL_PROCESS_ID_SIZE];

	return sonde_mal_process_id(name, service, instance, made) == 0 && strcmp(id, made) == 0;
}

static int on_entity(void *ctx, const json_t *row)
{
	struct import *im = ctx;
	const char *id = sonde_json_get_text(row, "id", "");
	const char *service = sonde_json_get_text(row, "service", "");
	const char *instance = sonde_json_get_text(row, "instance", "");
	const char *name = sonde_json_get_text(row, "name", "");
	enum sonde_entity_kind kind;

	if (read_kind(sonde_json_get_text(row, "kind", ""), &kind) < 0 || id[0] == '\0' ||
	    strlen(id) >= SONDE_MAL_PROCESS_ID_SIZE || strlen(service) > TEXT_MAX ||
	    strlen(instance) > TEXT_MAX || strlen(name) > TEXT_MAX)
		return bad(im, "entities.jsonl names what cannot be");
	if (kind == SONDE_ENTITY_PROCESS && !is_own_id(id, service, instance, name))
		return bad(im, "entities.jsonl has a process whose id is another's");
	if (im->set)
		sonde_registry_note_entity(im->registry, id, kind, service, instance, name,
					   im->now_ms);
	return 0;
}

/* --- series --- */

static int read_step(const json_t *row, enum sonde_series_step *ret)
{
	int64_t ms = sonde_json_get_int(row, "step_ms", 0);

	for (unsigned i = 0; i < _SONDE_SERIES_STEP_MAX; i++) {
		if (sonde_series_step_ms[i] == ms) {
			*ret = i;
			return 0;
		}
	}
	return -EINVAL;
}

/* *@ret's accumulator is the caller's. Return: 0, -EINVAL with the problem set, -ENOMEM. */
static int read_bucket(struct import *im, const json_t *row, enum sonde_series_step step,
		       struct sonde_series_bucket *ret)
{
	_cleanup_buf_ struct sonde_buf bytes = SONDE_BUF_INIT(SONDE_MAL_STORED_BYTES);
	struct sonde_mal_accumulator *acc;
	int r;

	*ret = (struct sonde_series_bucket){
		.start_ms = sonde_json_get_int(row, "start_ms", -1),
		.serial = im->serial,
		.parts = (uint64_t)sonde_json_get_int(row, "minutes", 0),
	};
	if (ret->start_ms <= 0 || ret->start_ms > TIME_MAX_MS ||
	    ret->start_ms % sonde_series_step_ms[step] != 0 || ret->parts >> 60)
		return bad(im, "series.jsonl has a row of no time");
	r = sonde_bundle_unhex(sonde_json_get_text(row, "data", ""), &bytes);
	if (r == 0)
		r = sonde_mal_accumulator_load(bytes.data, bytes.len, &acc);
	if (r == 0)
		ret->acc = acc;
	return r < 0 && r != -ENOMEM ? bad(im, "series.jsonl has a row of no value") : r;
}

/* What would be lost without a word. Finer steps go by their own time, which each answer's step says. */
static int check_age(struct import *im, enum sonde_series_step step, int64_t start_ms)
{
	if (step != SONDE_SERIES_1H || start_ms >= sonde_series_table_floor(im->series, step))
		return 0;
	return sonde_problem_set(
		im->problem, 409, NULL,
		"the bundle's series are older than what is kept here (retention)");
}

static int restore(struct import *im, const char *metric, const char *entity,
		   enum sonde_series_step step, struct sonde_series_bucket *bucket)
{
	int r = sonde_series_restore(im->series, im->set, metric, entity, step, bucket);

	if (r == -ENOSPC)
		return sonde_problem_set(im->problem, 503, NULL,
					 "no room for its series (limits.buckets and the like)");
	if (r == -EINVAL || r == -EEXIST || r == -E2BIG || (r > 0 && im->job))
		return bad(im, "series.jsonl has a row twice, or of two functions");
	return r < 0 ? r : 0;
}

static int on_series(void *ctx, const json_t *row)
{
	const char *metric = sonde_json_get_text(row, "metric", "");
	const char *entity = sonde_json_get_text(row, "entity", "");
	struct sonde_series_bucket bucket;
	struct import *im = ctx;
	enum sonde_series_step step;
	int r;

	if (metric[0] == '\0' || strpbrk(metric, "\t\n\r") || strpbrk(entity, "\n\r") ||
	    entity[0] == '\0' || strlen(entity) >= SONDE_ENTITY_KEY_MAX ||
	    strlen(metric) + strlen(entity) + 1 >= SONDE_SERIES_KEY_MAX ||
	    read_step(row, &step) < 0)
		return bad(im, "series.jsonl has a row of no name");
	r = read_bucket(im, row, step, &bucket);
	if (r == 0)
		r = im->set ? restore(im, metric, entity, step, &bucket)
			    : check_age(im, step, bucket.start_ms);
	(void)sonde_mal_accumulator_free(bucket.acc);
	return r;
}

/* --- flows --- */

static int on_flow(void *ctx, const json_t *row)
{
	_cleanup_buf_ struct sonde_buf bytes = SONDE_BUF_INIT(64U << 10);
	const struct sonde_flow_ends ends = {
		.pid = (int32_t)sonde_json_get_int(row, "pid", 0),
		.process = sonde_json_get_text(row, "process", ""),
		.process_name = sonde_json_get_text(row, "process_name", ""),
		.peer = sonde_json_get_text(row, "peer", ""),
		.peer_name = sonde_json_get_text(row, "peer_name", ""),
	};
	const char *agent = sonde_json_get_text(row, "agent", "");
	_cleanup_(sonde_wire_freep) ProtobufCMessage *message = NULL;
	struct import *im = ctx;
	const Sonde__V1__Flow *f;
	int r;

	r = sonde_bundle_unhex(sonde_json_get_text(row, "data", ""), &bytes);
	if (r == -ENOMEM)
		return r;
	if (r < 0 || bytes.len == 0 || agent[0] == '\0' || strlen(agent) >= SONDE_SPEC_TEXT_MAX)
		return bad(im, "flows.jsonl has a row that is none");
	r = sonde_wire_unpack(&sonde__v1__flow__descriptor, bytes.data, bytes.len, NULL, &message);
	if (r == -ENOMEM)
		return r;
	f = (const Sonde__V1__Flow *)message;
	if (r < 0 || sonde_flow_fault(f, &ends))
		return bad(im, "flows.jsonl has a connection that cannot be");
	return im->job ? sonde_flow_put(im->job, im->task, agent, 0, &ends, f) : 0;
}

/* --- the task --- */

static int on_task(void *ctx, const json_t *row)
{
	json_t **ret = ctx;

	if (*ret)
		return -EBADMSG;
	*ret = json_incref((json_t *)row);
	return 0;
}

static bool is_id(const char *id)
{
	size_t n = strlen(id);

	return n > 0 && n < SONDE_TASK_ID_MAX && id[0] != '-' && id[0] != '.' &&
	       strspn(id, ID_LETTERS) == n;
}

static int read_task(const struct sonde_bundle *bundle, const char *as, int64_t now_ms,
		     struct sonde_task **ret, struct sonde_problem *problem)
{
	_cleanup_(sonde_task_freep) struct sonde_task *t = NULL;
	_cleanup_json_ json_t *doc = NULL;
	int r;

	r = sonde_bundle_each(bundle, SONDE_BUNDLE_TASK, on_task, &doc, problem);
	if (r == 0)
		r = doc ? sonde_task_from_document(doc, &t) : -EBADMSG;
	if (r == -EBADMSG || r == -ENOSPC)
		return sonde_problem_set(problem, 400, NULL, "the bundle's task.json is no task");
	if (r < 0)
		return r;
	assert(t);
	if (!sonde_task_state_final(t->state))
		return sonde_problem_set(problem, 400, NULL, "the bundle's task has not ended");
	if (as && as[0] != '\0') {
		(void)snprintf(t->spec->id, sizeof(t->spec->id), "%s",
			       strlen(as) < sizeof(t->spec->id) ? as : "");
	}
	if (!is_id(t->spec->id))
		return sonde_problem_set(problem, 400, NULL,
					 "a bundle's task has an id of " ID_WORDS);
	t->imported_ms = now_ms;
	*ret = TAKE_PTR(t);
	return 0;
}

static int walk_series(struct import *im, const struct sonde_bundle *bundle)
{
	int r = sonde_bundle_each(bundle, SONDE_BUNDLE_ENTITIES, on_entity, im, im->problem);

	return r < 0 ? r
		     : sonde_bundle_each(bundle, SONDE_BUNDLE_SERIES, on_series, im, im->problem);
}

/* All is checked before anything is changed. */
static int check_all(struct import *im, const struct sonde_bundle *bundle)
{
	int r = walk_series(im, bundle);

	return r < 0 ? r : sonde_bundle_each(bundle, SONDE_BUNDLE_FLOWS, on_flow, im, im->problem);
}

static int apply_all(struct import *im, const struct sonde_bundle *bundle, struct sonde_backend *b,
		     const void *data, size_t n)
{
	int r;

	im->serial = sonde_ingest_next_serial(b->ingest);
	r = sonde_series_table_get(b->series, im->task, im->now_ms, &im->set);
	if (r == 0)
		r = walk_series(im, bundle);
	if (r == 0)
		r = sonde_bundle_each(bundle, SONDE_BUNDLE_FLOWS, on_flow, im, im->problem);
	if (r == 0)
		r = sonde_ingest_store_bundle(b->ingest, im->job, im->task, data, n, im->now_ms);
	return r;
}

static int on_left(void *ctx, const struct sonde_store_row *row)
{
	(void)row;
	*(bool *)ctx = true;
	return 0;
}

/* A deleted task goes a little at a time: what is left of it would be taken for the new one's, and that go with it. */
static int check_id(struct sonde_backend *b, const char *id, struct sonde_problem *problem)
{
	bool left = false;
	int r;

	if (sonde_task_table_find(b->tasks, id))
		return sonde_problem_set(problem, 409, "as",
					 "there is a task '%s' already: `as` (sonde import --as "
					 "ID) gives it another id",
					 id);
	r = sonde_store_query(b->store, SONDE_STORE_FIND_DROPPED, id, on_left, &left);
	if (r == 0 && !left)
		r = sonde_store_query(b->store, SONDE_STORE_GET_SET, id, on_left, &left);
	if (r == 0 && left)
		return sonde_problem_set(problem, 409, "as",
					 "a task '%s' is being deleted: try again later, or `as` "
					 "(sonde import --as ID) gives it another id",
					 id);
	return r;
}

int sonde_bundle_import(struct sonde_backend *b, const void *data, size_t n, const char *as,
			int64_t now_ms, sonde_store_done_fn done, void *ctx,
			struct sonde_task **ret, struct sonde_problem *problem)
{
	_cleanup_(sonde_store_job_freep) struct sonde_store_job *job = NULL;
	_cleanup_(sonde_bundle_done) struct sonde_bundle bundle = {0};
	_cleanup_(sonde_task_freep) struct sonde_task *t = NULL;
	struct import im = {
		.series = b->series, .registry = b->registry, .problem = problem, .now_ms = now_ms};
	int r;

	r = sonde_bundle_read(&bundle, data, n, problem);
	if (r == 0)
		r = read_task(&bundle, as, now_ms, &t, problem);
	if (r < 0)
		return r;
	assert(t);
	im.task = t->spec->id;
	r = check_id(b, im.task, problem);
	if (r == 0)
		r = check_all(&im, &bundle);
	if (r < 0)
		return r;
	job = sonde_store_job_new();
	im.job = job;
	r = job ? apply_all(&im, &bundle, b, data, n) : -ENOMEM;
	if (r == 0)
		r = sonde_task_table_import(b->tasks, &t, &job, done, ctx, ret, problem);
	if (r == 0)
		sonde_ingest_took_bundle(b->ingest, n);
	else
		sonde_series_table_drop(b->series, im.task);
	return r;
}

int sonde_bundle_replay(struct sonde_series_table *series, struct sonde_registry *registry,
			const char *task, const void *data, size_t n, int64_t serial,
			int64_t now_ms)
{
	_cleanup_(sonde_bundle_done) struct sonde_bundle bundle = {0};
	struct sonde_problem problem;
	struct import im = {.series = series,
			    .registry = registry,
			    .problem = &problem,
			    .task = task,
			    .serial = serial,
			    .now_ms = now_ms};
	int r = sonde_bundle_read(&bundle, data, n, &problem);

	if (r == 0)
		r = sonde_series_table_get(series, task, now_ms, &im.set);
	if (r == 0)
		r = walk_series(&im, &bundle);
	return r == -EINVAL ? -EBADMSG : r;
}

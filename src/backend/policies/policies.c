/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/policies/policies.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend/json.h"
#include "base/clock.h"
#include "base/log.h"

/* A change on its way to the disk. */
struct change {
	struct sonde_policies *policies;
	char service[SONDE_SPEC_TEXT_MAX];
	json_t *document; /* owned; NULL: it goes */
	int64_t now_ms;
	sonde_store_done_fn done;
	void *ctx;
};

struct sonde_policies {
	struct sonde_store *store;
	struct sonde_policy *all;
	size_t under_way; /* changes; the room of each is promised */
};

static struct sonde_policy *policy_free(struct sonde_policy *p)
{
	if (!p)
		return NULL;
	json_decref(p->document);
	free(p->watchers);
	free(p);
	return NULL;
}

static struct change *change_free(struct change *c)
{
	if (!c)
		return NULL;
	json_decref(c->document);
	free(c);
	return NULL;
}
SONDE_DEFINE_CLEANUP(struct change *, change_free)

struct sonde_policy *sonde_policies_find(struct sonde_policies *pp, const char *service)
{
	struct sonde_policy *p;

	HASH_FIND_STR(pp->all, service, p);
	return p;
}

struct sonde_policy *sonde_policies_first(struct sonde_policies *pp)
{
	return pp->all;
}

static int by_service(const struct sonde_policy *a, const struct sonde_policy *b)
{
	return strcmp(a->service, b->service);
}

/* --- what has come of it, as it is stored --- */

static json_t *record_json(const struct sonde_policy_record *r)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:s, s:o}", "tasks", sonde_json_count(r->tasks),
			 "refused", sonde_json_count(r->refused), "skipped",
			 sonde_json_count(r->skipped), "missed", sonde_json_count(r->missed),
			 "last_ms", (json_int_t)r->last_ms, "task", r->task, "words",
			 sonde_json_text(r->words));
}

static uint64_t count_of(const json_t *o, const char *key)
{
	int64_t n = sonde_json_get_int(o, key, 0);

	return n > 0 ? (uint64_t)n : 0;
}

static void read_record(const json_t *o, struct sonde_policy_record *r)
{
	*r = (struct sonde_policy_record){.tasks = count_of(o, "tasks"),
					  .refused = count_of(o, "refused"),
					  .skipped = count_of(o, "skipped"),
					  .missed = count_of(o, "missed"),
					  .last_ms = sonde_json_get_int(o, "last_ms", 0)};
	(void)snprintf(r->task, sizeof(r->task), "%s", sonde_json_get_text(o, "task", ""));
	(void)snprintf(r->words, sizeof(r->words), "%s", sonde_json_get_text(o, "words", ""));
}

static json_t *records_json(const struct sonde_policy *p)
{
	_cleanup_json_ json_t *schedules = json_object();

	for (size_t i = 0; i < p->n_schedules; i++) {
		const struct sonde_policy_schedule *s = &p->schedules[i];
		json_t *o = record_json(&s->record);

		if (!o || json_object_set_new(o, "due_ms", json_integer(s->due_ms)) < 0 ||
		    json_object_set_new(schedules, s->name, o) < 0)
			return NULL;
	}
	return json_pack("{s:o, s:O}", "thresholds", record_json(&p->thresholds), "schedules",
			 schedules);
}

static void read_records(const json_t *o, int64_t now_ms, struct sonde_policy *p)
{
	const json_t *schedules = json_object_get(o, "schedules");

	read_record(json_object_get(o, "thresholds"), &p->thresholds);
	for (size_t i = 0; i < p->n_schedules; i++) {
		struct sonde_policy_schedule *s = &p->schedules[i];
		const json_t *row = json_object_get(schedules, s->name);
		int64_t due_ms = sonde_json_get_int(row, "due_ms", 0);

		read_record(row, &s->record);
		/* A clock that was ahead is no reason to wait until it is there again. */
		s->due_ms = due_ms > 0 && due_ms < now_ms ? due_ms : now_ms;
	}
}

void sonde_policies_note(struct sonde_policies *pp, const struct sonde_policy *p)
{
	_cleanup_(sonde_store_job_freep) struct sonde_store_job *job = sonde_store_job_new();
	_cleanup_json_ json_t *records = records_json(p);
	_cleanup_free_ char *text = records ? json_dumps(records, JSON_COMPACT) : NULL;
	int r = job && text ? 0 : -ENOMEM;

	if (r == 0)
		r = sonde_store_job_add(job, SONDE_STORE_PUT_POLICY_RECORD, "tt", p->service, text);
	if (r == 0)
		r = sonde_store_submit(pp->store, &job, NULL, NULL);
	if (r < 0)
		(void)sonde_log_warn(r, "cannot write what came of a policy, ignoring");
}

/* --- documents --- */

/* @old: the schedules before, whose records go on where the name is still there. */
static void take_schedules(struct sonde_policy *p, const json_t *list, int64_t now_ms)
{
	struct sonde_policy_schedule old[SONDE_POLICY_SCHEDULES_MAX];
	const size_t n_old = p->n_schedules;

	memcpy(old, p->schedules, sizeof(old));
	p->n_schedules = 0;
	for (size_t i = 0; i < json_array_size(list); i++) {
		struct sonde_policy_schedule *s = &p->schedules[p->n_schedules];
		const json_t *entry = json_array_get(list, i);
		const char *words;

		*s = (struct sonde_policy_schedule){.due_ms = now_ms};
		(void)snprintf(s->name, sizeof(s->name), "%s",
			       sonde_json_get_text(entry, "name", ""));
		if (sonde_when_parse(sonde_json_get_text(entry, "when", ""), &s->when, &words) < 0)
			continue; /* the document was checked */
		for (size_t k = 0; k < n_old; k++) {
			if (strcmp(old[k].name, s->name) != 0)
				continue;
			s->record = old[k].record;
			if (sonde_when_equal(&old[k].when, &s->when))
				s->due_ms = old[k].due_ms;
		}
		p->n_schedules++;
	}
}

/* Takes @document. Return: 0, -EIO, -ENOMEM. */
static int take(struct sonde_policies *pp, const char *service, json_t **document, int64_t now_ms,
		struct sonde_policy **ret)
{
	struct sonde_policy *p = sonde_policies_find(pp, service);
	char uuid[SONDE_POLICY_UUID_MAX];
	int r;

	r = sonde_policy_uuid(*document, uuid);
	if (r < 0)
		return r;
	if (!p) {
		p = calloc(1, sizeof(*p));
		if (!p)
			return -ENOMEM;
		(void)snprintf(p->service, sizeof(p->service), "%s", service);
		HASH_ADD_STR(pp->all, service, p);
		if (!SONDE_HASH_ADDED(p)) {
			(void)policy_free(p);
			return -ENOMEM;
		}
		HASH_SORT(pp->all, by_service);
	}
	json_decref(p->document);
	p->document = TAKE_PTR(*document);
	if (strcmp(p->uuid, uuid) != 0) {
		for (size_t i = 0; i < p->n_watchers; i++)
			p->watchers[i].current = false;
	}
	memcpy(p->uuid, uuid, sizeof(uuid));
	p->changed_ms = now_ms;
	take_schedules(p, json_object_get(p->document, "schedules"), now_ms);
	*ret = p;
	return 0;
}

static void remove_policy(struct sonde_policies *pp, const char *service)
{
	struct sonde_policy *p = sonde_policies_find(pp, service);

	if (!p)
		return;
	HASH_DEL(pp->all, p);
	(void)policy_free(p);
}

static void on_stored(void *ctx, int error)
{
	_cleanup_(change_freep) struct change *c = ctx;
	struct sonde_policies *pp = c->policies;
	struct sonde_policy *p;

	pp->under_way--;
	if (error == 0 && c->document) {
		error = take(pp, c->service, &c->document, c->now_ms, &p);
		if (error == 0)
			sonde_policies_note(pp, p);
	} else if (error == 0) {
		remove_policy(pp, c->service);
	}
	if (c->done)
		c->done(c->ctx, error);
}

static int submit(struct sonde_policies *pp, struct change **change, struct sonde_problem *problem)
{
	_cleanup_(sonde_store_job_freep) struct sonde_store_job *job = sonde_store_job_new();
	struct change *c = *change;
	_cleanup_free_ char *text = c->document ? json_dumps(c->document, JSON_COMPACT) : NULL;
	int r = job && (text || !c->document) ? 0 : -ENOMEM;

	if (r == 0 && text)
		r = sonde_store_job_add(job, SONDE_STORE_PUT_POLICY, "tit", c->service, c->now_ms,
					text);
	else if (r == 0)
		r = sonde_store_job_add(job, SONDE_STORE_DELETE_POLICY, "t", c->service);
	if (r == 0)
		r = sonde_store_submit(pp->store, &job, on_stored, c);
	if (r == -ENOBUFS)
		return sonde_problem_set(problem, 503, NULL, "the database is too busy, try again");
	if (r < 0)
		return r;
	pp->under_way++;
	*change = NULL;
	return 0;
}

static struct change *change_new(struct sonde_policies *pp, const char *service,
				 sonde_store_done_fn done, void *ctx)
{
	struct change *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	*c = (struct change){.policies = pp, .done = done, .ctx = ctx};
	(void)snprintf(c->service, sizeof(c->service), "%s", service);
	return c;
}

int sonde_policies_put(struct sonde_policies *pp, const char *service, json_t *document,
		       int64_t now_ms, sonde_store_done_fn done, void *ctx,
		       struct sonde_problem *problem)
{
	_cleanup_json_ json_t *taken = document;
	_cleanup_(change_freep) struct change *c = NULL;

	assert(pp && service && document && problem);

	if (!sonde_policies_find(pp, service) &&
	    HASH_COUNT(pp->all) + pp->under_way >= SONDE_POLICIES_MAX)
		return sonde_problem_set(problem, 409, NULL,
					 "there are %d policies, which is the most",
					 SONDE_POLICIES_MAX);
	c = change_new(pp, service, done, ctx);
	if (!c)
		return -ENOMEM;
	c->document = TAKE_PTR(taken);
	c->now_ms = now_ms;
	return submit(pp, &c, problem);
}

int sonde_policies_delete(struct sonde_policies *pp, const char *service, sonde_store_done_fn done,
			  void *ctx, struct sonde_problem *problem)
{
	_cleanup_(change_freep) struct change *c = change_new(pp, service, done, ctx);

	return c ? submit(pp, &c, problem) : -ENOMEM;
}

/* --- who watches --- */

void sonde_policy_watched(struct sonde_policy *p, const char *agent_id, bool current,
			  int64_t now_ms)
{
	struct sonde_policy_watcher *w = NULL, *grown;

	for (size_t i = 0; i < p->n_watchers; i++) {
		if (strcmp(p->watchers[i].agent_id, agent_id) == 0)
			w = &p->watchers[i];
	}
	/* One that has not asked for long makes room. */
	for (size_t i = 0; i < p->n_watchers && !w; i++) {
		if (now_ms - p->watchers[i].seen_ms > SONDE_POLICY_WATCHES_MS)
			w = &p->watchers[i];
	}
	if (!w && p->n_watchers < SONDE_POLICY_WATCHERS_MAX) {
		grown = reallocarray(p->watchers, p->n_watchers + 1, sizeof(*grown));
		if (grown) {
			p->watchers = grown;
			w = &grown[p->n_watchers++];
		}
	}
	if (!w)
		return;
	*w = (struct sonde_policy_watcher){.current = current, .seen_ms = now_ms};
	(void)snprintf(w->agent_id, sizeof(w->agent_id), "%s", agent_id);
}

const json_t *sonde_policy_schedule_entry(const struct sonde_policy *p,
					  const struct sonde_policy_schedule *s)
{
	const json_t *list = json_object_get(p->document, "schedules");

	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *entry = json_array_get(list, i);

		if (strcmp(sonde_json_get_text(entry, "name", ""), s->name) == 0)
			return entry;
	}
	return NULL;
}

/* --- loading --- */

static int parse_text(const char *text, json_t **ret)
{
	char words[160];
	int line;

	return sonde_json_parse(text, strlen(text), ret, &line, words);
}

static int load_row(void *ctx, const struct sonde_store_row *row)
{
	const char *service = sonde_store_row_text(row, 0);
	_cleanup_json_ json_t *raw = NULL, *document = NULL, *records = NULL;
	const int64_t now_ms = sonde_wall_ms();
	struct sonde_policies *pp = ctx;
	struct sonde_problem problem;
	struct sonde_policy *p = NULL;
	int r;

	r = parse_text(sonde_store_row_text(row, 2), &raw);
	if (r == 0) /* a longest duration that became shorter is told when a task is made */
		r = sonde_policy_check(raw, service, now_ms, INT64_MAX / 2, &document, &problem);
	if (r == 0)
		r = take(pp, service, &document, now_ms, &p);
	if (r == -ENOMEM)
		return r;
	if (r < 0) {
		(void)sonde_log_warn(-EBADMSG,
				     "the policy of a service in the database is damaged, "
				     "ignoring");
		return 0;
	}
	assert(p);
	p->changed_ms = sonde_store_row_int(row, 1);
	r = parse_text(sonde_store_row_text(row, 3), &records);
	if (r == -ENOMEM)
		return r;
	read_records(records, now_ms, p);
	return 0;
}

int sonde_policies_new(struct sonde_store *store, struct sonde_policies **ret)
{
	_cleanup_(sonde_policies_freep) struct sonde_policies *pp = calloc(1, sizeof(*pp));
	int r;

	if (!pp)
		return -ENOMEM;
	pp->store = store;
	r = sonde_store_query(store, SONDE_STORE_GET_POLICIES, NULL, load_row, pp);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(pp);
	return 0;
}

struct sonde_policies *sonde_policies_free(struct sonde_policies *pp)
{
	struct sonde_policy *p, *next;

	if (!pp)
		return NULL;
	HASH_ITER (hh, pp->all, p, next) {
		HASH_DEL(pp->all, p);
		(void)policy_free(p);
	}
	free(pp);
	return NULL;
}

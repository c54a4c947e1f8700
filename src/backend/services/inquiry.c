/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/services/inquiry.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend/json.h"
#include "backend/services/lists.h"
#include "backend/services/services.h"
#include "backend/store/ids.h"
#include "base/clock.h"
#include "sonde/v1/task.pb-c.h"

#define ID_BYTES 16
#define LIST_MAX 512

/* One agent's part. */
struct part {
	char id[2 * ID_BYTES + 1];
	char *agent_id; /* owned */
	char *spec;	/* owned; of a question that waits for the agent's watch, else NULL */
	json_t *answer; /* owned; NULL: not yet */
};

struct sonde_inquiry {
	struct sonde_inquiry *next;
	int64_t until_ms;
	sonde_inquiry_done_fn done;
	void *ctx;
	size_t n;
	struct part parts[];
};

static json_t *no_answer(const char *agent_id, const char *words)
{
	return json_pack("{s:o, s:b, s:b, s:s}", "agent_id", sonde_json_text(agent_id), "answered",
			 0, "ok", 0, "refused", words);
}

static json_t *targets_json(const Sonde__V1__Plan *m)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < m->n_targets; i++)
		(void)json_array_append_new(list, sonde_target_json(m->targets[i]));
	return list;
}

static json_t *probes_json(const Sonde__V1__Plan *m)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < m->n_probes; i++) {
		const Sonde__V1__PlanProbe *p = m->probes[i];

		(void)json_array_append_new(
			list,
			json_pack("{s:o, s:o, s:o, s:b, s:o, s:o, s:o, s:I, s:I, s:o}", "metrics",
				  sonde_json_text(p->metrics), "probe", sonde_json_text(p->name),
				  "state", sonde_json_text(p->state), "core", (int)p->core,
				  "reason", sonde_json_text(p->reason), "less",
				  sonde_json_text(p->less), "per", sonde_json_text(p->per),
				  "target_ns", (json_int_t)p->target_ns, "other_ns",
				  (json_int_t)p->other_ns, "capability",
				  sonde_json_text(p->capability)));
	}
	return list;
}

/* Every core metric has a probe. An empty list has none. */
static bool is_ok(const Sonde__V1__Plan *m)
{
	for (size_t i = 0; i < m->n_probes; i++) {
		if (m->probes[i]->core && strcmp(m->probes[i]->state, "absent") == 0)
			return false;
	}
	return m->n_probes > 0 && !m->missing[0];
}

static json_t *answer_json(const Sonde__V1__Plan *m)
{
	return json_pack("{s:o, s:b, s:b, s:o, s:o, s:o, s:o, s:o, s:I, s:I}", "agent_id",
			 sonde_json_text(m->agent_id), "answered", 1, "ok", (int)is_ok(m),
			 "refused", sonde_json_text_or_null(m->refused), "missing",
			 sonde_json_text_or_null(m->missing), "targets", targets_json(m), "probes",
			 probes_json(m), "absent", sonde_absent_json(m->absent, m->n_absent),
			 "map_bytes", sonde_json_count(m->map_bytes), "map_bytes_full",
			 sonde_json_count(m->map_bytes_full));
}

static void inquiry_free(struct sonde_inquiry *q)
{
	for (size_t i = 0; i < q->n; i++) {
		free(q->parts[i].agent_id);
		free(q->parts[i].spec);
		json_decref(q->parts[i].answer);
	}
	free(q);
}

static void unlink_inquiry(struct sonde_backend *b, const struct sonde_inquiry *q)
{
	struct sonde_inquiry **at = &b->inquiries;

	while (*at != q)
		at = &(*at)->next;
	*at = q->next;
	b->n_inquiries--;
}

static json_t *gather(struct sonde_inquiry *q)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < q->n; i++) {
		json_t *answer = TAKE_PTR(q->parts[i].answer);

		if (!answer)
			answer =
				no_answer(q->parts[i].agent_id, "the agent did not answer in time");
		(void)json_array_append_new(list, answer);
	}
	return list;
}

static void finish(struct sonde_backend *b, struct sonde_inquiry *q)
{
	_cleanup_json_ json_t *answers = gather(q);

	unlink_inquiry(b, q);
	q->done(q->ctx, answers);
	inquiry_free(q);
}

static bool is_complete(const struct sonde_inquiry *q)
{
	for (size_t i = 0; i < q->n; i++) {
		if (!q->parts[i].answer)
			return false;
	}
	return true;
}

/* One that is not watching just now (it began a moment ago, or lost its connection) is asked when it does. */
static int fill_part(struct sonde_backend *b, struct part *part, const char *agent_id,
		     const char *spec)
{
	int r;

	part->agent_id = strdup(agent_id);
	if (!part->agent_id)
		return -ENOMEM;
	r = sonde_id_random(ID_BYTES, part->id);
	if (r < 0 || sonde_services_ask(b, agent_id, part->id, spec))
		return r;
	part->spec = strdup(spec);
	return part->spec ? 0 : -ENOMEM;
}

void sonde_inquiry_watch_came(struct sonde_backend *b, const char *agent_id)
{
	for (struct sonde_inquiry *q = b->inquiries; q; q = q->next) {
		for (size_t i = 0; i < q->n; i++) {
			struct part *part = &q->parts[i];

			if (!part->spec || strcmp(part->agent_id, agent_id) != 0)
				continue;
			if (!sonde_services_ask(b, agent_id, part->id, part->spec))
				continue;
			free(part->spec);
			part->spec = NULL;
		}
	}
}

int sonde_inquiry_start(struct sonde_backend *b, const char *const *agents,
			const char *const *specs, size_t n, sonde_inquiry_done_fn done, void *ctx)
{
	struct sonde_inquiry *q;
	int r = 0;

	assert(b && agents && specs && n > 0 && done);

	if (b->n_inquiries == SONDE_INQUIRIES_MAX)
		return -ENOSPC;
	q = calloc(1, sizeof(*q) + n * sizeof(q->parts[0]));
	if (!q)
		return -ENOMEM;
	q->n = n;
	q->done = done;
	q->ctx = ctx;
	for (size_t i = 0; i < n && r == 0; i++)
		r = fill_part(b, &q->parts[i], agents[i], specs[i]);
	if (r < 0) {
		inquiry_free(q);
		return r;
	}
	q->until_ms = sonde_wall_ms() + SONDE_INQUIRY_WAIT_MS;
	q->next = b->inquiries;
	b->inquiries = q;
	b->n_inquiries++;
	return 0;
}

void sonde_inquiry_tick(struct sonde_backend *b, int64_t now_ms)
{
	struct sonde_inquiry *next;

	for (struct sonde_inquiry *q = b->inquiries; q; q = next) {
		next = q->next;
		if (q->until_ms <= now_ms)
			finish(b, q);
	}
}

void sonde_inquiry_end_all(struct sonde_backend *b)
{
	while (b->inquiries) {
		struct sonde_inquiry *q = b->inquiries;

		unlink_inquiry(b, q);
		q->done(q->ctx, NULL);
		inquiry_free(q);
	}
}

static struct part *find_part(struct sonde_backend *b, const Sonde__V1__Plan *m,
			      struct sonde_inquiry **ret)
{
	for (struct sonde_inquiry *q = b->inquiries; q; q = q->next) {
		for (size_t i = 0; i < q->n; i++) {
			struct part *part = &q->parts[i];

			if (part->answer || strcmp(part->id, m->question) != 0 ||
			    strcmp(part->agent_id, m->agent_id) != 0)
				continue;
			*ret = q;
			return part;
		}
	}
	return NULL;
}

static enum sonde_grpc_status take(struct sonde_backend *b, struct sonde_grpc_server_call *call,
				   const Sonde__V1__Plan *m)
{
	Sonde__V1__PlanTaken taken = SONDE__V1__PLAN_TAKEN__INIT;
	struct sonde_inquiry *q;
	struct part *part;

	if (m->n_targets > LIST_MAX || m->n_probes > LIST_MAX || m->n_absent > LIST_MAX)
		return sonde_services_fail(call, SONDE_GRPC_INVALID_ARGUMENT,
					   "more than %d entries in a list", LIST_MAX);
	part = find_part(b, m, &q);
	if (!part)
		return sonde_services_fail(call, SONDE_GRPC_NOT_FOUND,
					   "no such question to this agent is open");
	part->answer = answer_json(m);
	if (!part->answer)
		return sonde_services_fail(call, SONDE_GRPC_RESOURCE_EXHAUSTED, "out of memory");
	sonde_services_answer(call, &taken.base);
	if (is_complete(q))
		finish(b, q);
	return SONDE_GRPC_OK;
}

enum sonde_grpc_status sonde_services_plan(void *ctx, struct sonde_grpc_server_call *call,
					   const uint8_t *data, size_t n)
{
	Sonde__V1__Plan *m = sonde_services_unpack(&sonde__v1__plan__descriptor, data, n);
	enum sonde_grpc_status status;

	if (!m)
		return sonde_services_fail(call, SONDE_GRPC_INVALID_ARGUMENT, "not a Plan");
	status = take(ctx, call, m);
	(void)sonde_wire_free(&m->base);
	return status;
}

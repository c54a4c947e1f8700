/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events of a task, as server-sent events: the whole task whenever something of it has changed. An event's id names
 * what it shows, so that a client which comes again with `Last-Event-ID` gets what is new, and nothing it has.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "backend/http/routes-internal.h"
#include "backend/query/views.h"

static void make_id(const struct sonde_task *t, char ret[static SONDE_HTTP_EVENT_ID_MAX])
{
	uint64_t reports = 0, last = 0;

	for (size_t i = 0; i < t->n_agents; i++) {
		reports += t->agents[i]->sequences.received + t->agents[i]->duplicates;
		last += (uint64_t)t->agents[i]->last_report_ms;
	}
	(void)snprintf(ret, SONDE_HTTP_EVENT_ID_MAX,
		       "%s.%zu.%zu.%" PRIu64 ".%" PRIu64 ".%" PRIu64 ".%" PRIu64,
		       sonde_task_state_name(t->state), json_array_size(t->states), t->n_agents,
		       (uint64_t)t->spec->duration_ms, t->batches, reports, last);
}

static int append(struct sonde_buf *out, const char *event, const char *id, json_t *data)
{
	char *text = data ? json_dumps(data, JSON_COMPACT) : NULL;
	int r = text ? 0 : -ENOMEM;

	if (r == 0)
		r = sonde_buf_printf(out, "id: %s\nevent: %s\ndata: ", id, event);
	if (r == 0)
		r = sonde_buf_append(out, text, strlen(text));
	if (r == 0)
		r = sonde_buf_append(out, "\n\n", 2);
	free(text);
	json_decref(data);
	return r;
}

int sonde_routes_events(void *ctx, struct sonde_http_request *req, struct sonde_buf *out)
{
	struct sonde_backend *b = ctx;
	struct sonde_task *t = sonde_task_table_find(b->tasks, req->subject);
	char id[SONDE_HTTP_EVENT_ID_MAX];
	int r = 0;

	if (!t)
		return 1;
	make_id(t, id);
	if (strcmp(id, req->event_id) != 0)
		r = append(out, "task", id, sonde_view_task(b, t));
	if (r == 0 && sonde_task_state_final(t->state))
		r = append(out, "end", id,
			   json_pack("{s:s}", "state", sonde_task_state_name(t->state)));
	if (r < 0)
		return r;
	memcpy(req->event_id, id, sizeof(id));
	return sonde_task_state_final(t->state);
}

void routes_task_events(struct sonde_backend *b, struct sonde_http_request *req,
			struct sonde_task *t)
{
	const char *last = sonde_http_header(req, "Last-Event-ID");
	char id[SONDE_HTTP_EVENT_ID_MAX];

	make_id(t, id);
	if (last)
		(void)snprintf(req->event_id, sizeof(req->event_id), "%s", last);
	/* What a browser takes as: do not come again. */
	if (sonde_task_state_final(t->state) && strcmp(id, req->event_id) == 0) {
		req->status = 204;
		req->text = strdup("");
		if (!req->text)
			routes_refuse(req, -ENOMEM);
		return;
	}
	if (!sonde_httpd_has_stream(b->httpd, req)) {
		(void)sonde_problem_set(
			&req->problem, 503, NULL,
			"%d streams of events, or %d of one address, are open, try again",
			SONDE_HTTP_STREAMS_MAX, SONDE_HTTP_STREAMS_OF_ONE);
		return;
	}
	memcpy(req->subject, t->spec->id, sizeof(t->spec->id));
	req->status = 200;
	req->streams = true;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/oap/template-store.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend/http/waiting.h"
#include "backend/json.h"
#include "backend/store/ids.h"

#define PATH "/ui-management/templates"

struct template
{
	char id[SONDE_TEMPLATE_ID_MAX];
	char *configuration; /* owned */
	bool disabled;
	UT_hash_handle hh;
};

struct sonde_templates {
	struct template *all; /* in the order in which they were first written */
	size_t bytes;
	struct change *under_way; /* list; borrowed: the store's until it is written */
};

/* A row on its way to the disk. */
struct change {
	struct sonde_waiting waiting; /* the request's ctx, so the first */
	char id[SONDE_TEMPLATE_ID_MAX];
	char *configuration; /* owned */
	bool disabled;
	size_t rows, bytes; /* the room that it may need */
	struct change *next;
};

static struct change *change_free(struct change *c)
{
	if (!c)
		return NULL;
	free(c->configuration);
	free(c);
	return NULL;
}
SONDE_DEFINE_CLEANUP(struct change *, change_free)

static struct template *find(const struct sonde_templates *t, const char *id)
{
	struct template *row;

	HASH_FIND_STR(t->all, id, row);
	return row;
}

static bool is_under_way(const struct sonde_templates *t, const char *id)
{
	for (const struct change *c = t->under_way; c; c = c->next) {
		if (strcmp(c->id, id) == 0)
			return true;
	}
	return false;
}

static void forget(struct sonde_templates *t, const struct change *c)
{
	struct change **at = &t->under_way;

	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
}

/*
 * What the row would need beyond what it has. Behind another change of the same row that is all of it: that one may
 * make it small first, and others may take the room.
 */
static void room_for(const struct sonde_templates *t, const char *id, const char *configuration,
		     size_t *ret_rows, size_t *ret_bytes)
{
	const struct template *row = find(t, id);
	size_t n = strlen(configuration);
	size_t old = row && !is_under_way(t, id) ? strlen(row->configuration) : 0;

	*ret_rows = row ? 0 : 1;
	*ret_bytes = n > old ? n - old : 0;
}

/* With what is under way: that is promised. */
static bool has_room(const struct sonde_templates *t, const char *id, const char *configuration)
{
	size_t rows, bytes;

	room_for(t, id, configuration, &rows, &bytes);
	for (const struct change *c = t->under_way; c; c = c->next) {
		rows += c->rows;
		bytes += c->bytes;
	}
	return HASH_COUNT(t->all) + rows <= SONDE_TEMPLATES_MAX &&
	       t->bytes + bytes <= SONDE_TEMPLATES_BYTES_MAX;
}

/* Return: 0, -ENOSPC, -ENOMEM. */
static int take(struct sonde_templates *t, const char *id, const char *configuration, bool disabled)
{
	struct template *row = find(t, id);
	size_t n = strlen(configuration), old = row ? strlen(row->configuration) : 0;
	char *copy;

	if (t->bytes - old + n > SONDE_TEMPLATES_BYTES_MAX ||
	    (!row && HASH_COUNT(t->all) >= SONDE_TEMPLATES_MAX))
		return -ENOSPC;
	copy = strdup(configuration);
	if (!copy)
		return -ENOMEM;
	if (!row) {
		row = calloc(1, sizeof(*row));
		if (row) {
			(void)snprintf(row->id, sizeof(row->id), "%s", id);
			HASH_ADD_STR(t->all, id, row);
		}
		if (!row || !SONDE_HASH_ADDED(row)) {
			free(row);
			free(copy);
			return -ENOMEM;
		}
	}
	free(row->configuration);
	row->configuration = copy;
	row->disabled = disabled;
	t->bytes += n - old;
	return 0;
}

static int load_row(void *ctx, const struct sonde_store_row *row)
{
	const char *id = sonde_store_row_text(row, 0);
	int r = strlen(id) < SONDE_TEMPLATE_ID_MAX ? take(ctx, id, sonde_store_row_text(row, 1),
							  sonde_store_row_int(row, 2) != 0)
						   : 0;

	return r == -ENOSPC ? 0 : r;
}

int sonde_templates_new(struct sonde_store *store, struct sonde_templates **ret)
{
	_cleanup_(sonde_templates_freep) struct sonde_templates *t = calloc(1, sizeof(*t));
	int r = t ? sonde_store_query(store, SONDE_STORE_GET_TEMPLATES, NULL, load_row, t)
		  : -ENOMEM;

	if (r < 0)
		return r;
	*ret = TAKE_PTR(t);
	return 0;
}

struct sonde_templates *sonde_templates_free(struct sonde_templates *t)
{
	struct template *row, *next;

	if (!t)
		return NULL;
	HASH_ITER (hh, t->all, row, next) {
		HASH_DEL(t->all, row);
		free(row->configuration);
		free(row);
	}
	free(t);
	return NULL;
}

/* --- answers --- */

static json_t *row_json(const struct template *row)
{
	return json_pack("{s:s, s:o, s:b}", "id", row->id, "configuration",
			 sonde_json_text(row->configuration), "disabled", (int)row->disabled);
}

static void give(struct sonde_http_request *req, int status, json_t *answer)
{
	req->status = status;
	req->answer = answer;
}

/* OAP's TemplateChangeStatus. */
static void tell(struct sonde_http_request *req, int status, const char *id, const char *message)
{
	give(req, status,
	     json_pack("{s:o, s:b, s:o}", "id", sonde_json_text_or_null(id), "status",
		       (int)(message == NULL), "message", sonde_json_text_or_null(message)));
}

static void list(struct sonde_backend *b, struct sonde_http_request *req)
{
	const char *all = sonde_http_query(req, "includingDisabled");
	_cleanup_json_ json_t *rows = json_array();

	for (const struct template *row = b->templates->all; rows && row; row = row->hh.next) {
		if (row->disabled && (!all || strcmp(all, "true") != 0))
			continue;
		if (sonde_json_append(rows, row_json(row)) < 0)
			return; /* without an answer it is 500 */
	}
	give(req, 200, json_incref(rows));
}

static void on_stored(void *ctx, int error)
{
	_cleanup_(change_freep) struct change *c = ctx;
	struct sonde_http_request *req = c->waiting.request;

	forget(c->waiting.backend->templates, c);
	if (error == 0)
		error = take(c->waiting.backend->templates, c->id, c->configuration, c->disabled);
	if (!req)
		return;
	req->ctx = NULL;
	if (error == 0)
		tell(req, 200, c->id, NULL);
	else
		(void)sonde_problem_set(&req->problem, 503, NULL,
					"the template could not be stored");
	sonde_http_resume(req);
}

/* @configuration and @id are copied. */
static void store(struct sonde_backend *b, struct sonde_http_request *req, const char *id,
		  const char *configuration, bool disabled)
{
	_cleanup_(sonde_store_job_freep) struct sonde_store_job *job = sonde_store_job_new();
	_cleanup_(change_freep) struct change *c = calloc(1, sizeof(*c));
	int r = job && c ? 0 : -ENOMEM;

	if (r == 0) {
		c->waiting = (struct sonde_waiting){.backend = b, .request = req};
		c->disabled = disabled;
		(void)snprintf(c->id, sizeof(c->id), "%s", id);
		c->configuration = strdup(configuration);
		r = c->configuration
			    ? sonde_store_job_add(job, SONDE_STORE_PUT_TEMPLATE, "tti", c->id,
						  c->configuration, (int64_t)disabled)
			    : -ENOMEM;
	}
	if (r == 0) {
		room_for(b->templates, id, configuration, &c->rows, &c->bytes);
		r = sonde_store_submit(b->store, &job, on_stored, c);
	}
	if (r < 0) {
		(void)sonde_problem_set(&req->problem, 503, NULL,
					"the database is too busy, try again");
		return;
	}
	c->next = b->templates->under_way;
	b->templates->under_way = c;
	req->ctx = &c->waiting;
	req->waits = true;
	c = NULL;
}

/* Return: 0, -EINVAL with the problem set. */
static int get_text(struct sonde_http_request *req, const char *key, bool needed, const char **ret)
{
	const json_t *j = json_object_get(req->body, key);
	const char *text = json_string_value(j);

	*ret = text ? text : "";
	if (j && !json_is_null(j) && (!text || strlen(text) != json_string_length(j)))
		return sonde_problem_set(&req->problem, 400, key, "%s: must be a string", key);
	if (needed && (*ret)[0] == '\0')
		return sonde_problem_set(&req->problem, 400, key, "%s: is needed", key);
	return 0;
}

static void create(struct sonde_backend *b, struct sonde_http_request *req)
{
	const char *wanted, *configuration;
	char id[37];

	if (get_text(req, "configuration", true, &configuration) < 0 ||
	    get_text(req, "id", false, &wanted) < 0)
		return;
	if (strlen(wanted) >= SONDE_TEMPLATE_ID_MAX)
		tell(req, 409, NULL, "the id is too long");
	else if (wanted[0] && (find(b->templates, wanted) || is_under_way(b->templates, wanted)))
		tell(req, 409, wanted, "there is a template of that id");
	else if (!has_room(b->templates, wanted, configuration))
		tell(req, 409, NULL, "there is no room for another template");
	else if (!wanted[0] && sonde_id_uuid(id) < 0)
		(void)sonde_problem_set(&req->problem, 500, NULL, "no random numbers");
	else
		store(b, req, wanted[0] ? wanted : id, configuration, false);
}

static void update(struct sonde_backend *b, struct sonde_http_request *req)
{
	const char *id, *configuration;

	if (get_text(req, "id", true, &id) < 0 ||
	    get_text(req, "configuration", true, &configuration) < 0)
		return;
	if (!find(b->templates, id))
		tell(req, 409, id, "there is no template of that id");
	else if (!has_room(b->templates, id, configuration))
		tell(req, 409, id, "there is no room for a larger template");
	else
		store(b, req, id, configuration, false);
}

/* --- routes --- */

static void wrong_method(struct sonde_http_request *req, const char *allow)
{
	(void)snprintf(req->allow, sizeof(req->allow), "%s", allow);
	(void)sonde_problem_set(&req->problem, 405, NULL, "method %s is not allowed here, %s is",
				req->method, allow);
}

static void handle_all(struct sonde_backend *b, struct sonde_http_request *req)
{
	if (strcmp(req->method, "GET") == 0)
		list(b, req);
	else if (strcmp(req->method, "POST") == 0)
		create(b, req);
	else if (strcmp(req->method, "PUT") == 0)
		update(b, req);
	else
		wrong_method(req, "GET, HEAD, POST, PUT");
}

static void handle_one(struct sonde_backend *b, struct sonde_http_request *req, const char *id,
		       bool disable)
{
	const struct template *row = find(b->templates, id);

	if (strcmp(req->method, disable ? "POST" : "GET") != 0)
		wrong_method(req, disable ? "POST" : "GET, HEAD");
	else if (!row)
		(void)sonde_problem_set(&req->problem, 404, NULL, "no template '%.200s'", id);
	else if (disable)
		store(b, req, row->id, row->configuration, true);
	else
		give(req, 200, row_json(row));
}

bool sonde_templates_handle(struct sonde_backend *b, struct sonde_http_request *req)
{
	static const char prefix[] = PATH "/";
	char id[SONDE_TEMPLATE_ID_MAX];
	const char *rest;
	size_t n;

	if (strcmp(req->path, PATH) == 0) {
		handle_all(b, req);
		return true;
	}
	if (strncmp(req->path, prefix, sizeof(prefix) - 1) != 0)
		return false;
	rest = req->path + sizeof(prefix) - 1;
	n = strcspn(rest, "/");
	if (n == 0 || n >= sizeof(id) || (rest[n] != '\0' && strcmp(rest + n, "/disable") != 0))
		return false;
	memcpy(id, rest, n);
	id[n] = '\0';
	handle_one(b, req, id, rest[n] != '\0');
	return true;
}

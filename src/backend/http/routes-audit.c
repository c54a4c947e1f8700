/* SPDX-License-Identifier: Apache-2.0 */
/* The audit log: what of the requests goes into it, and its pages. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend/audit.h"
#include "backend/http/routes-internal.h"
#include "backend/json.h"
#include "base/num.h"

#define API "/api/v1"
#define PAGE_DEFAULT 100

/* What is named otherwise than by its method and route. */
static const struct {
	const char *method, *route, *action;
} actions[] = {
	{"POST", API "/tasks", "task.create"},
	{"DELETE", API "/tasks/{id}", "task.delete"},
	{"POST", API "/import", "task.import"},
	{"POST", API "/tasks/{id}/stop", "task.stop"},
	{"POST", API "/tasks/{id}/extend", "task.extend"},
	{"PUT", API "/policies/{id}", "policy.put"},
	{"DELETE", API "/policies/{id}", "policy.delete"},
};

/* Asks for something in POST's form, and changes nothing. GraphQL's mutations ask by themselves. */
static bool only_reads(const struct sonde_http_request *req)
{
	return strcmp(req->method, "GET") == 0 || strcmp(req->path, API "/plan") == 0 ||
	       strcmp(req->path, "/graphql") == 0;
}

bool routes_is_allowed(struct sonde_http_request *req)
{
	if (only_reads(req) || req->identity.role == SONDE_ROLE_OPERATE)
		return true;
	(void)sonde_problem_set(&req->problem, 403, NULL,
				"%s may view, and change nothing: the role operate is needed",
				req->identity.who);
	return false;
}

static void find_action(const struct sonde_http_request *req, char *ret, size_t size)
{
	const char *route = req->route ? req->route : req->path;

	for (size_t i = 0; i < ELEMENTS_OF(actions); i++) {
		if (strcmp(req->method, actions[i].method) == 0 && req->route &&
		    strcmp(req->route, actions[i].route) == 0) {
			(void)snprintf(ret, size, "%s", actions[i].action);
			return;
		}
	}
	if (strncmp(req->path, "/ui-management/templates", 24) == 0)
		(void)snprintf(ret, size, "template.change");
	else
		(void)snprintf(ret, size, "%s %s", req->method, route);
}

/* What stands for {id}; of what was made, its id. */
static void find_subject(const struct sonde_http_request *req, char *ret, size_t size)
{
	const char *brace = req->route ? strchr(req->route, '{') : NULL, *from = NULL;
	size_t n = 0;

	if (req->location[0]) {
		from = strrchr(req->location, '/') + 1;
		n = strlen(from);
	} else if (brace && strlen(req->path) > (size_t)(brace - req->route)) {
		from = req->path + (brace - req->route);
		n = strcspn(from, "/");
	}
	(void)snprintf(ret, size, "%.*s", (int)n, from ? from : "");
	for (char *p = ret; *p; p++)
		*p = (unsigned char)*p < ' ' || *p == 0x7f ? '?' : *p;
}

/*
 * What changes something, and what is refused for its token or role. Who may not change anything has changed nothing, whatever
 * the answer was: else anyone could push the rows of changes out.
 */
static bool is_noted(const struct sonde_http_request *req, int status)
{
	return status == 401 || status == 403 ||
	       (!only_reads(req) && req->identity.role == SONDE_ROLE_OPERATE);
}

void sonde_routes_note(void *ctx, const struct sonde_http_request *req, int status)
{
	struct sonde_backend *b = ctx;
	char action[96], subject[160];
	struct sonde_audit_entry e = {.identity = &req->identity,
				      .address = req->address,
				      .action = action,
				      .subject = subject,
				      .status = status,
				      .words = req->problem.detail};

	if (!is_noted(req, status))
		return;
	find_action(req, action, sizeof(action));
	for (char *p = action; *p; p++)
		*p = (unsigned char)*p < ' ' || *p == 0x7f ? '?' : *p;
	find_subject(req, subject, sizeof(subject));
	sonde_audit_note(b->audit, &e);
}

void routes_audit(struct sonde_backend *b, struct sonde_http_request *req)
{
	const char *limit = sonde_http_query(req, "limit");
	const char *cursor = sonde_http_query(req, "cursor");
	struct sonde_audit_filter filter = {.before = INT64_MAX, .limit = PAGE_DEFAULT};
	uint64_t before = INT64_MAX;
	json_t *answer = NULL;
	int r = 0;

	if (limit && sonde_parse_u64(limit, 1, SONDE_AUDIT_PAGE_MAX, &filter.limit) < 0)
		r = sonde_problem_set(&req->problem, 400, "limit", "limit: must be 1 to %d",
				      SONDE_AUDIT_PAGE_MAX);
	else if (cursor && cursor[0] && sonde_parse_u64(cursor, 1, INT64_MAX, &before) < 0)
		r = sonde_problem_set(&req->problem, 400, "cursor",
				      "cursor: not the `next` of an answer");
	filter.before = (int64_t)before;
	if (r == 0)
		r = routes_read_span(req, &filter.since_ms, &filter.until_ms);
	if (r == 0)
		r = sonde_audit_list(b->audit, &filter, &answer);
	if (r < 0)
		routes_refuse(req, r);
	else
		routes_answer(req, 200, answer);
}

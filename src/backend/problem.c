/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/problem.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

static const struct {
	int status;
	const char *title;
} titles[] = {
	{400, "Bad Request"},
	{401, "Unauthorized"},
	{403, "Forbidden"},
	{404, "Not Found"},
	{405, "Method Not Allowed"},
	{406, "Not Acceptable"},
	{408, "Request Timeout"},
	{409, "Conflict"},
	{413, "Content Too Large"},
	{415, "Unsupported Media Type"},
	{500, "Internal Server Error"},
	{503, "Service Unavailable"},
};

const char *sonde_problem_title(int status)
{
	for (size_t i = 0; i < ELEMENTS_OF(titles); i++) {
		if (titles[i].status == status)
			return titles[i].title;
	}
	return "Error";
}

int sonde_problem_set(struct sonde_problem *p, int status, const char *field, const char *fmt, ...)
{
	va_list ap;

	p->status = status;
	(void)snprintf(p->field, sizeof(p->field), "%s", field ? field : "");
	va_start(ap, fmt);
	(void)vsnprintf(p->detail, sizeof(p->detail), fmt, ap);
	va_end(ap);
	return -EINVAL;
}

json_t *sonde_problem_json(const struct sonde_problem *p)
{
	json_t *o = json_pack("{s:s, s:s, s:i, s:s+}", "type", "about:blank", "title",
			      sonde_problem_title(p->status), "status", p->status, "detail",
			      p->detail, "");

	if (o && p->field[0] != '\0' &&
	    json_object_set_new(o, "field", json_string(p->field)) < 0) {
		json_decref(o);
		return NULL;
	}
	return o;
}

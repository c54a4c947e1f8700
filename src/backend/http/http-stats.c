/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/http/http-stats.h"

#include <string.h>

#include "base/cleanup.h"

#define MS 1000000ULL
const uint64_t sonde_http_bounds_ns[SONDE_HTTP_BOUNDS] = {1 * MS,    2 * MS,	5 * MS,	   10 * MS,
							  25 * MS,   50 * MS,	100 * MS,  250 * MS,
							  1000 * MS, 5000 * MS, 10000 * MS};

static const char *method_name(const char *method)
{
	static const char *const known[] = {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"};

	for (size_t i = 0; i < ELEMENTS_OF(known); i++) {
		if (strcmp(method, known[i]) == 0)
			return known[i];
	}
	return "other";
}

static struct sonde_http_route_stats *route_of(struct sonde_http_stats *s, const char *route)
{
	for (size_t i = 0; i < s->n_routes; i++) {
		if (strcmp(s->route[i].route, route) == 0)
			return &s->route[i];
	}
	if (s->n_routes == SONDE_HTTP_ROUTES_MAX)
		return NULL;
	s->route[s->n_routes].route = route;
	return &s->route[s->n_routes++];
}

static struct sonde_http_count *count_of(struct sonde_http_stats *s, const char *route,
					 const char *method, int status)
{
	for (size_t i = 0; i < s->n_counts; i++) {
		if (s->count[i].status == status && s->count[i].method == method &&
		    strcmp(s->count[i].route, route) == 0)
			return &s->count[i];
	}
	if (s->n_counts == SONDE_HTTP_COUNTS_MAX)
		return NULL;
	s->count[s->n_counts] =
		(struct sonde_http_count){.route = route, .method = method, .status = status};
	return &s->count[s->n_counts++];
}

void sonde_http_stats_note(struct sonde_http_stats *s, const char *route, const char *method,
			   int status, uint64_t ns)
{
	struct sonde_http_route_stats *r = route_of(s, route ? route : "");
	struct sonde_http_count *c = count_of(s, route ? route : "", method_name(method), status);
	size_t i = 0;

	if (!r || !c) {
		s->no_room++;
		return;
	}
	while (i < SONDE_HTTP_BOUNDS && ns > sonde_http_bounds_ns[i])
		i++;
	r->bucket[i]++;
	r->sum_ns += ns;
	r->count++;
	c->n++;
}

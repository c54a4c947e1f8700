/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * HTTP stats: requests by route, method and status, and how long their answers took, by route. Routes are the static
 * texts of the tables ("/api/v1/tasks/{id}"), methods and statuses few, so that nobody outside can make rows; what has no
 * room is counted without a name. A plain value. Loop thread only.
 */

#include <stddef.h>
#include <stdint.h>

#define SONDE_HTTP_ROUTES_MAX 64
#define SONDE_HTTP_COUNTS_MAX 512
#define SONDE_HTTP_BOUNDS 11
extern const uint64_t sonde_http_bounds_ns[SONDE_HTTP_BOUNDS]; /* ascending, inclusive */

struct sonde_http_stats {
	struct sonde_http_route_stats {
		const char *route; /* static; "" = none of ours */
		uint64_t bucket[SONDE_HTTP_BOUNDS + 1];
		uint64_t sum_ns, count;
	} route[SONDE_HTTP_ROUTES_MAX];
	size_t n_routes;
	struct sonde_http_count {
		const char *route, *method; /* static */
		int status;		    /* 0: the client went before its answer */
		uint64_t n;
	} count[SONDE_HTTP_COUNTS_MAX];
	size_t n_counts;
	uint64_t no_room;
	uint64_t connections_open, connections; /* that are open, and all there were */
	uint64_t connections_refused;		/* past the share of one address */
	uint64_t handshakes_refused;		/* past the rate of TLS handshakes */
	uint64_t slow_ended;			/* connections whose time for a request was up */
	uint64_t malformed;	  /* requests that the library refused itself: 400, 414, 431 */
	uint64_t bodies_refused;  /* larger than they may be */
	uint64_t streams_refused; /* of events, past their number or one address' share */
	uint64_t answers_refused; /* past the bytes of those under way, or one address' share */
};

/* @route: static, NULL = none of ours; @method: any text. */
void sonde_http_stats_note(struct sonde_http_stats *s, const char *route, const char *method,
			   int status, uint64_t ns);

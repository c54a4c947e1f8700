/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Walk: the values of a series with the edge that each belongs to. Loop thread only. */

#include "backend/ingest/entity.h"
#include "backend/ingest/series.h"
#include "backend/query/edge.h"
#include "mal/function.h"

/* One value. Everything is borrowed for the call. */
struct sonde_walk_value {
	const struct sonde_series *series;
	const struct sonde_entity_parts *entity;
	const struct sonde_labels *labels; /* of the key; `p` among them for a percentile */
	bool is_edge;
	const char *client, *server; /* process ids, "" where the entity is no edge */
	const char *side;
	const char *client_node, *server_node;
	const char *port;     /* "" if the metric knows none */
	const char *protocol; /* "udp", or "" for TCP */
	const char *edge;     /* id; "" for other entities */
	int64_t bucket;	      /* of a histogram, else 0 */
	int64_t value;
	int64_t nearest; /* of a percentile by the nearest rank, where @value is OAP's; else @value */
};
/* Is it of an edge: of @edge, seen from @side? NULL: of any. */
bool sonde_walk_is_of(const struct sonde_walk_value *v, const char *edge, const char *side);

typedef int (*sonde_walk_fn)(void *ctx, const struct sonde_walk_value *v);

/* What is shown for @acc: sums, last values, percentiles. @minutes: length of what is in it. Return: 0, what @fn returned. */
int sonde_walk_shown(struct sonde_registry *r, const struct sonde_series *s,
		     const struct sonde_mal_accumulator *acc, uint32_t minutes, sonde_walk_fn fn,
		     void *ctx) _must_check_;

/* What is held in @acc: histogram buckets, sums; a last value as shown. */
int sonde_walk_held(struct sonde_registry *r, const struct sonde_series *s,
		    const struct sonde_mal_accumulator *acc, sonde_walk_fn fn,
		    void *ctx) _must_check_;

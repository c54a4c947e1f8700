/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * MQE: the part of SkyWalking's metrics query expressions that pages of network profiling use: a metric with a choice of
 * labels, + - * / %, parentheses, numbers, avg sum min max count latest abs ceil floor, aggregate_labels.
 * Where metrics come from is the caller's; text is hostile and bounded. Pure. Values are doubles: whole numbers are exact to 2^53.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"

#define MQE_BYTES_MAX 2048
#define MQE_DEPTH_MAX 16
#define MQE_SERIES_MAX 512     /* of one value */
#define MQE_POINTS_MAX 3000    /* of one series */
#define MQE_CELLS_MAX (200000) /* all points of one value */
#define MQE_KNOWN_MAX 16       /* metrics that one evaluation reads only once */

/* One line of a chart. */
struct mqe_series {
	json_t *labels; /* [{key, value}]; owned */
	double *points; /* NAN: there is none; owned */
};

struct mqe_value {
	bool single; /* one point, which belongs to no time */
	size_t n_points;
	struct mqe_series *series; /* owned */
	size_t n, cap;
};

void mqe_value_done(struct mqe_value *v);
/* A series of NANs. @labels: stolen. Return: 0, -E2BIG, -ENOMEM. */
int mqe_value_add(struct mqe_value *v, json_t *labels, struct mqe_series **ret) _must_check_;
/* The one with these labels, NULL if none. */
struct mqe_series *mqe_value_find(const struct mqe_value *v, const json_t *labels);

struct mqe_source {
	/*
	 * Fills @ret, which has its n_points. Return: 0 (perhaps without any series), -ENOENT (no such metric), -ETIME, -errno.
	 */
	int (*metric)(void *ctx, const char *name, struct mqe_value *ret);
	bool (*late)(void *ctx); /* no time is left; NULL = never. Asked at each term */
	void *ctx;
	size_t n_points;
};

/*
 * A metric that stands in @text several times is read once: the first MQE_KNOWN_MAX that have MQE_CELLS_MAX together.
 * Return: 0; -EINVAL, -E2BIG, -ETIME (late) with *@words filled; -errno of the source.
 */
int mqe_evaluate(const struct mqe_source *source, const char *text, struct mqe_value *ret,
		 char words[static 160]) _must_check_;

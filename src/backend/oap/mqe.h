/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * MQE: the part of SkyWalking's metrics query expressions that pages of network profiling use: a metric with a choice of
 * labels, + - * / %, parentheses, numbers, avg sum min max count latest abs ceil floor, aggregate_labels.
 * Where metrics come from is the caller's; text is hostile and bounded. Pure. Values are doubles: whole numbers are exact to 2^53.
 */

#include "backend/oap/mqe-value.h"

#define MQE_BYTES_MAX 2048
#define MQE_DEPTH_MAX 16
#define MQE_KNOWN_MAX 16 /* metrics that one evaluation reads only once */

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

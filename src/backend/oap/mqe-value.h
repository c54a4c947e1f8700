/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* MQE value: what an expression works on, lines with labels over points of time, and what can be done with them. Pure. */

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"

#define MQE_NAME_MAX 256       /* bytes of a name, a label's value, or several of them, with NUL */
#define MQE_SERIES_MAX 512     /* of one value */
#define MQE_POINTS_MAX 3000    /* of one series */
#define MQE_CELLS_MAX (200000) /* all points of one value */

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
/* Return: 0, -ENOMEM. */
int mqe_value_copy(const struct mqe_value *from, struct mqe_value *ret) _must_check_;

struct mqe_choice {
	char key[MQE_NAME_MAX], values[MQE_NAME_MAX]; /* the latter separated by commas */
	bool negated;
};
/* Drops the series that are not chosen. */
void mqe_value_choose(struct mqe_value *v, const struct mqe_choice *c);

enum mqe_fold {
	MQE_FOLD_AVG,
	MQE_FOLD_SUM,
	MQE_FOLD_MIN,
	MQE_FOLD_MAX, /* the last of those that fold series into each other */
	MQE_FOLD_COUNT,
	MQE_FOLD_LATEST,
	_MQE_FOLD_MAX,
};
/* Return: 0, -ENOENT. */
int mqe_fold_find(const char *text, enum mqe_fold *ret) _must_check_;
/* Each series into one point. */
void mqe_value_fold(struct mqe_value *v, enum mqe_fold f);
/* Series that have the labels @keep in common into one each. Return: 0, -E2BIG, -ENOMEM. */
int mqe_value_aggregate(struct mqe_value *v, enum mqe_fold f, char (*keep)[MQE_NAME_MAX],
			size_t n) _must_check_;
/* abs, ceil or floor. Return: whether @fn is one of them. */
bool mqe_value_math(struct mqe_value *v, const char *fn);
void mqe_value_negate(struct mqe_value *v);
/* @a = @a @op @b, for + - * / %, of series with equal labels. Return: 0, -E2BIG, -ENOMEM. */
int mqe_value_combine(char op, struct mqe_value *a, const struct mqe_value *b) _must_check_;

/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/oap/mqe-value.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "backend/json.h"

void mqe_value_done(struct mqe_value *v)
{
	for (size_t i = 0; i < v->n; i++) {
		json_decref(v->series[i].labels);
		free(v->series[i].points);
	}
	free(v->series);
	*v = (struct mqe_value){0};
}

int mqe_value_add(struct mqe_value *v, json_t *labels, struct mqe_series **ret)
{
	_cleanup_json_ json_t *owned = labels;
	struct mqe_series *more, *s;

	if (!owned)
		return -ENOMEM;
	if (v->n == MQE_SERIES_MAX || (v->n + 1) * v->n_points > MQE_CELLS_MAX)
		return -E2BIG;
	if (v->n == v->cap) {
		more = realloc(v->series, (v->cap ? 2 * v->cap : 4) * sizeof(*more));
		if (!more)
			return -ENOMEM;
		v->series = more;
		v->cap = v->cap ? 2 * v->cap : 4;
	}
	s = &v->series[v->n];
	s->points = malloc((v->n_points + 1) * sizeof(double));
	if (!s->points)
		return -ENOMEM;
	for (size_t i = 0; i < v->n_points; i++)
		s->points[i] = NAN;
	s->labels = TAKE_PTR(owned);
	v->n++;
	*ret = s;
	return 0;
}

struct mqe_series *mqe_value_find(const struct mqe_value *v, const json_t *labels)
{
	for (size_t i = 0; v->series && i < v->n; i++) {
		if (json_equal(v->series[i].labels, labels))
			return &v->series[i];
	}
	return NULL;
}

int mqe_value_copy(const struct mqe_value *from, struct mqe_value *ret)
{
	_cleanup_(mqe_value_done) struct mqe_value v = {.single = from->single,
							.n_points = from->n_points};
	int r = 0;

	for (size_t i = 0; i < from->n && r == 0; i++) {
		struct mqe_series *s;

		r = mqe_value_add(&v, json_incref(from->series[i].labels), &s);
		if (r == 0)
			memcpy(s->points, from->series[i].points, v.n_points * sizeof(double));
	}
	if (r < 0)
		return r;
	*ret = v;
	v = (struct mqe_value){0};
	return 0;
}

/* --- labels --- */

static bool in_list(const char *list, const char *value)
{
	size_t n = strlen(value);

	for (;;) {
		size_t len = strcspn(list, ",");

		if (len == n && memcmp(list, value, n) == 0)
			return true;
		if (list[len] == '\0')
			return false;
		list += len + 1;
	}
}

static const char *label_of(const json_t *labels, const char *key)
{
	for (size_t i = 0; i < json_array_size(labels); i++) {
		const json_t *l = json_array_get(labels, i);

		if (strcmp(sonde_json_get_text(l, "key", ""), key) == 0)
			return sonde_json_get_text(l, "value", "");
	}
	return NULL;
}

static bool chosen(const json_t *labels, const struct mqe_choice *c)
{
	const char *value = label_of(labels, c->key);

	return (value && in_list(c->values, value)) != c->negated;
}

void mqe_value_choose(struct mqe_value *v, const struct mqe_choice *c)
{
	size_t kept = 0;

	for (size_t i = 0; i < v->n; i++) {
		struct mqe_series s = v->series[i];

		if (chosen(s.labels, c)) {
			v->series[kept++] = s;
			continue;
		}
		json_decref(s.labels);
		free(s.points);
	}
	v->n = kept;
}

/* --- functions --- */

static const char *const fold_names[_MQE_FOLD_MAX] = {
	[MQE_FOLD_AVG] = "avg", [MQE_FOLD_SUM] = "sum",	    [MQE_FOLD_MIN] = "min",
	[MQE_FOLD_MAX] = "max", [MQE_FOLD_COUNT] = "count", [MQE_FOLD_LATEST] = "latest",
};

int mqe_fold_find(const char *text, enum mqe_fold *ret)
{
	for (unsigned i = 0; i < _MQE_FOLD_MAX; i++) {
		if (strcmp(fold_names[i], text) == 0) {
			*ret = i;
			return 0;
		}
	}
	return -ENOENT;
}

/* Both may be NAN. AVG and COUNT add up, and are finished by who knows how many there were. */
static double fold_two(enum mqe_fold f, double a, double b)
{
	if (isnan(a) || isnan(b))
		return isnan(a) ? b : a;
	switch (f) {
	case MQE_FOLD_MIN:
		return b < a ? b : a;
	case MQE_FOLD_MAX:
		return b > a ? b : a;
	case MQE_FOLD_LATEST:
		return b;
	default:
		return a + b;
	}
}

void mqe_value_fold(struct mqe_value *v, enum mqe_fold f)
{
	for (size_t i = 0; i < v->n; i++) {
		double *points = v->series[i].points, all = NAN;
		size_t n = 0;

		for (size_t k = 0; k < v->n_points; k++) {
			n += !isnan(points[k]);
			all = fold_two(f, all, points[k]);
		}
		if (f == MQE_FOLD_COUNT)
			all = (double)n;
		else if (f == MQE_FOLD_AVG && n > 0)
			all /= (double)n;
		points[0] = all;
	}
	v->n_points = 1;
	v->single = true;
}

bool mqe_value_math(struct mqe_value *v, const char *fn)
{
	double (*f)(double) = strcmp(fn, "abs") == 0	 ? fabs
			      : strcmp(fn, "ceil") == 0	 ? ceil
			      : strcmp(fn, "floor") == 0 ? floor
							 : NULL;

	for (size_t i = 0; f && i < v->n; i++) {
		for (size_t k = 0; k < v->n_points; k++)
			v->series[i].points[k] = f(v->series[i].points[k]);
	}
	return f != NULL;
}

void mqe_value_negate(struct mqe_value *v)
{
	for (size_t i = 0; i < v->n; i++) {
		for (size_t k = 0; k < v->n_points; k++)
			v->series[i].points[k] = -v->series[i].points[k];
	}
}

/* The labels that stay, in the order of the series' own. */
static json_t *kept_labels(const json_t *labels, char (*keep)[MQE_NAME_MAX], size_t n)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < json_array_size(labels); i++) {
		json_t *l = json_array_get(labels, i);

		for (size_t k = 0; k < n; k++) {
			if (strcmp(sonde_json_get_text(l, "key", ""), keep[k]) == 0)
				(void)json_array_append(list, l);
		}
	}
	return list;
}

int mqe_value_aggregate(struct mqe_value *v, enum mqe_fold f, char (*keep)[MQE_NAME_MAX], size_t n)
{
	_cleanup_(mqe_value_done) struct mqe_value out = {.single = v->single,
							  .n_points = v->n_points};
	_cleanup_(mqe_value_done) struct mqe_value counts = {.n_points = v->n_points};
	int r = 0;

	for (size_t i = 0; i < v->n && r == 0; i++) {
		_cleanup_json_ json_t *labels = kept_labels(v->series[i].labels, keep, n);
		struct mqe_series *to = labels ? mqe_value_find(&out, labels) : NULL;
		struct mqe_series *count = labels ? mqe_value_find(&counts, labels) : NULL;

		if (!labels)
			return -ENOMEM;
		if (!to)
			r = mqe_value_add(&out, json_incref(labels), &to);
		if (r == 0 && !count)
			r = mqe_value_add(&counts, json_incref(labels), &count);
		for (size_t k = 0; k < v->n_points && r == 0; k++) {
			double one = v->series[i].points[k];

			to->points[k] = fold_two(f, to->points[k], one);
			if (!isnan(one))
				count->points[k] = fold_two(MQE_FOLD_SUM, count->points[k], 1);
		}
	}
	for (size_t i = 0; i < out.n && r == 0; i++) {
		for (size_t k = 0; k < out.n_points && f == MQE_FOLD_AVG; k++)
			out.series[i].points[k] /= counts.series[i].points[k];
	}
	if (r < 0)
		return r;
	mqe_value_done(v);
	*v = out;
	out = (struct mqe_value){0};
	return 0;
}

/* --- operators --- */

static double calculate(char op, double a, double b)
{
	double r = op == '+'   ? a + b
		   : op == '-' ? a - b
		   : op == '*' ? a * b
		   : op == '/' ? a / b
			       : fmod(a, b);

	return isfinite(r) ? r : NAN; /* divided by 0: there is no value */
}

/* A number, or the only line of a chart, goes with every line of the other side. */
static bool is_plain(const struct mqe_value *v)
{
	return v->n == 1 && json_array_size(v->series[0].labels) == 0;
}

/* @i: where the line with these labels most likely is, as both sides mostly have the same ones. */
static const struct mqe_series *partner(const struct mqe_value *v, const json_t *labels, size_t i)
{
	if (is_plain(v))
		return &v->series[0];
	if (v->series && i < v->n && json_equal(v->series[i].labels, labels))
		return &v->series[i];
	return mqe_value_find(v, labels);
}

int mqe_value_combine(char op, struct mqe_value *a, const struct mqe_value *b)
{
	_cleanup_(mqe_value_done) struct mqe_value out = {.single = a->single && b->single,
							  .n_points = a->single ? b->n_points
										: a->n_points};
	const struct mqe_value *lead = is_plain(a) ? b : a;
	int r = 0;

	for (size_t i = 0; i < lead->n && r == 0; i++) {
		const json_t *labels = lead->series[i].labels;
		const struct mqe_series *x = partner(a, labels, i), *y = partner(b, labels, i);
		struct mqe_series *to;

		if (!x || !y)
			continue;
		r = mqe_value_add(&out, json_incref((json_t *)labels), &to);
		for (size_t k = 0; k < out.n_points && r == 0; k++)
			to->points[k] = calculate(op, x->points[a->single ? 0 : k],
						  y->points[b->single ? 0 : k]);
	}
	if (r < 0)
		return r;
	mqe_value_done(a);
	*a = out;
	out = (struct mqe_value){0};
	return 0;
}

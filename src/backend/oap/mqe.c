/* SPDX-License-Identifier: Apache-2.0 */
/* Read and evaluated in one descent: each function leaves the value of what it has read. */
#include "backend/oap/mqe.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "backend/json.h"
#include "base/num.h"

#define NAME_MAX_BYTES 256
#define LABELS_MAX 8

/* A metric as it was read. */
struct known {
	char name[NAME_MAX_BYTES];
	struct mqe_value value; /* owned */
};

struct reader {
	const struct mqe_source *source;
	const char *at;
	char *words;
	unsigned depth;
	struct known known[MQE_KNOWN_MAX];
	size_t n_known, n_cells; /* of all that are known */
};

static int expression(struct reader *rd, struct mqe_value *ret);

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
	for (size_t i = 0; i < v->n; i++) {
		if (json_equal(v->series[i].labels, labels))
			return &v->series[i];
	}
	return NULL;
}

_printf_(2, 3) static int refuse(struct reader *rd, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(rd->words, 160, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

/* --- text --- */

static void skip_space(struct reader *rd)
{
	rd->at += strspn(rd->at, " \t\r\n");
}

static bool skip(struct reader *rd, char c)
{
	skip_space(rd);
	if (*rd->at != c || c == '\0')
		return false;
	rd->at++;
	return true;
}

static int need(struct reader *rd, char c)
{
	return skip(rd, c) ? 0 : refuse(rd, "expected '%c' at '%.40s'", c, rd->at);
}

static int name(struct reader *rd, char ret[static NAME_MAX_BYTES])
{
	size_t n;

	skip_space(rd);
	n = strspn(rd->at, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789");
	if (n == 0 || n >= NAME_MAX_BYTES || (*rd->at >= '0' && *rd->at <= '9'))
		return refuse(rd, "expected a name at '%.40s'", rd->at);
	memcpy(ret, rd->at, n);
	ret[n] = '\0';
	rd->at += n;
	return 0;
}

static int number(struct reader *rd, struct mqe_value *ret)
{
	size_t n = strspn(rd->at, "0123456789.");
	struct mqe_series *s;
	char text[32];
	double value;
	int r;

	if (n >= sizeof(text))
		return refuse(rd, "a number is too long");
	memcpy(text, rd->at, n);
	text[n] = '\0';
	if (sonde_parse_double(text, &value) < 0)
		return refuse(rd, "'%s' is no number", text);
	rd->at += n;
	*ret = (struct mqe_value){.single = true, .n_points = 1};
	r = mqe_value_add(ret, json_array(), &s);
	if (r == 0)
		s->points[0] = value;
	return r;
}

/* --- a metric and its labels --- */

struct choice {
	char key[NAME_MAX_BYTES], values[NAME_MAX_BYTES]; /* the latter separated by commas */
	bool negated;
};

static int quoted(struct reader *rd, char ret[static NAME_MAX_BYTES])
{
	char quote;
	size_t n;

	skip_space(rd);
	quote = *rd->at;
	if (quote != '\'' && quote != '"')
		return refuse(rd, "expected a quoted value at '%.40s'", rd->at);
	rd->at++;
	n = strcspn(rd->at, quote == '"' ? "\"" : "'");
	if (rd->at[n] == '\0' || n >= NAME_MAX_BYTES)
		return refuse(rd, "a label's value does not end, or is too long");
	memcpy(ret, rd->at, n);
	ret[n] = '\0';
	rd->at += n + 1;
	return 0;
}

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

static bool chosen(const json_t *labels, const struct choice *c)
{
	const char *value = label_of(labels, c->key);

	return (value && in_list(c->values, value)) != c->negated;
}

static void choose(struct mqe_value *v, const struct choice *c)
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

/* Behind '{'. */
static int choices(struct reader *rd, struct mqe_value *v)
{
	int r;

	do {
		struct choice c = {.negated = false};

		r = name(rd, c.key);
		if (r == 0)
			c.negated = skip(rd, '!');
		if (r == 0)
			r = need(rd, '=');
		if (r == 0)
			r = quoted(rd, c.values);
		if (r == 0)
			choose(v, &c);
	} while (r == 0 && skip(rd, ','));
	return r < 0 ? r : need(rd, '}');
}

static int too_late(struct reader *rd)
{
	(void)refuse(rd, "takes too long: ask for fewer metrics, or a shorter window");
	return -ETIME;
}

static int check_time(struct reader *rd)
{
	return rd->source->late && rd->source->late(rd->source->ctx) ? too_late(rd) : 0;
}

static int copy(const struct mqe_value *from, struct mqe_value *ret)
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

/* The source reads slower than this copies. */
static int keep(struct reader *rd, const char *of, const struct mqe_value *v)
{
	struct known *k = &rd->known[rd->n_known];
	size_t n_cells = v->n * v->n_points;
	int r;

	if (rd->n_known == MQE_KNOWN_MAX || n_cells > MQE_CELLS_MAX - rd->n_cells)
		return 0;
	r = copy(v, &k->value);
	if (r < 0)
		return r;
	(void)snprintf(k->name, sizeof(k->name), "%s", of);
	rd->n_known++;
	rd->n_cells += n_cells;
	return 0;
}

static int read_metric(struct reader *rd, const char *of, struct mqe_value *ret)
{
	int r = check_time(rd);

	if (r < 0)
		return r;
	for (size_t i = 0; i < rd->n_known; i++) {
		if (strcmp(rd->known[i].name, of) == 0)
			return copy(&rd->known[i].value, ret);
	}
	*ret = (struct mqe_value){.n_points = rd->source->n_points};
	r = rd->source->metric(rd->source->ctx, of, ret);
	return r == 0 ? keep(rd, of, ret) : r;
}

static int metric(struct reader *rd, const char *of, struct mqe_value *ret)
{
	int r = read_metric(rd, of, ret);

	if (r == -ETIME)
		return too_late(rd);
	if (r == -ENOENT)
		return refuse(rd, "Metric: [%.100s] does not exist.", of);
	if (r == -E2BIG) {
		(void)refuse(rd, "[%.100s] has too many values: choose labels, or a shorter window",
			     of);
		return r;
	}
	return r == 0 && skip(rd, '{') ? choices(rd, ret) : r;
}

/* --- functions --- */

enum fold {
	FOLD_AVG,
	FOLD_SUM,
	FOLD_MIN,
	FOLD_MAX,
	FOLD_COUNT,
	FOLD_LATEST,
	_FOLD_MAX,
};

static const char *const fold_names[_FOLD_MAX] = {
	[FOLD_AVG] = "avg", [FOLD_SUM] = "sum",	    [FOLD_MIN] = "min",
	[FOLD_MAX] = "max", [FOLD_COUNT] = "count", [FOLD_LATEST] = "latest",
};

static int find_fold(const char *text, enum fold *ret)
{
	for (unsigned i = 0; i < _FOLD_MAX; i++) {
		if (strcmp(fold_names[i], text) == 0) {
			*ret = i;
			return 0;
		}
	}
	return -ENOENT;
}

/* Both may be NAN. AVG and COUNT add up, and are finished by who knows how many there were. */
static double fold_two(enum fold f, double a, double b)
{
	if (isnan(a) || isnan(b))
		return isnan(a) ? b : a;
	switch (f) {
	case FOLD_MIN:
		return b < a ? b : a;
	case FOLD_MAX:
		return b > a ? b : a;
	case FOLD_LATEST:
		return b;
	default:
		return a + b;
	}
}

static int fold_time(struct mqe_value *v, enum fold f)
{
	for (size_t i = 0; i < v->n; i++) {
		double *points = v->series[i].points, all = NAN;
		size_t n = 0;

		for (size_t k = 0; k < v->n_points; k++) {
			n += !isnan(points[k]);
			all = fold_two(f, all, points[k]);
		}
		if (f == FOLD_COUNT)
			all = (double)n;
		else if (f == FOLD_AVG && n > 0)
			all /= (double)n;
		points[0] = all;
	}
	v->n_points = 1;
	v->single = true;
	return 0;
}

static bool math(const char *fn, struct mqe_value *v)
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

/* The labels that stay, in the order of the series' own. */
static json_t *kept_labels(const json_t *labels, char (*keep)[NAME_MAX_BYTES], size_t n)
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

static int aggregate(struct mqe_value *v, enum fold f, char (*keep)[NAME_MAX_BYTES], size_t n)
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
				count->points[k] = fold_two(FOLD_SUM, count->points[k], 1);
		}
	}
	for (size_t i = 0; i < out.n && r == 0; i++) {
		for (size_t k = 0; k < out.n_points && f == FOLD_AVG; k++)
			out.series[i].points[k] /= counts.series[i].points[k];
	}
	if (r < 0)
		return r;
	mqe_value_done(v);
	*v = out;
	out = (struct mqe_value){0};
	return 0;
}

/* Behind the first argument: ", sum(role, kind))". */
static int aggregate_rest(struct reader *rd, struct mqe_value *v)
{
	char keep[LABELS_MAX][NAME_MAX_BYTES], word[NAME_MAX_BYTES];
	enum fold f = FOLD_SUM;
	size_t n = 0;
	int r;

	r = need(rd, ',');
	if (r == 0)
		r = name(rd, word);
	if (r == 0 && (find_fold(word, &f) < 0 || f > FOLD_MAX))
		r = refuse(rd, "aggregate_labels takes avg, sum, min or max, not '%.40s'", word);
	if (r == 0 && skip(rd, '(')) {
		do {
			r = n < LABELS_MAX ? name(rd, keep[n++])
					   : refuse(rd, "more than %d labels", LABELS_MAX);
		} while (r == 0 && skip(rd, ','));
		if (r == 0)
			r = need(rd, ')');
	}
	if (r == 0)
		r = need(rd, ')');
	return r < 0 ? r : aggregate(v, f, keep, n);
}

/* Behind '('. */
static int function(struct reader *rd, const char *fn, struct mqe_value *ret)
{
	enum fold f;
	int r = expression(rd, ret);

	if (r < 0)
		return r;
	if (strcmp(fn, "aggregate_labels") == 0)
		return aggregate_rest(rd, ret);
	if (find_fold(fn, &f) == 0)
		r = fold_time(ret, f);
	else if (!math(fn, ret))
		return refuse(rd, "%.40s() is not supported", fn);
	return r < 0 ? r : need(rd, ')');
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

static int combine(char op, struct mqe_value *a, const struct mqe_value *b)
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

static int primary(struct reader *rd, struct mqe_value *ret)
{
	char word[NAME_MAX_BYTES];
	int r;

	skip_space(rd);
	if ((*rd->at >= '0' && *rd->at <= '9') || *rd->at == '.')
		return number(rd, ret);
	if (skip(rd, '(')) {
		r = expression(rd, ret);
		return r < 0 ? r : need(rd, ')');
	}
	r = name(rd, word);
	if (r < 0)
		return r;
	return skip(rd, '(') ? function(rd, word, ret) : metric(rd, word, ret);
}

static int unary(struct reader *rd, struct mqe_value *ret)
{
	bool negative = false;
	int r;

	while (skip(rd, '-'))
		negative = !negative;
	r = primary(rd, ret);
	for (size_t i = 0; negative && r == 0 && i < ret->n; i++) {
		for (size_t k = 0; k < ret->n_points; k++)
			ret->series[i].points[k] = -ret->series[i].points[k];
	}
	return r;
}

static int chain(struct reader *rd, const char *operators,
		 int (*part)(struct reader *rd, struct mqe_value *ret), struct mqe_value *ret)
{
	int r = part(rd, ret);

	for (;;) {
		_cleanup_(mqe_value_done) struct mqe_value right = {0};
		char op;

		skip_space(rd);
		op = *rd->at;
		if (r < 0 || op == '\0' || !strchr(operators, op))
			return r;
		rd->at++;
		r = part(rd, &right);
		if (r == 0)
			r = check_time(rd);
		if (r == 0)
			r = combine(op, ret, &right);
	}
}

static int term(struct reader *rd, struct mqe_value *ret)
{
	return chain(rd, "*/%", unary, ret);
}

static int expression(struct reader *rd, struct mqe_value *ret)
{
	int r;

	if (++rd->depth > MQE_DEPTH_MAX)
		return refuse(rd, "nested more than %d deep", MQE_DEPTH_MAX);
	r = chain(rd, "+-", term, ret);
	rd->depth--;
	return r;
}

int mqe_evaluate(const struct mqe_source *source, const char *text, struct mqe_value *ret,
		 char words[static 160])
{
	_cleanup_(mqe_value_done) struct mqe_value v = {0};
	struct reader rd = {.source = source, .at = text, .words = words};
	int r;

	words[0] = '\0';
	if (strlen(text) > MQE_BYTES_MAX)
		return refuse(&rd, "an expression may have at most %d bytes", MQE_BYTES_MAX);
	r = expression(&rd, &v);
	skip_space(&rd);
	if (r == 0 && *rd.at != '\0')
		r = refuse(&rd, "not supported from here on: '%.40s'", rd.at);
	for (size_t i = 0; i < rd.n_known; i++)
		mqe_value_done(&rd.known[i].value);
	if (r == -E2BIG && words[0] == '\0')
		(void)refuse(&rd, "too many values: choose labels, or a shorter window");
	if (r < 0)
		return r;
	*ret = v;
	v = (struct mqe_value){0};
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Read and evaluated in one descent: each function leaves the value of what it has read. */
#include "backend/oap/mqe.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/num.h"

#define LABELS_MAX 8

/* A metric as it was read. */
struct known {
	char name[MQE_NAME_MAX];
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

static int name(struct reader *rd, char ret[static MQE_NAME_MAX])
{
	size_t n;

	skip_space(rd);
	n = strspn(rd->at, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789");
	if (n == 0 || n >= MQE_NAME_MAX || (*rd->at >= '0' && *rd->at <= '9'))
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

static int quoted(struct reader *rd, char ret[static MQE_NAME_MAX])
{
	char quote;
	size_t n;

	skip_space(rd);
	quote = *rd->at;
	if (quote != '\'' && quote != '"')
		return refuse(rd, "expected a quoted value at '%.40s'", rd->at);
	rd->at++;
	n = strcspn(rd->at, quote == '"' ? "\"" : "'");
	if (rd->at[n] == '\0' || n >= MQE_NAME_MAX)
		return refuse(rd, "a label's value does not end, or is too long");
	memcpy(ret, rd->at, n);
	ret[n] = '\0';
	rd->at += n + 1;
	return 0;
}

/* Behind '{'. */
static int choices(struct reader *rd, struct mqe_value *v)
{
	int r;

	do {
		struct mqe_choice c = {.negated = false};

		r = name(rd, c.key);
		if (r == 0)
			c.negated = skip(rd, '!');
		if (r == 0)
			r = need(rd, '=');
		if (r == 0)
			r = quoted(rd, c.values);
		if (r == 0)
			mqe_value_choose(v, &c);
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

/* The source reads slower than this copies. */
static int keep(struct reader *rd, const char *of, const struct mqe_value *v)
{
	struct known *k = &rd->known[rd->n_known];
	size_t n_cells = v->n * v->n_points;
	int r;

	if (rd->n_known == MQE_KNOWN_MAX || n_cells > MQE_CELLS_MAX - rd->n_cells)
		return 0;
	r = mqe_value_copy(v, &k->value);
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
			return mqe_value_copy(&rd->known[i].value, ret);
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

/* Behind the first argument: ", sum(role, kind))". */
static int aggregate_rest(struct reader *rd, struct mqe_value *v)
{
	char keep[LABELS_MAX][MQE_NAME_MAX], word[MQE_NAME_MAX];
	enum mqe_fold f = MQE_FOLD_SUM;
	size_t n = 0;
	int r;

	r = need(rd, ',');
	if (r == 0)
		r = name(rd, word);
	if (r == 0 && (mqe_fold_find(word, &f) < 0 || f > MQE_FOLD_MAX))
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
	return r < 0 ? r : mqe_value_aggregate(v, f, keep, n);
}

/* Behind '('. */
static int function(struct reader *rd, const char *fn, struct mqe_value *ret)
{
	enum mqe_fold f;
	int r = expression(rd, ret);

	if (r < 0)
		return r;
	if (strcmp(fn, "aggregate_labels") == 0)
		return aggregate_rest(rd, ret);
	if (mqe_fold_find(fn, &f) == 0)
		mqe_value_fold(ret, f);
	else if (!mqe_value_math(ret, fn))
		return refuse(rd, "%.40s() is not supported", fn);
	return r < 0 ? r : need(rd, ')');
}

/* --- operators --- */

static int primary(struct reader *rd, struct mqe_value *ret)
{
	char word[MQE_NAME_MAX];
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
	if (negative && r == 0)
		mqe_value_negate(ret);
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
			r = mqe_value_combine(op, ret, &right);
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

/* SPDX-License-Identifier: Apache-2.0 */
#include "mal/eval.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "mal/closure.h"
#include "mal/javatext.h"

#define MATCH_LIMIT 200000 /* steps of one regex match */
#define MATCH_DEPTH 2000
#define MATCH_HEAP_KIB 4096
#define CAPTURES_MAX 32
#define FUEL 100000	/* steps between two looks at the clock: about a millisecond */
#define REGEX_FUEL 1000 /* of one match, which may take as long */

int mal_eval_init(struct mal_eval *ev)
{
	assert(ev);

	ev->run_arena = MAL_ARENA_INIT(SONDE_MAL_BATCH_BYTES);
	ev->rule_arena = MAL_ARENA_INIT(SONDE_MAL_BATCH_BYTES);
	ev->scratch = SONDE_BUF_INIT(SONDE_MAL_TEXT_MAX);
	ev->arena = &ev->rule_arena;
	ev->match = pcre2_match_data_create(CAPTURES_MAX, NULL);
	ev->match_context = pcre2_match_context_create(NULL);
	if (!ev->match || !ev->match_context)
		return -ENOMEM;
	(void)pcre2_set_match_limit(ev->match_context, MATCH_LIMIT);
	(void)pcre2_set_depth_limit(ev->match_context, MATCH_DEPTH);
	(void)pcre2_set_heap_limit(ev->match_context, MATCH_HEAP_KIB);
	return 0;
}

void mal_eval_done(struct mal_eval *ev)
{
	if (!ev)
		return;
	mal_arena_done(&ev->run_arena);
	mal_arena_done(&ev->rule_arena);
	sonde_buf_done(&ev->scratch);
	pcre2_match_data_free(ev->match);
	pcre2_match_context_free(ev->match_context);
	ev->match = NULL;
	ev->match_context = NULL;
}

static int begin_memos(struct mal_eval *ev, const struct mal_program *p)
{
	struct mal_arena *a = &ev->run_arena;

	ev->by_list = mal_arena_zalloc(a, (p->n_lists + 1) * sizeof(*ev->by_list));
	ev->by_call = mal_arena_zalloc(a, (p->n_memos + 1) * sizeof(*ev->by_call));
	ev->entities = mal_arena_zalloc(a, (p->n_memos + 1) * sizeof(void *));
	ev->joined = mal_arena_zalloc(a, MAL_JOINED * sizeof(*ev->joined));
	if (!ev->by_list || !ev->by_call || !ev->entities || !ev->joined)
		return -ENOMEM;
	for (uint32_t i = 0; i <= p->n_lists; i++)
		ev->by_list[i].sets = MAL_MEMO_INIT(a);
	for (uint32_t i = 0; i <= p->n_memos; i++)
		ev->by_call[i].sets = MAL_MEMO_INIT(a);
	for (size_t i = 0; i < ELEMENTS_OF(ev->units); i++)
		ev->units[i] = (struct mal_unit){MAL_MEMO_INIT(a), MAL_MEMO_INIT(a)};
	for (size_t i = 0; i < ELEMENTS_OF(ev->key_texts); i++)
		ev->key_texts[i] = MAL_MEMO_INIT(a);
	ev->bounds = MAL_MEMO_INIT(a);
	return 0;
}

int mal_eval_begin(struct mal_eval *ev, struct sonde_mal_batch *b, const struct mal_program *p)
{
	mal_arena_reset(&ev->run_arena);
	mal_arena_reset(&ev->rule_arena);
	ev->arena = &ev->rule_arena;
	ev->batch = b;
	ev->strings = mal_batch_strings(b);
	ev->sets = mal_batch_sets(b);
	ev->program = p;
	ev->answers = NULL;
	ev->answers_cap = ev->answers_n = 0;
	ev->message[0] = 0;
	ev->fuel = FUEL;
	ev->end_ms = 0;
	ev->consts = mal_arena_zalloc(&ev->run_arena, p->strings.n * sizeof(*ev->consts));
	if (!ev->consts || mal_strings_put(ev->strings, "le", 2, &ev->le) < 0)
		return -ENOMEM;
	return begin_memos(ev, p);
}

void mal_eval_say(struct mal_eval *ev, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(ev->message, sizeof(ev->message), fmt, ap);
	va_end(ap);
}

int mal_eval_new_const(struct mal_eval *ev, uint32_t id, uint32_t *ret)
{
	const struct mal_string *s = &ev->program->strings.v[id];

	if (mal_strings_put(ev->strings, s->text, s->len, &ev->consts[id]) < 0)
		return mal_eval_no_memory(ev);
	*ret = ev->consts[id];
	return 0;
}

int mal_eval_keys(struct mal_eval *ev, const struct mal_arg *arg, struct mal_keys *ret)
{
	uint32_t *v;
	int r;

	*ret = (struct mal_keys){.known = &ev->by_list[0]};
	if (arg->kind == MAL_ARG_NULL)
		return 0;
	v = mal_arena_array(ev->arena, arg->strings.n, sizeof(*v));
	if (!v)
		return mal_eval_no_memory(ev);
	for (size_t i = 0; i < arg->strings.n; i++) {
		r = mal_eval_const(ev, arg->strings.ids[i], &v[i]);
		if (r < 0)
			return r;
	}
	*ret = (struct mal_keys){v, arg->strings.n, &ev->by_list[arg->strings.list]};
	return 0;
}

int mal_eval_set(struct mal_eval *ev, const struct mal_pair *v, size_t n,
		 const struct mal_set **ret)
{
	return mal_sets_put(ev->sets, ev->strings, v, n, ret) < 0 ? mal_eval_no_memory(ev) : 0;
}

int mal_eval_refuel(struct mal_eval *ev)
{
	int64_t now_ms = (int64_t)(sonde_work_ns() / SONDE_NS_PER_MS);

	if (ev->end_ms == 0)
		ev->end_ms = now_ms + SONDE_MAL_RUN_MS;
	if (now_ms > ev->end_ms)
		return mal_eval_fail(ev, "the rules of this file take too long on one batch");
	ev->fuel = FUEL;
	return 0;
}

int mal_eval_regex(struct mal_eval *ev, const struct mal_regex *re, const char *text, size_t len,
		   size_t from, bool full)
{
	int r = mal_eval_spend(ev, REGEX_FUEL);

	if (r < 0)
		return r;
	r = pcre2_match(re->code, (PCRE2_SPTR)text, len, from,
			full ? PCRE2_ANCHORED | PCRE2_ENDANCHORED : 0, ev->match,
			ev->match_context);
	if (r >= 0)
		return 1;
	if (r == PCRE2_ERROR_NOMATCH)
		return 0;
	return mal_eval_fail(ev, "a regex that takes too long on '%.40s'", text);
}

/* --- scalars and samples --- */

static int new_samples(struct mal_eval *ev, size_t n, struct mal_sample **ret)
{
	*ret = mal_arena_array(ev->arena, n ? n : 1, sizeof(**ret));
	return *ret ? 0 : mal_eval_no_memory(ev);
}

/* What OAP calls build: without NaN, and EMPTY where nothing is left. @v is the arena's. */
static void build(struct mal_sample *v, size_t n, const struct mal_family *context,
		  struct mal_family *ret)
{
	size_t k = 0;

	for (size_t i = 0; i < n; i++)
		if (!isnan(v[i].value))
			v[k++] = v[i];
	*ret = (struct mal_family){.milliseconds = context->milliseconds};
	if (k == 0)
		return;
	ret->v = v;
	ret->n = k;
	ret->groups = context->groups;
	ret->n_groups = context->n_groups;
}

enum scalar_op {
	OP_ADD,
	OP_SUB,
	OP_SUB_FROM, /* number - family */
	OP_MUL,
	OP_DIV,
	OP_DIV_INTO, /* number / family */
	OP_SAFE_DIV,
	OP_NEGATE,
};

static double apply(enum scalar_op op, double v, double n)
{
	switch (op) {
	case OP_ADD:
		return v + n;
	case OP_SUB:
		return v - n;
	case OP_SUB_FROM:
		return -(v - n); /* as OAP writes it: may give -0.0 */
	case OP_MUL:
		return v * n;
	case OP_DIV:
		return v / n;
	case OP_DIV_INTO:
		return n / v;
	case OP_SAFE_DIV:
		return n == 0 ? 0 : v / n;
	default:
		return -v;
	}
}

static int with_number(struct mal_eval *ev, enum scalar_op op, const struct mal_family *in,
		       double n, struct mal_family *ret)
{
	struct mal_family fresh = {0};
	struct mal_sample *v;
	int r;

	if (in->n == 0) {
		*ret = *in;
		return 0;
	}
	r = new_samples(ev, in->n, &v);
	if (r < 0)
		return r;
	for (size_t i = 0; i < in->n; i++) {
		v[i] = in->v[i];
		v[i].value = apply(op, v[i].value, n);
	}
	build(v, in->n, op == OP_DIV_INTO ? &fresh : in, ret);
	return 0;
}

static const struct mal_family *either(const struct mal_family *a, const struct mal_family *b)
{
	return a->n ? a : b;
}

/* @op: + - * / or s for safeDiv. */
static int with_family(struct mal_eval *ev, char op, const struct mal_family *a,
		       const struct mal_family *b, struct mal_family *ret)
{
	if (a->n > 0 && b->n > 0)
		return mal_family_join(ev, op, a, b, ret);
	*ret = (struct mal_family){0};
	switch (op) {
	case '+':
		*ret = *either(a, b);
		return 0;
	case '-':
		if (a->n == 0)
			return with_number(ev, OP_NEGATE, b, 0, ret);
		*ret = *a;
		return 0;
	case '/':
		return a->n > 0 ? with_number(ev, OP_DIV, a, 0.0, ret) : 0;
	default:
		return 0;
	}
}

static bool is_scalar(const struct mal_expr *e)
{
	return e->kind == MAL_EXPR_NUMBER || e->kind == MAL_EXPR_TIME;
}

static double scalar_of(const struct mal_eval *ev, const struct mal_expr *e)
{
	int64_t now_s;

	if (e->kind == MAL_EXPR_NUMBER)
		return e->number;
	if (ev->host && ev->host->now_s)
		return (double)ev->host->now_s(ev->host->ctx);
	now_s = sonde_wall_ms() / 1000;
	return (double)now_s;
}

static enum scalar_op scalar_op_of(char op, bool number_first)
{
	switch (op) {
	case '+':
		return OP_ADD;
	case '-':
		return number_first ? OP_SUB_FROM : OP_SUB;
	case '*':
		return OP_MUL;
	default:
		return number_first ? OP_DIV_INTO : OP_DIV;
	}
}

static int eval_binary(struct mal_eval *ev, const struct mal_expr *e, struct mal_family *ret)
{
	const struct mal_expr *lhs = e->binary.lhs, *rhs = e->binary.rhs;
	struct mal_family a, b;
	int r;

	if (is_scalar(lhs) && is_scalar(rhs)) {
		*ret = (struct mal_family){0};
		return 0;
	}
	if (is_scalar(rhs)) {
		r = mal_eval_expr(ev, lhs, &a);
		return r < 0 ? r
			     : with_number(ev, scalar_op_of(e->binary.op, false), &a,
					   scalar_of(ev, rhs), ret);
	}
	if (is_scalar(lhs)) {
		r = mal_eval_expr(ev, rhs, &a);
		return r < 0 ? r
			     : with_number(ev, scalar_op_of(e->binary.op, true), &a,
					   scalar_of(ev, lhs), ret);
	}
	r = mal_eval_expr(ev, lhs, &a);
	if (r >= 0)
		r = mal_eval_expr(ev, rhs, &b);
	return r < 0 ? r : with_family(ev, e->binary.op, &a, &b, ret);
}

/* plus, minus, multiply, div, safeDiv */
static int eval_operator_method(struct mal_eval *ev, const struct mal_expr *e,
				const struct mal_family *in, struct mal_family *ret)
{
	static const struct {
		enum scalar_op number;
		char family;
	} ops[] = {
		[0] = {OP_ADD, '+'},
		[MAL_FN_MINUS - MAL_FN_PLUS] = {OP_SUB, '-'},
		[MAL_FN_MULTIPLY - MAL_FN_PLUS] = {OP_MUL, '*'},
		[MAL_FN_DIV - MAL_FN_PLUS] = {OP_DIV, '/'},
		[MAL_FN_SAFE_DIV - MAL_FN_PLUS] = {OP_SAFE_DIV, 's'},
	};
	const struct mal_expr *arg = e->call.args[0].expr;
	struct mal_family other;
	int r;

	if (is_scalar(arg))
		return with_number(ev, ops[e->call.fn - MAL_FN_PLUS].number, in, scalar_of(ev, arg),
				   ret);
	r = mal_eval_expr(ev, arg, &other);
	return r < 0 ? r : with_family(ev, ops[e->call.fn - MAL_FN_PLUS].family, in, &other, ret);
}

/* Double.compare() for numbers: -0.0 is below 0.0. */
static int compare(double a, double b)
{
	if (a != b)
		return a < b ? -1 : 1;
	return (int)signbit(b) - (int)signbit(a) < 0 ? -1 : signbit(a) != signbit(b);
}

static bool value_holds(enum mal_fn fn, int c)
{
	switch (fn) {
	case MAL_FN_VALUE_EQUAL:
		return c == 0;
	case MAL_FN_VALUE_NOT_EQUAL:
		return c != 0;
	case MAL_FN_VALUE_GREATER:
		return c > 0;
	case MAL_FN_VALUE_GREATER_EQUAL:
		return c >= 0;
	case MAL_FN_VALUE_LESS:
		return c < 0;
	default:
		return c <= 0;
	}
}

static int filter_values(struct mal_eval *ev, const struct mal_expr *e, const struct mal_family *in,
			 struct mal_family *ret)
{
	struct mal_sample *v;
	size_t n = 0;
	int r = new_samples(ev, in->n, &v);

	if (r < 0)
		return r;
	for (size_t i = 0; i < in->n; i++)
		if (value_holds(e->call.fn, compare(in->v[i].value, e->call.args[0].expr->number)))
			v[n++] = in->v[i];
	build(v, n, in, ret);
	return 0;
}

/* What `strict` keeps a counter by: its rule and call too, and a value that never falls. */
static int strict_sample(struct mal_eval *ev, const struct mal_expr *e, struct mal_sample *s)
{
	char name[SONDE_MAL_TEXT_MAX];
	int n = snprintf(name, sizeof(name), "%s\001%s:%u#%u",
			 mal_strings_text(ev->strings, s->name), ev->rule ? ev->rule->metric : "",
			 ev->rule ? ev->rule->line : 0, e->call.memo);
	int r;

	if (n < 0 || (size_t)n >= sizeof(name))
		return -ENOMEM;
	r = mal_value_intern(ev, name, (size_t)n, &s->name);
	return r < 0 ? r : mal_window_correct(ev->window, ev->strings, s, &s->value);
}

/* increase, rate, irate */
static int eval_counter(struct mal_eval *ev, const struct mal_expr *e, const struct mal_family *in,
			struct mal_family *ret)
{
	struct mal_sample *v;
	int r = new_samples(ev, in->n, &v);

	for (size_t i = 0; i < in->n && r == 0; i++) {
		struct mal_sample s = in->v[i];
		int64_t ts = 0, seconds;
		double value = 0;

		if (ev->strict)
			r = strict_sample(ev, e, &s);
		if (r >= 0 && e->call.fn == MAL_FN_IRATE)
			r = mal_window_last(ev->window, ev->strings, &s, &ts, &value);
		else if (r >= 0)
			r = mal_window_push(ev->window, ev->strings, &s, e->call.duration_ms, &ts,
					    &value);
		v[i] = in->v[i];
		v[i].value = s.value - value;
		if (e->call.fn == MAL_FN_INCREASE)
			continue;
		seconds = mal_java_long(((double)s.ts_ms - (double)ts) / 1000);
		v[i].value = seconds < 1 ? 0 : v[i].value / (double)seconds;
	}
	if (r == -EINVAL)
		return mal_eval_fail(ev, "the duration is negative, so that no sample is left");
	if (r < 0)
		return mal_eval_no_memory(ev);
	build(v, in->n, in, ret);
	return 0;
}

static int eval_decorate(struct mal_eval *ev, const struct mal_expr *e, const struct mal_family *in,
			 struct mal_family *ret)
{
	struct mal_entity_group *g;
	int r;

	*ret = *in;
	if (in->n_groups == 0)
		return 0;
	g = mal_arena_array(ev->arena, in->n_groups, sizeof(*g));
	if (!g)
		return mal_eval_no_memory(ev);
	memcpy(g, in->groups, in->n_groups * sizeof(*g));
	ret->groups = g;
	for (size_t i = 0; i < in->n_groups; i++) {
		struct mal_entity *own;

		if (g[i].entity->scope != SONDE_MAL_SCOPE_SERVICE)
			continue;
		own = mal_arena_alloc(ev->arena, sizeof(*own));
		if (!own)
			return mal_eval_no_memory(ev);
		*own = *g[i].entity;
		g[i].entity = own;
		r = mal_closure_decorate(ev, e->call.args[0].closure, own);
		if (r >= 0)
			r = mal_entity_show(ev, ev->arena, own);
		if (r < 0)
			return r;
	}
	return 0;
}

/*
 * What the call works on; relabel calls that are chained work on what the first of them does, unless
 * each of them is to be seen. *@ret_fault: the one of them that fails each run.
 */
static const struct mal_expr *receiver_of(const struct mal_eval *ev, const struct mal_expr *e,
					  const struct mal_expr **ret_fault)
{
	*ret_fault = e->call.fault ? e : NULL;
	if (mal_is_relabel(e) && !ev->step) {
		while (mal_is_relabel(e->call.receiver)) {
			e = e->call.receiver;
			if (e->call.fault)
				*ret_fault = e;
		}
	}
	return e->call.receiver;
}

static int eval_call(struct mal_eval *ev, const struct mal_expr *e, struct mal_family *ret)
{
	const struct mal_expr *fault;
	struct mal_family in;
	int r = mal_eval_expr(ev, receiver_of(ev, e, &fault), &in);

	if (r < 0)
		return r;
	if (fault && (in.n > 0 || fault->call.fault_on_empty))
		return mal_eval_fail(ev, "%s", fault->call.fault);
	if (e->call.fn >= MAL_FN_PLUS && e->call.fn <= MAL_FN_SAFE_DIV)
		return eval_operator_method(ev, e, &in, ret);
	if (in.n == 0) {
		*ret = in;
		return 0;
	}
	switch (e->call.fn) {
	case MAL_FN_TAG_EQUAL:
	case MAL_FN_TAG_NOT_EQUAL:
	case MAL_FN_TAG_MATCH:
	case MAL_FN_TAG_NOT_MATCH:
		return mal_family_filter_tags(ev, e, &in, ret);
	case MAL_FN_VALUE_EQUAL:
	case MAL_FN_VALUE_NOT_EQUAL:
	case MAL_FN_VALUE_GREATER:
	case MAL_FN_VALUE_GREATER_EQUAL:
	case MAL_FN_VALUE_LESS:
	case MAL_FN_VALUE_LESS_EQUAL:
		return filter_values(ev, e, &in, ret);
	case MAL_FN_NEGATIVE:
		return with_number(ev, OP_NEGATE, &in, 0, ret);
	case MAL_FN_SUM:
	case MAL_FN_MAX:
	case MAL_FN_MIN:
	case MAL_FN_AVG:
		return mal_family_aggregate(ev, e, &in, ret);
	case MAL_FN_COUNT:
		return mal_family_count(ev, e, &in, ret);
	case MAL_FN_INCREASE:
	case MAL_FN_RATE:
	case MAL_FN_IRATE:
		return eval_counter(ev, e, &in, ret);
	case MAL_FN_TAG:
	case MAL_FN_FOR_EACH:
	case MAL_FN_RETAG_BY_K8S_META:
		return mal_family_relabel(ev, e, &in, ret);
	case MAL_FN_HISTOGRAM:
		return mal_family_histogram(ev, e, &in, ret);
	case MAL_FN_DECORATE:
		return eval_decorate(ev, e, &in, ret);
	case MAL_FN_HISTOGRAM_PERCENTILE:
	case MAL_FN_DOWNSAMPLING:
	case MAL_FN_DEBUG_DUMP:
		*ret = in; /* these only say what is done with the result */
		return 0;
	default:
		return mal_family_entities(ev, e, &in, ret);
	}
}

static int eval_metric(struct mal_eval *ev, const struct mal_expr *e, struct mal_family *ret)
{
	const struct mal_batch_family *f;
	uint32_t name;
	int r;

	if (ev->metric)
		return ev->metric(ev, e, ret);
	r = mal_eval_const(ev, e->metric.name, &name);
	if (r < 0)
		return r;
	f = mal_batch_find(ev->batch, name);
	*ret = (struct mal_family){.milliseconds = ev->milliseconds};
	if (f) {
		ret->v = f->v;
		ret->n = f->n;
	}
	return 0;
}

static int eval_expr(struct mal_eval *ev, const struct mal_expr *e, struct mal_family *ret)
{
	struct mal_family in;
	int r;

	switch (e->kind) {
	case MAL_EXPR_NUMBER:
	case MAL_EXPR_TIME: /* a number that is no operand is the EMPTY family */
		*ret = (struct mal_family){0};
		return 0;
	case MAL_EXPR_METRIC:
		return eval_metric(ev, e, ret);
	case MAL_EXPR_HEAD:
		*ret = ev->head;
		return 0;
	case MAL_EXPR_NEGATE:
		r = mal_eval_expr(ev, e->operand, &in);
		return r < 0 ? r : with_number(ev, OP_NEGATE, &in, 0, ret);
	case MAL_EXPR_BINARY:
		return eval_binary(ev, e, ret);
	case MAL_EXPR_CALL:
		return eval_call(ev, e, ret);
	}
	return mal_eval_fail(ev, "unknown element");
}

int mal_eval_expr(struct mal_eval *ev, const struct mal_expr *e, struct mal_family *ret)
{
	int r = mal_eval_spend(ev, 1);

	if (r >= 0)
		r = eval_expr(ev, e, ret);
	if (r < 0)
		return r;
	ev->fuel -= (int64_t)ret->n;
	if (ev->step)
		ev->step(ev, e, ret);
	return 0;
}

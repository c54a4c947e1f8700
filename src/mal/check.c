/* SPDX-License-Identifier: Apache-2.0 */
#include "mal/check.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "mal/javatext.h"
#include "mal/parser.h"

static void say(struct mal_error *error, size_t offset, const char *fmt, ...) _printf_(3, 4);
#define fail(error, ...) (say((error), __VA_ARGS__), -EBADMSG)

static void say(struct mal_error *error, size_t offset, const char *fmt, ...)
{
	va_list ap;

	error->offset = offset;
	va_start(ap, fmt);
	(void)vsnprintf(error->message, sizeof(error->message), fmt, ap);
	va_end(ap);
}

/* --- forms of arguments --- */

static const struct {
	char letter;
	enum mal_arg_kind kind;
	bool or_null;
	enum mal_enum_type type; /* ENUM */
	const char *words;
} letters[] = {
	{'S', MAL_ARG_STRING, false, 0, "a string"},
	{'s', MAL_ARG_STRING, true, 0, "a string or null"},
	{'N', MAL_ARG_EXPR, false, 0, "a number without sign"},
	{'L', MAL_ARG_STRINGS, false, 0, "a list of strings"},
	{'l', MAL_ARG_STRINGS, true, 0, "a list of strings or null"},
	{'n', MAL_ARG_NUMBERS, true, 0, "a list of numbers"},
	{'C', MAL_ARG_CLOSURE, false, 0, "a closure: { tags -> … }"},
	{'c', MAL_ARG_CLOSURE, true, 0, "a closure or null"},
	{'X', MAL_ARG_EXPR, false, 0, "a number or an expression"},
	{'Y', MAL_ARG_ENUM, false, MAL_ENUM_LAYER, "a Layer, as in Layer.GENERAL"},
	{'D', MAL_ARG_ENUM, false, MAL_ENUM_DETECT_POINT, "DetectPoint.CLIENT, SERVER or PROXY"},
	{'K', MAL_ARG_ENUM, false, MAL_ENUM_K8S_RETAG, "K8sRetagType.Pod2Service"},
	{'A', MAL_ARG_ENUM, false, MAL_ENUM_DOWNSAMPLING,
	 "AVG, SUM, LATEST, SUM_PER_MIN, MAX or MIN"},
	{'U', MAL_ARG_ENUM, false, MAL_ENUM_TIME_UNIT, "a TimeUnit, as in TimeUnit.MILLISECONDS"},
};

static bool fits(char letter, const struct mal_arg *a, const char **ret_words)
{
	for (size_t i = 0; i < ELEMENTS_OF(letters); i++) {
		if (letters[i].letter != letter)
			continue;
		*ret_words = letters[i].words;
		if (letters[i].kind == MAL_ARG_STRINGS && a->kind == MAL_ARG_NUMBERS)
			return true; /* a List to Java: check_lists() makes a fault of it */
		if (a->kind == MAL_ARG_NULL)
			return letters[i].or_null;
		if (a->kind != letters[i].kind)
			return false;
		if (a->kind == MAL_ARG_ENUM)
			return a->en.type == letters[i].type;
		if (letter == 'N')
			return a->expr->kind == MAL_EXPR_NUMBER;
		return letter != 'X' || a->expr->kind != MAL_EXPR_TIME;
	}
	return false;
}

static int check_pairs(const struct mal_expr *e, struct mal_error *error)
{
	if (e->call.n_args == 0)
		return fail(error, e->offset,
			    "%s() takes pairs of label and value, found 0 arguments",
			    mal_fn_name(e->call.fn));
	for (size_t i = 0; i < e->call.n_args; i++) {
		const struct mal_arg *a = &e->call.args[i];

		if (a->kind != MAL_ARG_STRING && a->kind != MAL_ARG_NULL)
			return fail(error, a->offset, "expected a string as argument %zu of %s()",
				    i + 1, mal_fn_name(e->call.fn));
	}
	return 0;
}

static int check_form(const struct mal_expr *e, struct mal_error *error)
{
	const char *s = mal_fn_signature(e->call.fn), *name = mal_fn_name(e->call.fn), *words = "";
	size_t n;

	if (s[0] == '*')
		return check_pairs(e, error);
	for (;; s += n + 1) {
		n = strcspn(s, "|");
		if (n == e->call.n_args)
			break;
		if (s[n])
			continue;
		s = mal_fn_signature(e->call.fn);
		return fail(error, e->offset, "%s() takes %zu%s argument%s, found %zu", name,
			    strcspn(s, "|"), strchr(s, '|') ? " or more" : "",
			    s[0] && !s[1] ? "" : "s", e->call.n_args);
	}
	for (size_t i = 0; i < n; i++) {
		if (!fits(s[i], &e->call.args[i], &words))
			return fail(error, e->call.args[i].offset,
				    "expected %s as argument %zu of %s()", words, i + 1, name);
	}
	return 0;
}

/* --- what Java only finds at run time: the file is good, the rule fails --- */

static int set_fault(struct mal_program *p, struct mal_expr *e, bool on_empty, const char *fmt, ...)
	_printf_(4, 5);

/* The first one stays. Return: 0, -ENOMEM. */
static int set_fault(struct mal_program *p, struct mal_expr *e, bool on_empty, const char *fmt, ...)
{
	va_list ap;

	if (e->call.fault && (e->call.fault_on_empty || !on_empty))
		return 0;
	va_start(ap, fmt);
	e->call.fault = mal_arena_vprintf(&p->arena, fmt, ap);
	va_end(ap);
	e->call.fault_on_empty = on_empty;
	return e->call.fault ? 0 : -ENOMEM;
}

static int find_pair_faults(struct mal_program *p, struct mal_expr *e)
{
	bool match = e->call.fn == MAL_FN_TAG_MATCH || e->call.fn == MAL_FN_TAG_NOT_MATCH;

	if (e->call.n_args % 2 != 0)
		return set_fault(p, e, true,
				 "%s() takes pairs of label and value, found %zu arguments",
				 mal_fn_name(e->call.fn), e->call.n_args);
	for (size_t i = 1; match && i < e->call.n_args; i += 2) {
		struct mal_arg *a = &e->call.args[i];
		char message[200] = "expected a regex, found null";
		int r = -EINVAL;

		if (a->kind == MAL_ARG_STRING)
			r = mal_regex_new(p, mal_strings_text(&p->strings, a->string), message,
					  sizeof(message), &a->regex);
		if (r == -EINVAL)
			r = set_fault(p, e, false, "%s", message);
		if (r < 0)
			return r;
	}
	return 0;
}

static int find_twin_labels(struct mal_program *p, struct mal_expr *e, const struct mal_arg *a)
{
	for (size_t j = 0; j < a->strings.n; j++) {
		for (size_t k = j + 1; k < a->strings.n; k++) {
			if (a->strings.ids[j] == a->strings.ids[k])
				return set_fault(p, e, false,
						 "label '%s' twice in the list of %s()",
						 mal_strings_text(&p->strings, a->strings.ids[j]),
						 mal_fn_name(e->call.fn));
		}
	}
	return 0;
}

static int check_lists(struct mal_program *p, struct mal_expr *e, struct mal_error *error)
{
	bool aggregates = e->call.fn >= MAL_FN_SUM && e->call.fn <= MAL_FN_COUNT;

	for (size_t i = 0; i < e->call.n_args; i++) {
		const struct mal_arg *a = &e->call.args[i];
		int r;

		if (a->kind == MAL_ARG_NUMBERS && e->call.fn != MAL_FN_HISTOGRAM_PERCENTILE) {
			r = set_fault(p, e, false, "expected strings in the list of %s()",
				      mal_fn_name(e->call.fn));
			if (r < 0)
				return r;
		}
		if (a->kind != MAL_ARG_STRINGS)
			continue;
		if (a->strings.n > SONDE_MAL_LABELS_MAX)
			return fail(error, a->offset, "more than %d strings in a list",
				    SONDE_MAL_LABELS_MAX);
		r = aggregates ? find_twin_labels(p, e, a) : 0;
		if (r < 0)
			return r;
	}
	return 0;
}

static int check_ranks(const struct mal_expr *e, struct mal_error *error)
{
	const struct mal_arg *a = &e->call.args[0];

	if (a->kind == MAL_ARG_NUMBERS && a->numbers.n > SONDE_MAL_RANKS_MAX)
		return fail(error, a->offset, "more than %d percentiles", SONDE_MAL_RANKS_MAX);
	return 0;
}

static int find_empty_names(struct mal_program *p, struct mal_expr *e, const char *at)
{
	for (; *at; at++) {
		const struct mal_arg *a = &e->call.args[*at - '0'];

		if (a->kind == MAL_ARG_STRING && a->string == MAL_STR_EMPTY)
			return set_fault(p, e, true,
					 "expected a label's name as argument %c of %s()", *at + 1,
					 mal_fn_name(e->call.fn));
	}
	return 0;
}

static int find_duration_fault(struct mal_program *p, struct mal_expr *e)
{
	const char *text = mal_strings_text(&p->strings, e->call.args[0].string);

	if (mal_java_duration_ms(text, &e->call.duration_ms) < 0)
		return set_fault(p, e, !*text, "expected a duration, as in 'PT1M', found '%.40s'",
				 text);
	return 0;
}

static int find_unit_fault(struct mal_program *p, struct mal_expr *e)
{
	/* TimeUnit: NANOSECONDS and MICROSECONDS are 0 ms */
	if (e->call.n_args == 2 && e->call.args[1].en.member < 2)
		return set_fault(p, e, true, "expected a unit of a millisecond or more");
	return 0;
}

static int check_call(struct mal_program *p, struct mal_expr *e, struct mal_error *error)
{
	int r = check_form(e, error);

	if (r >= 0)
		r = check_lists(p, e, error);
	if (r < 0)
		return r;
	switch (e->call.fn) {
	case MAL_FN_TAG_EQUAL:
	case MAL_FN_TAG_NOT_EQUAL:
	case MAL_FN_TAG_MATCH:
	case MAL_FN_TAG_NOT_MATCH:
		return find_pair_faults(p, e);
	case MAL_FN_INCREASE:
	case MAL_FN_RATE:
		return find_duration_fault(p, e);
	case MAL_FN_HISTOGRAM:
		return find_unit_fault(p, e);
	case MAL_FN_RETAG_BY_K8S_META:
		return find_empty_names(p, e, "023");
	case MAL_FN_PROCESS_RELATION:
		return find_empty_names(p, e, "34");
	case MAL_FN_HISTOGRAM_PERCENTILE:
		return check_ranks(e, error);
	default:
		return 0;
	}
}

static bool is_scalar(const struct mal_expr *e)
{
	return e->kind == MAL_EXPR_NUMBER || e->kind == MAL_EXPR_TIME;
}

static int check_operand(struct mal_program *p, struct mal_expr *e, const struct mal_expr *other,
			 struct mal_error *error)
{
	if (e->kind == MAL_EXPR_TIME && !is_scalar(other))
		return 0;
	return mal_check_text(p, e, error);
}

int mal_check_text(struct mal_program *p, struct mal_expr *e, struct mal_error *error)
{
	int r;

	switch (e->kind) {
	case MAL_EXPR_TIME:
		return fail(
			error, e->offset,
			"time() stands only beside an operator, with a metric on its other side");
	case MAL_EXPR_NEGATE:
		return mal_check_text(p, e->operand, error);
	case MAL_EXPR_BINARY:
		r = check_operand(p, e->binary.lhs, e->binary.rhs, error);
		return r < 0 ? r : check_operand(p, e->binary.rhs, e->binary.lhs, error);
	case MAL_EXPR_CALL:
		r = mal_check_text(p, e->call.receiver, error);
		if (r >= 0)
			r = check_call(p, e, error);
		for (size_t i = 0; i < e->call.n_args && r >= 0; i++)
			if (e->call.args[i].kind == MAL_ARG_EXPR)
				r = mal_check_text(p, e->call.args[i].expr, error);
		return r;
	default:
		return 0;
	}
}

/* --- the whole rule --- */

struct walk {
	const struct mal_program *program;
	const struct mal_expr *exp, *prefix;
	struct mal_error *error;
	struct mal_checked *out;
	uint32_t aggregated[SONDE_MAL_LABELS_MAX * 4];
	uint32_t entity[SONDE_MAL_LABELS_MAX * 4];
	size_t n_aggregated, n_entity;
	bool has_entity, histogram;
	const struct mal_expr *decorated;
	const struct mal_arg *ranks;
	int r;
};

static void add(struct walk *w, uint32_t *v, size_t *n, size_t max, uint32_t id, size_t offset)
{
	for (size_t i = 0; i < *n; i++)
		if (v[i] == id)
			return;
	if (*n == max && w->r >= 0)
		w->r = fail(w->error, offset, "more than %zu metrics or labels in one rule", max);
	if (*n < max)
		v[(*n)++] = id;
}

static void walk_entity(struct walk *w, const struct mal_expr *e)
{
	w->has_entity = true;
	w->out->scope = (enum sonde_mal_scope)(e->call.fn - MAL_FN_SERVICE);
	for (size_t i = 0; i < e->call.n_args; i++) {
		const struct mal_arg *a = &e->call.args[i];
		/* of the single strings only those that name a label count; delimiters are none */
		bool label = e->call.fn == MAL_FN_PROCESS_RELATION ||
			     e->call.fn == MAL_FN_PROCESS ||
			     (e->call.fn >= MAL_FN_SERVICE_RELATION && i + 1 == e->call.n_args);

		if (a->kind == MAL_ARG_STRINGS) {
			for (size_t j = 0; j < a->strings.n; j++)
				add(w, w->entity, &w->n_entity, ELEMENTS_OF(w->entity),
				    a->strings.ids[j], e->offset);
		} else if (a->kind == MAL_ARG_STRING && label) {
			add(w, w->entity, &w->n_entity, ELEMENTS_OF(w->entity), a->string,
			    e->offset);
		}
	}
}

/* @argument: inside a method's argument, of which only the metrics count. */
static void walk(struct walk *w, const struct mal_expr *e, bool argument);

static void walk_call(struct walk *w, const struct mal_expr *e, bool argument)
{
	const struct mal_arg *a = e->call.args;

	walk(w, e->call.receiver, argument);
	for (size_t i = 0; i < e->call.n_args; i++)
		if (a[i].kind == MAL_ARG_EXPR)
			walk(w, a[i].expr, true);
	if (argument)
		return;
	switch (e->call.fn) {
	case MAL_FN_SUM:
	case MAL_FN_MAX:
	case MAL_FN_MIN:
	case MAL_FN_AVG:
	case MAL_FN_COUNT:
		for (size_t i = 0;
		     !e->call.function_form && a->kind == MAL_ARG_STRINGS && i < a->strings.n; i++)
			add(w, w->aggregated, &w->n_aggregated, ELEMENTS_OF(w->aggregated),
			    a->strings.ids[i], e->offset);
		break;
	case MAL_FN_HISTOGRAM:
		w->histogram = true;
		break;
	case MAL_FN_HISTOGRAM_PERCENTILE:
		w->ranks = a->kind == MAL_ARG_NUMBERS ? a : NULL;
		break;
	case MAL_FN_DOWNSAMPLING:
		w->out->function.downsampling = (enum sonde_mal_downsampling)a->en.member;
		break;
	case MAL_FN_DECORATE:
		w->decorated = e;
		break;
	default:
		if (e->call.fn >= MAL_FN_SERVICE && e->call.fn <= MAL_FN_PROCESS_RELATION)
			walk_entity(w, e);
		break;
	}
}

static void walk(struct walk *w, const struct mal_expr *e, bool argument)
{
	switch (e->kind) {
	case MAL_EXPR_METRIC:
		add(w, w->out->sources, &w->out->n_sources, MAL_SOURCES_MAX, e->metric.name,
		    e->offset);
		if (e->metric.prefixed && w->prefix)
			walk(w, w->prefix, argument);
		break;
	case MAL_EXPR_NEGATE:
		walk(w, e->operand, argument);
		break;
	case MAL_EXPR_BINARY:
		walk(w, e->binary.lhs, argument);
		walk(w, e->binary.rhs, argument);
		break;
	case MAL_EXPR_CALL:
		walk_call(w, e, argument);
		break;
	default:
		break;
	}
}

static int decide_kind(struct walk *w)
{
	struct sonde_mal_function *f = &w->out->function;

	for (size_t i = 0; i < w->n_aggregated; i++) {
		size_t k = 0;

		while (k < w->n_entity && w->entity[k] != w->aggregated[i])
			k++;
		if (k == w->n_entity && w->out->n_labels < ELEMENTS_OF(w->out->labels))
			w->out->labels[w->out->n_labels++] = w->aggregated[i];
	}
	if (w->histogram && w->ranks) {
		f->kind = SONDE_MAL_HISTOGRAM_PERCENTILE;
		f->n_ranks = w->ranks->numbers.n;
		for (size_t i = 0; i < f->n_ranks; i++)
			f->ranks[i] = (int32_t)w->ranks->numbers.v[i];
	} else if (w->histogram) {
		f->kind = SONDE_MAL_HISTOGRAM;
	} else {
		f->kind = w->out->n_labels > 0 ? SONDE_MAL_LABELED : SONDE_MAL_SINGLE;
	}
	if (w->decorated && w->out->scope != SONDE_MAL_SCOPE_SERVICE)
		return fail(w->error, w->decorated->offset,
			    "decorate() works on services: expected service(…)");
	if (w->decorated && w->histogram)
		return fail(w->error, w->decorated->offset,
			    "decorate() does not work on histograms");
	return 0;
}

int mal_check_function(const struct sonde_mal_function *f, struct mal_error *error)
{
	char name[48];

	if (sonde_mal_function_exists(f))
		return 0;
	sonde_mal_function_name(f, name);
	return fail(error, 0, "no storage function '%s': expected another downsampling", name);
}

int mal_check_rule(const struct mal_program *p, const struct mal_expr *exp,
		   const struct mal_expr *prefix, const struct mal_expr *suffix,
		   struct mal_error *error, struct mal_checked *ret)
{
	struct walk w = {.program = p, .exp = exp, .prefix = prefix, .error = error, .out = ret};

	assert(p && exp && error && ret);

	*ret = (struct mal_checked){.function.downsampling = SONDE_MAL_AVG};
	walk(&w, exp, false);
	if (suffix) /* its head is the rule's own expression, which was just walked */
		walk(&w, suffix, false);
	if (w.r < 0)
		return w.r;
	if (!w.has_entity) {
		return fail(
			error, exp->offset,
			"expected an entity: service(…), instance(…), endpoint(…), process(…) or a relation");
	}
	return decide_kind(&w);
}

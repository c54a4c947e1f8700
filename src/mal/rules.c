/* SPDX-License-Identifier: Apache-2.0 */
#include "mal/rules.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/num.h"
#include "mal/check.h"
#include "mal/entity.h"
#include "mal/lint.h"
#include "mal/parser.h"
#include "mal/rule-yaml.h"
#include "mal/rules-private.h"

const char *sonde_mal_scope_name(enum sonde_mal_scope scope)
{
	static const char *const names[] = {
		[SONDE_MAL_SCOPE_SERVICE] = "SERVICE",
		[SONDE_MAL_SCOPE_INSTANCE] = "SERVICE_INSTANCE",
		[SONDE_MAL_SCOPE_ENDPOINT] = "ENDPOINT",
		[SONDE_MAL_SCOPE_PROCESS] = "PROCESS",
		[SONDE_MAL_SCOPE_SERVICE_RELATION] = "SERVICE_RELATION",
		[SONDE_MAL_SCOPE_INSTANCE_RELATION] = "SERVICE_INSTANCE_RELATION",
		[SONDE_MAL_SCOPE_PROCESS_RELATION] = "PROCESS_RELATION",
	};

	_Static_assert(ELEMENTS_OF(names) == _SONDE_MAL_SCOPE_MAX, "every scope needs its name");
	return names[scope];
}

struct sonde_mal_rules *sonde_mal_rules_free(struct sonde_mal_rules *r)
{
	if (!r)
		return NULL;
	mal_program_done(&r->program);
	free(r->v);
	free(r->file);
	free(r);
	return NULL;
}

const char *sonde_mal_rules_file(const struct sonde_mal_rules *r)
{
	return r->file;
}

size_t sonde_mal_rules_count(const struct sonde_mal_rules *r)
{
	return r->n;
}

const struct sonde_mal_rule *sonde_mal_rules_get(const struct sonde_mal_rules *r, size_t i)
{
	assert(i < r->n);

	return &r->v[i]->is;
}

const struct sonde_mal_rule *sonde_mal_rules_find(const struct sonde_mal_rules *r,
						  const char *metric)
{
	for (size_t i = 0; i < r->n; i++)
		if (strcmp(r->v[i]->is.metric, metric) == 0)
			return &r->v[i]->is;
	return NULL;
}

/* --- loading --- */

#define COUNTERS_MAX 4096 /* of one file, for the warnings */

struct loader {
	struct sonde_mal_rules *rules;
	struct mal_yaml yaml;
	struct sonde_mal_report report;
	yaml_node_t *prefix, *list, *exp_prefix, *exp_suffix, *filter, *layers;
	int bad;		  /* rules left out */
	struct counter *counters; /* owned; of the rules so far */
	size_t n_counters, cap_counters;
};

/* One counter of a rule, for the warnings. */
struct counter {
	struct mal_counter is;
	const yaml_node_t *exp;
	const char *rule;
};

static int say(struct loader *l, struct mal_place place, const char *rule, const char *fmt, ...)
	_printf_(4, 5);

/* Reports a finding. Returns -EBADMSG. */
static int say(struct loader *l, struct mal_place place, const char *rule, const char *fmt, ...)
{
	char message[400];
	struct sonde_mal_diagnostic d = {.file = l->rules->file,
					 .line = place.line,
					 .column = place.column,
					 .rule = rule,
					 .message = message};
	va_list ap;

	if (!l->report.found)
		return -EBADMSG;
	va_start(ap, fmt);
	(void)vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	l->report.found(l->report.ctx, &d);
	return -EBADMSG;
}

static void warn(struct loader *l, struct mal_place place, const char *rule, const char *message)
{
	const struct sonde_mal_diagnostic d = {.file = l->rules->file,
					       .line = place.line,
					       .column = place.column,
					       .rule = rule,
					       .message = message,
					       .warning = true};

	if (l->report.found && l->report.warnings)
		l->report.found(l->report.ctx, &d);
}

static const char *scalar_text(const yaml_node_t *n)
{
	return (const char *)n->data.scalar.value;
}

/* A text without NUL bytes, or nothing. */
static int need_text(struct loader *l, const yaml_node_t *n, const char *rule, const char *what)
{
	if (n->type != YAML_SCALAR_NODE)
		return say(l, mal_yaml_place(n), rule, "expected a text as %s", what);
	if (memchr(n->data.scalar.value, 0, n->data.scalar.length))
		return say(l, mal_yaml_place(n), rule, "a NUL byte in %s", what);
	return 0;
}

/* A key of the file, with where its value goes. NULL: accepted and not used. */
struct key {
	const char *name;
	yaml_node_t **value;
};

static int read_keys(struct loader *l, const yaml_node_t *map, const struct key *keys,
		     size_t n_keys, const char *rule, const char *known)
{
	uint32_t seen = 0;

	for (yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top;
	     p++) {
		yaml_node_t *key = mal_yaml_node(&l->yaml, p->key);
		size_t k = 0;

		while (k < n_keys && !mal_yaml_is(key, keys[k].name))
			k++;
		if (k == n_keys && key->type == YAML_SCALAR_NODE)
			return say(l, mal_yaml_place(key), rule, "unknown key '%.64s': expected %s",
				   scalar_text(key), known);
		if (k == n_keys)
			return say(l, mal_yaml_place(key), rule, "expected %s as key", known);
		if (seen & (1U << k))
			warn(l, mal_yaml_place(key), rule,
			     "this key stood above: the last one counts");
		seen |= 1U << k;
		if (keys[k].value)
			*keys[k].value = mal_yaml_node(&l->yaml, p->value);
	}
	return 0;
}

static bool is_null(const yaml_node_t *n)
{
	return n->type == YAML_SCALAR_NODE && n->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
	       (n->data.scalar.length == 0 || mal_yaml_is(n, "~") || mal_yaml_is(n, "null"));
}

/* A text that is not there: also the empty one. */
static bool is_none(const yaml_node_t *n)
{
	return n->type == YAML_SCALAR_NODE && (n->data.scalar.length == 0 || is_null(n));
}

static int read_file_keys(struct loader *l, const yaml_node_t *root)
{
	yaml_node_t *metrics = NULL;
	const struct key keys[] = {
		{"metricPrefix", &l->prefix},
		{"metricsRules", &l->list},
		{"metrics", &metrics},
		{"expPrefix", &l->exp_prefix},
		{"expSuffix", &l->exp_suffix},
		{"filter", &l->filter},
		{"layerDefinitions", &l->layers},
		{"entities", NULL},
		{"requiredZabbixItemKeys", NULL},
		/* fields of OAP's own that its reader of files takes, and then sets itself */
		{"name", NULL},
		{"sourcePath", NULL},
		{"filterLine", NULL},
		{"expPrefixLine", NULL},
		{"expSuffixLine", NULL},
	};
	int r;

	if (root->type != YAML_MAPPING_NODE)
		return say(l, mal_yaml_place(root), NULL,
			   "expected a map with metricPrefix and metricsRules");
	r = read_keys(
		l, root, keys, ELEMENTS_OF(keys), NULL,
		"metricPrefix, metricsRules, expPrefix, expSuffix, filter or layerDefinitions");
	if (r < 0)
		return r;
	if (!l->list)
		l->list = metrics;
	if (!l->prefix || is_null(l->prefix))
		return say(l, mal_yaml_place(root), NULL, "expected the key metricPrefix");
	r = need_text(l, l->prefix, NULL, "metricPrefix");
	if (r < 0)
		return r;
	if (l->prefix->data.scalar.length == 0)
		return say(l, mal_yaml_place(l->prefix), NULL, "expected a text as metricPrefix");
	if (!l->list || l->list->type != YAML_SEQUENCE_NODE)
		return say(l, mal_yaml_place(l->list ? l->list : root), NULL,
			   "expected a list under metricsRules");
	return 0;
}

/* --- warnings: each at its text's place --- */

struct warning {
	struct loader *loader;
	const yaml_node_t *text;
	const char *rule;
};

static void on_lint(void *ctx, size_t offset, const char *message)
{
	const struct warning *w = ctx;

	warn(w->loader, mal_yaml_inside(&w->loader->yaml, w->text, offset), w->rule, message);
}

static int on_counter(struct loader *l, const struct mal_counter *c, const yaml_node_t *exp,
		      const char *rule)
{
	if (l->n_counters ==
	    COUNTERS_MAX) /* each is held against each: beyond it they are not compared */
		return 0;
	if (l->n_counters == l->cap_counters) {
		size_t cap = l->cap_counters ? l->cap_counters * 2 : 64;
		struct counter *v = reallocarray(l->counters, cap, sizeof(*v));

		if (!v)
			return -ENOMEM;
		l->counters = v;
		l->cap_counters = cap;
	}
	l->counters[l->n_counters++] = (struct counter){*c, exp, rule};
	return 0;
}

struct counter_walk {
	struct loader *loader;
	const yaml_node_t *exp;
	const char *rule;
	int r;
	size_t n;
};

static void add_counter(void *ctx, const struct mal_counter *c)
{
	struct counter_walk *w = ctx;

	w->n++;
	if (w->r >= 0)
		w->r = on_counter(w->loader, c, w->exp, w->rule);
}

static int lint_rule(struct loader *l, const struct mal_expr *e, const struct mal_checked *c,
		     const yaml_node_t *name, const yaml_node_t *exp)
{
	struct warning w = {l, exp, scalar_text(name)};
	struct counter_walk walk = {l, exp, scalar_text(name), 0, 0};
	char message[400];

	mal_lint_text(&l->rules->program, e, l->rules->layers, on_lint, &w);
	mal_lint_labels(&l->rules->program, c, on_lint, &w);
	for (size_t i = 0; l->report.is_fed && i < c->n_sources; i++) {
		const char *source = mal_strings_text(&l->rules->program.strings, c->sources[i]);

		if (l->report.is_fed(l->report.ctx, source))
			continue;
		(void)snprintf(message, sizeof(message), "no meter of Sonde feeds '%.128s'",
			       source);
		on_lint(&w, 0, message);
	}
	mal_lint_counters(e, l->rules->prefix, l->rules->suffix, add_counter, &walk);
	if (walk.n > 0)
		on_lint(&w, 0,
			"a counter that begins anew gives a negative increase, stored as 0, until its window is past: "
			"`strict` counts on");
	return walk.r;
}

/* One finding a rule: the first other that it shares a window with. */
static void lint_interference(struct loader *l)
{
	const char *told = NULL;
	char message[400];

	for (size_t i = 0; i < l->n_counters; i++) {
		const struct counter *a = &l->counters[i];

		for (size_t k = 0; k < l->n_counters && told != a->rule; k++) {
			const struct counter *b = &l->counters[k];

			if (k == i || !mal_lint_interfere(&a->is, &b->is))
				continue;
			(void)snprintf(
				message, sizeof(message),
				"its counter window is shared with '%.128s', of other values: both are "
				"wrong, as in OAP; `strict` keeps them apart",
				b->rule);
			warn(l, mal_yaml_place(a->exp), a->rule, message);
			told = a->rule;
		}
	}
}

/* --- the texts of the file --- */

static int say_error(struct loader *l, const yaml_node_t *n, const char *rule,
		     const struct mal_error *e)
{
	return say(l, mal_yaml_inside(&l->yaml, n, e->offset), rule, "%s", e->message);
}

static int parse_text(struct loader *l, yaml_node_t *n, enum mal_text_kind kind, const char *rule,
		      struct mal_expr **ret)
{
	struct mal_error error = {0};
	struct mal_expr *e;
	int r;

	r = mal_parse_expr(&l->rules->program, kind, scalar_text(n), n->data.scalar.length, &error,
			   &e);
	if (r >= 0)
		r = mal_check_text(&l->rules->program, e, &error);
	if (r == -EBADMSG)
		return say_error(l, n, rule, &error);
	if (r == 0)
		*ret = e;
	return r;
}

static int parse_chain(struct loader *l, yaml_node_t *n, const char *what, struct mal_expr **ret,
		       const char **ret_text)
{
	int r;

	if (!n || is_none(n))
		return 0;
	r = need_text(l, n, NULL, what);
	if (r >= 0)
		r = parse_text(l, n, MAL_TEXT_CHAIN, NULL, ret);
	if (r >= 0) {
		*ret_text = mal_arena_strndup(&l->rules->program.arena, scalar_text(n),
					      n->data.scalar.length);
		r = *ret_text ? 0 : -ENOMEM;
	}
	if (r >= 0 && l->report.warnings) {
		struct warning w = {l, n, NULL};

		mal_lint_text(&l->rules->program, *ret, l->rules->layers, on_lint, &w);
	}
	return r;
}

static int parse_filter(struct loader *l)
{
	struct mal_error error = {0};
	int r;

	if (!l->filter || is_none(l->filter))
		return 0;
	r = need_text(l, l->filter, NULL, "filter");
	if (r < 0)
		return r;
	r = mal_parse_filter(&l->rules->program, scalar_text(l->filter),
			     l->filter->data.scalar.length, &error, &l->rules->filter);
	return r == -EBADMSG ? say_error(l, l->filter, NULL, &error) : r;
}

static bool is_pure(const struct mal_expr *e)
{
	switch (e->kind) {
	case MAL_EXPR_NEGATE:
		return is_pure(e->operand);
	case MAL_EXPR_BINARY:
		return is_pure(e->binary.lhs) && is_pure(e->binary.rhs);
	case MAL_EXPR_CALL:
		for (size_t i = 0; i < e->call.n_args; i++)
			if (e->call.args[i].kind == MAL_ARG_EXPR && !is_pure(e->call.args[i].expr))
				return false;
		return !(e->call.fn >= MAL_FN_INCREASE && e->call.fn <= MAL_FN_IRATE) &&
		       is_pure(e->call.receiver);
	default:
		return true;
	}
}

/* --- layers --- */

static bool layer_name_ok(const char *s)
{
	if (!(*s >= 'A' && *s <= 'Z'))
		return false;
	while ((*s >= 'A' && *s <= 'Z') || (*s >= '0' && *s <= '9') || *s == '_')
		s++;
	return *s == 0;
}

/* A layer may be defined again as it is; else neither its name nor its ordinal may be taken. */
static int check_ordinal(struct loader *l, const yaml_node_t *name, const yaml_node_t *ordinal,
			 const yaml_node_t *normal, int64_t *ordinals, size_t n)
{
	bool is_normal = !normal || strcmp(scalar_text(normal), "false") != 0;
	const char *clash;

	if (ordinal->type != YAML_SCALAR_NODE ||
	    sonde_parse_i64(scalar_text(ordinal), INT32_MIN, INT32_MAX, &ordinals[n]) < 0)
		return say(l, mal_yaml_place(ordinal), NULL, "expected an integer as ordinal");
	clash = mal_layer_clash(scalar_text(name), (int32_t)ordinals[n], is_normal);
	for (size_t i = 0; i < n && !clash; i++)
		if ((ordinals[i] == ordinals[n]) !=
		    (strcmp(l->rules->layers[i], scalar_text(name)) == 0))
			clash = l->rules->layers[i];
	if (!clash)
		return 0;
	return say(l, mal_yaml_place(ordinal), NULL,
		   "the layer %.64s has this name or this ordinal already", clash);
}

static int read_layers(struct loader *l)
{
	int64_t *ordinals;
	size_t n = 0, max;

	if (!l->layers || is_null(l->layers))
		return 0;
	if (l->layers->type != YAML_SEQUENCE_NODE)
		return say(l, mal_yaml_place(l->layers), NULL,
			   "expected a list under layerDefinitions");
	max = (size_t)(l->layers->data.sequence.items.top - l->layers->data.sequence.items.start);
	l->rules->layers =
		mal_arena_zalloc(&l->rules->program.arena, (max + 1) * sizeof(*l->rules->layers));
	ordinals = mal_arena_array(&l->rules->program.arena, max + 1, sizeof(*ordinals));
	if (!l->rules->layers || !ordinals)
		return -ENOMEM;
	for (yaml_node_item_t *i = l->layers->data.sequence.items.start;
	     i < l->layers->data.sequence.items.top; i++) {
		yaml_node_t *item = mal_yaml_node(&l->yaml, *i), *name = NULL, *ordinal = NULL,
			    *normal = NULL;
		const struct key keys[] = {
			{"name", &name}, {"ordinal", &ordinal}, {"normal", &normal}};
		int r;

		if (item->type != YAML_MAPPING_NODE)
			return say(l, mal_yaml_place(item), NULL,
				   "expected a map with name and ordinal");
		r = read_keys(l, item, keys, ELEMENTS_OF(keys), NULL, "name, ordinal or normal");
		if (r < 0)
			return r;
		if (!name || !ordinal || need_text(l, name, NULL, "the name of a layer") < 0 ||
		    !layer_name_ok(scalar_text(name))) {
			return say(
				l, mal_yaml_place(name ? name : item), NULL,
				"expected a layer with an ordinal and a name of A to Z, 0 to 9 and _");
		}
		r = check_ordinal(l, name, ordinal, normal, ordinals, n);
		if (r < 0)
			return r;
		l->rules->layers[n] = mal_arena_strndup(&l->rules->program.arena, scalar_text(name),
							name->data.scalar.length);
		if (!l->rules->layers[n++])
			return -ENOMEM;
	}
	return 0;
}

/* --- rules --- */

static const char *text_of(struct loader *l, uint32_t id)
{
	return mal_strings_text(&l->rules->program.strings, id);
}

static const char *const *copy_names(struct loader *l, const uint32_t *ids, size_t n)
{
	const char **v = mal_arena_array(&l->rules->program.arena, n ? n : 1, sizeof(*v));

	for (size_t i = 0; v && i < n; i++)
		v[i] = text_of(l, ids[i]);
	return v;
}

static int fill_rule(struct loader *l, struct mal_rule *rule, const struct mal_checked *c,
		     const yaml_node_t *name, const yaml_node_t *exp)
{
	struct mal_arena *arena = &l->rules->program.arena;
	uint32_t *sources =
		mal_arena_array(arena, c->n_sources ? c->n_sources : 1, sizeof(*sources));

	rule->is.metric =
		mal_arena_printf(arena, "%s_%s", scalar_text(l->prefix), scalar_text(name));
	rule->is.exp = mal_arena_strndup(arena, scalar_text(exp), exp->data.scalar.length);
	rule->is.sources = copy_names(l, c->sources, c->n_sources);
	rule->is.labels = copy_names(l, c->labels, c->n_labels);
	if (!sources || !rule->is.metric || !rule->is.exp || !rule->is.sources || !rule->is.labels)
		return -ENOMEM;
	memcpy(sources, c->sources, c->n_sources * sizeof(*sources));
	rule->sources = sources;
	rule->is.n_sources = c->n_sources;
	rule->is.n_labels = c->n_labels;
	rule->is.scope = c->scope;
	rule->is.function = c->function;
	rule->is.line = mal_yaml_place(name).line;
	return 0;
}

/* Two rules may feed one metric, if they agree on what it is. */
static int check_twin(struct loader *l, const struct mal_rule *rule, const yaml_node_t *name)
{
	const struct sonde_mal_rule *twin = sonde_mal_rules_find(l->rules, rule->is.metric);

	if (!twin ||
	    (twin->scope == rule->is.scope && twin->function.kind == rule->is.function.kind &&
	     twin->function.downsampling == rule->is.function.downsampling))
		return 0;
	return say(l, mal_yaml_place(name), scalar_text(name),
		   "metric '%.128s' exists with another entity or storage function (line %u)",
		   rule->is.metric, twin->line);
}

static int push_rule(struct loader *l, struct mal_rule *rule)
{
	struct sonde_mal_rules *r = l->rules;

	if (r->n == r->cap) {
		size_t cap = r->cap ? r->cap * 2 : 32;
		struct mal_rule **v = reallocarray(r->v, cap, sizeof(void *));

		if (!v)
			return -ENOMEM;
		r->v = v;
		r->cap = cap;
	}
	r->v[r->n++] = rule;
	return 0;
}

/* OAP puts "(" before and ").suffix" behind the text of exp. */
static bool ends_in_comment(const char *s)
{
	char quote = 0;

	for (; *s; s++) {
		if (quote) {
			if (*s == '\\' && s[1])
				s++;
			else if (*s == quote)
				quote = 0;
		} else if (*s == '\'' || *s == '"') {
			quote = *s;
		} else if (s[0] == '/' && s[1] == '*') {
			s = strstr(s + 2, "*/");
			if (!s)
				return false;
			s++;
		} else if (s[0] == '/' && s[1] == '/') {
			s += strcspn(s, "\n");
			if (!*s)
				return true;
		}
	}
	return false;
}

static int load_expression(struct loader *l, yaml_node_t *name, yaml_node_t *exp,
			   struct mal_rule *rule)
{
	enum mal_text_kind kind = l->rules->prefix ? MAL_TEXT_EXP_PREFIXED : MAL_TEXT_EXP;
	struct mal_error error = {0};
	struct mal_checked checked;
	struct mal_expr *e;
	int r;

	if (l->rules->suffix && ends_in_comment(scalar_text(exp)))
		return say(
			l, mal_yaml_inside(&l->yaml, exp, exp->data.scalar.length),
			scalar_text(name),
			"expected a line end behind the comment: it swallows expSuffix in an OAP");
	r = parse_text(l, exp, kind, scalar_text(name), &e);
	if (r < 0)
		return r;
	rule->exp = e;
	r = mal_check_rule(&l->rules->program, e, l->rules->prefix, l->rules->suffix, &error,
			   &checked);
	if (r >= 0)
		r = mal_check_function(&checked.function, &error);
	if (r < 0)
		return r == -EBADMSG ? say_error(l, exp, scalar_text(name), &error) : r;
	r = l->report.warnings ? lint_rule(l, e, &checked, name, exp) : 0;
	return r < 0 ? r : fill_rule(l, rule, &checked, name, exp);
}

static int load_rule(struct loader *l, yaml_node_t *item)
{
	yaml_node_t *name = NULL, *exp = NULL;
	const struct key keys[] = {
		{"name", &name}, {"exp", &exp}, {"lineNo", NULL}, {"expLine", NULL}};
	struct mal_rule *rule;
	int r;

	if (item->type != YAML_MAPPING_NODE)
		return say(l, mal_yaml_place(item), NULL, "expected a rule with name and exp");
	r = read_keys(l, item, keys, ELEMENTS_OF(keys), NULL, "name or exp");
	if (r < 0)
		return r;
	if (!name || !exp)
		return say(l, mal_yaml_place(item), NULL, "expected the key %s in the rule",
			   name ? "exp" : "name");
	r = need_text(l, name, NULL, "the name of a rule");
	if (r >= 0)
		r = need_text(l, exp, scalar_text(name), "exp");
	if (r < 0)
		return r;
	rule = mal_arena_zalloc(&l->rules->program.arena, sizeof(*rule));
	if (!rule)
		return -ENOMEM;
	r = load_expression(l, name, exp, rule);
	if (r >= 0)
		r = check_twin(l, rule, name);
	return r < 0 ? r : push_rule(l, rule);
}

static int load_list(struct loader *l)
{
	yaml_node_item_t *item = l->list->data.sequence.items.start,
			 *end = l->list->data.sequence.items.top;

	if (end - item > SONDE_MAL_RULES_MAX)
		return say(l, mal_yaml_place(l->list), NULL, "more than %d rules",
			   SONDE_MAL_RULES_MAX);
	for (; item < end; item++) {
		int r = load_rule(l, mal_yaml_node(&l->yaml, *item));

		if (r == -EBADMSG)
			l->bad++;
		else if (r < 0)
			return r;
	}
	return 0;
}

/* --- from a metric to the rules that read it --- */

static int make_index(struct sonde_mal_rules *rules)
{
	struct mal_string *strings = rules->program.strings.v;
	size_t n = 0;

	for (size_t i = 0; i < rules->n; i++) {
		for (size_t s = 0; s < rules->v[i]->is.n_sources; s++)
			if (!strings[rules->v[i]->sources[s]].tag)
				strings[rules->v[i]->sources[s]].tag = (uint32_t)++n;
	}
	rules->readers = mal_arena_zalloc(&rules->program.arena, (n + 1) * sizeof(*rules->readers));
	if (!rules->readers)
		return -ENOMEM;
	rules->n_readers = n;
	for (size_t i = 0; i < rules->n; i++)
		for (size_t s = 0; s < rules->v[i]->is.n_sources; s++)
			rules->readers[strings[rules->v[i]->sources[s]].tag - 1].n++;
	for (size_t k = 0; k < n; k++) {
		rules->readers[k].rules = mal_arena_array(&rules->program.arena,
							  rules->readers[k].n, sizeof(uint32_t));
		if (!rules->readers[k].rules)
			return -ENOMEM;
		rules->readers[k].n = 0;
	}
	for (size_t i = 0; i < rules->n; i++) {
		for (size_t s = 0; s < rules->v[i]->is.n_sources; s++) {
			struct mal_readers *r =
				&rules->readers[strings[rules->v[i]->sources[s]].tag - 1];

			r->rules[r->n++] = (uint32_t)i;
		}
	}
	return 0;
}

static int load(struct loader *l)
{
	yaml_node_t *root = mal_yaml_root(&l->yaml);
	int r;

	if (!root || is_null(root)) /* an empty file is no error in OAP */
		return 0;
	r = read_file_keys(l, root);
	if (r >= 0)
		r = read_layers(l);
	if (r >= 0)
		r = parse_chain(l, l->exp_prefix, "expPrefix", &l->rules->prefix,
				&l->rules->prefix_text);
	if (r >= 0)
		r = parse_chain(l, l->exp_suffix, "expSuffix", &l->rules->suffix,
				&l->rules->suffix_text);
	if (r >= 0)
		r = parse_filter(l);
	if (r >= 0)
		r = load_list(l);
	if (r < 0)
		return r;
	lint_interference(l);
	l->rules->prefix_is_pure = l->rules->prefix && is_pure(l->rules->prefix);
	return make_index(l->rules);
}

int sonde_mal_rules_load(const char *file, const char *text, size_t len,
			 struct sonde_mal_report report, struct sonde_mal_rules **ret)
{
	_cleanup_(sonde_mal_rules_freep) struct sonde_mal_rules *rules = NULL;
	struct loader l = {.report = report};
	struct mal_place place = {1, 1};
	char message[200] = "";
	int r;

	assert(file && (text || len == 0) && ret);

	if (len > SONDE_MAL_FILE_BYTES)
		return -EFBIG;
	rules = calloc(1, sizeof(*rules));
	if (!rules)
		return -ENOMEM;
	rules->file = strdup(file);
	r = mal_program_init(&rules->program);
	if (r < 0 || !rules->file)
		return -ENOMEM;
	l.rules = rules;
	r = mal_yaml_load(&l.yaml, text ? text : "", len, &place, message, sizeof(message));
	if (r == -EBADMSG)
		return say(&l, place, NULL, "%s", message);
	if (r >= 0)
		r = load(&l);
	mal_yaml_done(&l.yaml);
	free(l.counters);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(rules);
	return l.bad;
}

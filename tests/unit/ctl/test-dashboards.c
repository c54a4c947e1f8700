/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dashboards of deploy/skywalking against the rule files of mal/: every metric that is asked for exists and has the
 * labels that are asked of it, in expressions of the forms that an OAP 10.1.0 takes; and no metric of ours is in none.
 */
#include "sonde-test.h"

#include <ctype.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/file.h"
#include "ctl/template.h"
#include "mal/rules.h"

#define FILES_MAX 8
#define GRID_COLUMNS 24
#define GRID_ROWS_MAX 512
#define HORIZON_ROWS_MAX 40 /* asked in one query, of which an OAP takes some sixty */

static struct sonde_mal_rules *rules[FILES_MAX];
static size_t n_rules;
static const char *shown[SONDE_MAL_RULES_MAX]; /* metrics that some expression asks for */
static size_t n_shown;

static int load_rules(void **state)
{
	static const char *const files[] = {"network-profiling", "sonde-network",
					    "sonde-network-latest"};

	for (size_t i = 0; i < ELEMENTS_OF(files); i++) {
		_cleanup_buf_ struct sonde_buf text = SONDE_BUF_INIT(SONDE_MAL_FILE_BYTES);
		char path[512];

		(void)snprintf(path, sizeof(path), "%s/mal/%s.yaml", SOURCE_DIR, files[i]);
		assert_ok(sonde_file_read(path, false, &text));
		assert_ok(sonde_mal_rules_load(path, sonde_buf_str(&text), text.len,
					       (struct sonde_mal_report){0}, &rules[n_rules]));
		n_rules++;
	}
	return 0;
}

static int free_rules(void **state)
{
	while (n_rules > 0)
		sonde_mal_rules_free(rules[--n_rules]);
	return 0;
}

static const struct sonde_mal_rule *find_rule(const char *metric)
{
	for (size_t i = 0; i < n_rules; i++) {
		const struct sonde_mal_rule *rule = sonde_mal_rules_find(rules[i], metric);

		if (rule)
			return rule;
	}
	return NULL;
}

/* --- the forms of expressions --- */

struct parse {
	const char *whole, *at;
};

static void wrong(const struct parse *p, const char *words)
{
	fail_msg("%s: at '%s': %s", p->whole, p->at, words);
}

static bool eat(struct parse *p, const char *text)
{
	size_t n = strlen(text);

	if (strncmp(p->at, text, n) != 0)
		return false;
	p->at += n;
	return true;
}

static void want(struct parse *p, const char *text)
{
	if (!eat(p, text))
		wrong(p, text);
}

static void word(struct parse *p, char *ret, size_t size)
{
	size_t n = 0;

	while ((isalnum((unsigned char)*p->at) || *p->at == '_') && n + 1 < size)
		ret[n++] = *p->at++;
	ret[n] = '\0';
	if (n == 0)
		wrong(p, "expected a name");
}

static bool keeps_label(const struct sonde_mal_rule *rule, const char *label)
{
	if (rule->function.kind == SONDE_MAL_HISTOGRAM_PERCENTILE && strcmp(label, "p") == 0)
		return true;
	for (size_t i = 0; i < rule->n_labels; i++) {
		if (strcmp(rule->labels[i], label) == 0)
			return true;
	}
	return false;
}

/* "NAME{role='client',p='50'}": what it names exists, and one of ours says which end. */
static const struct sonde_mal_rule *metric(struct parse *p)
{
	const struct sonde_mal_rule *rule;
	char name[128], label[64], value[64];
	bool role = false;

	word(p, name, sizeof(name));
	rule = find_rule(name);
	if (!rule) {
		wrong(p, "no such metric in mal/");
		return NULL;
	}
	shown[n_shown++ % ELEMENTS_OF(shown)] = rule->metric;
	if (eat(p, "{")) {
		do {
			word(p, label, sizeof(label));
			want(p, "='");
			word(p, value, sizeof(value));
			want(p, "'");
			if (!keeps_label(rule, label))
				wrong(p, "the metric has no such label");
			role = role || strcmp(label, "role") == 0;
		} while (eat(p, ","));
		want(p, "}");
	}
	if (keeps_label(rule, "role") && !role)
		wrong(p, "both ends would be added up");
	return rule;
}

/* "aggregate_labels(METRIC,sum)", "aggregate_labels(METRIC,sum(kind,reason))" */
static void aggregate(struct parse *p, bool *ret_one)
{
	const struct sonde_mal_rule *rule = metric(p);
	char label[64];
	bool sum;

	want(p, ",");
	sum = eat(p, "sum");
	if (!sum)
		want(p, "max");
	if (sum != (rule->function.kind == SONDE_MAL_LABELED &&
		    rule->function.downsampling == SONDE_MAL_SUM))
		wrong(p, "counters are added, and nothing else is");
	*ret_one = !eat(p, "(");
	if (!*ret_one) {
		do {
			word(p, label, sizeof(label));
			if (!keeps_label(rule, label))
				wrong(p, "the metric has no such label");
		} while (eat(p, ","));
		want(p, ")");
	}
	want(p, ")");
}

/* *@ret_one: one series at most comes of it, whatever labels there are. */
static void term(struct parse *p, bool *ret_one)
{
	if (eat(p, "aggregate_labels(")) {
		aggregate(p, ret_one);
		return;
	}
	*ret_one = metric(p)->function.kind == SONDE_MAL_SINGLE;
}

/* TERM, TERM/NUMBER, TERM/TERM, TERM/TERM/NUMBER */
static bool gives_one_series(const char *expression)
{
	struct parse p = {expression, expression};
	bool one, other = true;

	term(&p, &one);
	if (*p.at == '/' && !isdigit((unsigned char)p.at[1])) {
		p.at++;
		term(&p, &other);
		if (!one || !other)
			wrong(&p, "a ratio of several series");
	}
	if (eat(&p, "/")) {
		if (!isdigit((unsigned char)*p.at))
			wrong(&p, "expected a number");
		while (isdigit((unsigned char)*p.at))
			p.at++;
	}
	if (*p.at)
		wrong(&p, "expected the end");
	return one;
}

/* "is_present(NAME,NAME)" */
static void check_condition(const char *expression)
{
	struct parse p = {expression, expression};
	char name[128];

	want(&p, "is_present(");
	do {
		word(&p, name, sizeof(name));
		if (!find_rule(name))
			wrong(&p, "no such metric in mal/");
	} while (eat(&p, ","));
	want(&p, ")");
	assert_string_equal(p.at, "");
}

/* --- Booster UI --- */

static void load_booster(struct sonde_templates *t)
{
	_cleanup_free_ char *error = NULL;

	if (sonde_templates_load(t, SOURCE_DIR "/deploy/skywalking/booster", "GENERAL", &error) < 0)
		fail_msg("%s", error ? error : "no dashboards");
}

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

static bool has_template(const struct sonde_templates *t, const char *name, const char *entity)
{
	for (size_t i = 0; i < t->n; i++) {
		if (strcmp(t->items[i].name, name) == 0)
			return strcmp(t->items[i].entity, entity) == 0;
	}
	return false;
}

/* A widget draws its several expressions under their labels only where each gives one series. */
static void check_widget(const json_t *widget)
{
	const json_t *expressions = json_object_get(widget, "expressions");
	const char *title = text_of(json_object_get(widget, "widget"), "title");
	size_t n = json_array_size(expressions);
	const json_t *one;
	size_t i;

	if (n == 0)
		return;
	if (n != json_array_size(json_object_get(widget, "metricConfig")))
		fail_msg("%s: not as many labels as expressions", title);
	json_array_foreach(expressions, i, one)
	{
		if (!gives_one_series(json_string_value(one)) && n > 1)
			fail_msg("%s: %s would be mixed up with the others", title,
				 json_string_value(one));
	}
}

static void check_links(const struct sonde_templates *t, const json_t *widget)
{
	static const struct {
		const char *type, *entity;
	} lists[] = {{"ServiceList", "Service"}, {"InstanceList", "ServiceInstance"}};
	const json_t *graph = json_object_get(widget, "graph");

	if (strcmp(text_of(widget, "type"), "NetworkProfiling") == 0)
		assert_true(has_template(t, text_of(widget, "linkDashboard"), "ProcessRelation"));
	for (size_t i = 0; i < ELEMENTS_OF(lists); i++) {
		if (strcmp(text_of(graph, "type"), lists[i].type) == 0)
			assert_true(
				has_template(t, text_of(graph, "dashboardName"), lists[i].entity));
	}
}

static void check_children(const struct sonde_templates *t, const json_t *children)
{
	static bool taken[GRID_ROWS_MAX][GRID_COLUMNS];
	const json_t *widget, *tab;
	char number[24];
	size_t n, m;

	memset(taken, 0, sizeof(taken));
	json_array_foreach(children, n, widget)
	{
		json_int_t x = json_integer_value(json_object_get(widget, "x"));
		json_int_t y = json_integer_value(json_object_get(widget, "y"));
		json_int_t w = json_integer_value(json_object_get(widget, "w"));
		json_int_t h = json_integer_value(json_object_get(widget, "h"));

		assert_true(x >= 0 && w > 0 && x + w <= GRID_COLUMNS);
		assert_true(y >= 0 && h > 0 && y + h <= GRID_ROWS_MAX);
		for (json_int_t i = 0; i < w * h; i++) {
			assert_false(taken[y + i / w][x + i % w]);
			taken[y + i / w][x + i % w] = true;
		}
		(void)snprintf(number, sizeof(number), "%zu", n);
		assert_string_equal(text_of(widget, "i"), number);
		check_widget(widget);
		check_links(t, widget);
	}
	json_array_foreach(children, n, widget)
	{
		json_array_foreach(json_object_get(widget, "children"), m, tab)
		{
			if (json_object_get(tab, "expression"))
				check_condition(text_of(tab, "expression"));
			check_children(t, json_object_get(tab, "children"));
		}
	}
}

static void every_widget_asks_for_what_the_rules_give(void **state)
{
	_cleanup_templates_ struct sonde_templates t = SONDE_TEMPLATES_INIT;

	n_shown = 0;
	load_booster(&t);
	assert_int_equal(t.n, 4);
	for (size_t i = 0; i < t.n; i++) {
		/* an operator's own pages stay what a click leads to */
		assert_true(json_is_false(json_object_get(t.items[i].configuration, "isRoot")));
		assert_true(json_is_false(json_object_get(t.items[i].configuration, "isDefault")));
		check_children(&t, json_object_get(t.items[i].configuration, "children"));
	}
}

/* Of the SkyWalking set http1_* is not there: it is sent by nobody yet. */
static void every_metric_is_on_a_page(void **state)
{
	_cleanup_templates_ struct sonde_templates t = SONDE_TEMPLATES_INIT;

	n_shown = 0;
	load_booster(&t);
	for (size_t i = 0; i < t.n; i++)
		check_children(&t, json_object_get(t.items[i].configuration, "children"));
	for (size_t f = 0; f < n_rules; f++) {
		for (size_t i = 0; i < sonde_mal_rules_count(rules[f]); i++) {
			const char *name = sonde_mal_rules_get(rules[f], i)->metric;
			bool found = strncmp(name, "process_relation_http1_", 23) == 0;

			for (size_t s = 0; !found && s < n_shown && s < ELEMENTS_OF(shown); s++)
				found = strcmp(shown[s], name) == 0;
			if (!found)
				fail_msg("%s is on no page", name);
		}
	}
}

/* --- Horizon UI --- */

/* It takes the first series of an answer, without its labels, and asks for both ends at once. */
static void every_row_of_horizon_is_one_series(void **state)
{
	static const char *const ends[] = {"edgeClientMetrics", "edgeServerMetrics"};
	_cleanup_buf_ struct sonde_buf text = SONDE_BUF_INIT(1U << 20);
	json_auto_t *root = NULL;
	const json_t *block;
	size_t rows = 0;

	assert_ok(sonde_file_read(SOURCE_DIR "/deploy/skywalking/horizon/process-topology.json",
				  false, &text));
	root = json_loadb(sonde_buf_str(&text), text.len, JSON_REJECT_DUPLICATES, NULL);
	block = json_object_get(root, "processTopology");
	for (size_t e = 0; e < ELEMENTS_OF(ends); e++) {
		const json_t *row, *list = json_object_get(block, ends[e]);
		size_t i;

		assert_true(json_array_size(list) > 0);
		json_array_foreach(list, i, row)
		{
			assert_true(gives_one_series(text_of(row, "mqe")));
			assert_true(*text_of(row, "id") && *text_of(row, "label"));
			rows++;
		}
	}
	assert_true(rows <= HORIZON_ROWS_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_widget_asks_for_what_the_rules_give),
		cmocka_unit_test(every_metric_is_on_a_page),
		cmocka_unit_test(every_row_of_horizon_is_one_series),
	};

	return cmocka_run_group_tests(tests, load_rules, free_rules);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* sonde mal eval FILE --input SAMPLES: what a rule file makes of samples, and how */
#include <errno.h>
#include <string.h>

#include <jansson.h>

#include "config/yaml.h"
#include "ctl/mal.h"
#include "ctl/output.h"
#include "ctl/view.h"
#include "mal/rules.h"
#include "mal/run.h"
#include "mal/vector.h"

#define INPUT_BYTES_MAX (64U << 20)
#define NAME_BYTES_MAX 8192

struct eval {
	struct sonde_cli *cli;
	const char *only; /* rule or metric; NULL: all */
	bool explain;
	size_t scrape, n_scrapes;
	json_t *rows;		   /* owned; of -o json */
	json_t *steps;		   /* owned; of -o json */
	struct sonde_table *table; /* owned */
	size_t emitted, failed, errors;
	char told[256]; /* the rule that was last explained */
	bool no_memory;
};

static bool is_wanted(const struct eval *e, const struct sonde_mal_rule *rule)
{
	size_t n = strlen(rule->metric), k = e->only ? strlen(e->only) : 0;

	if (!e->only || strcmp(rule->metric, e->only) == 0)
		return true;
	return n > k && rule->metric[n - k - 1] == '_' &&
	       strcmp(rule->metric + n - k, e->only) == 0;
}

/* --- names --- */

/* "service instance", "a/b -> c/d (server)": for people; JSON has the fields. */
static void name_entity(const struct sonde_mal_entity *x, char *buf, size_t size)
{
	const char *const parts[] = {x->service, x->instance, x->endpoint, x->process};
	size_t n = 0;

	buf[0] = 0;
	for (size_t i = 0; i < ELEMENTS_OF(parts); i++)
		if (parts[i][0] && n < size)
			n += (size_t)snprintf(buf + n, size - n, "%s%s", n ? " / " : "", parts[i]);
	if (x->scope < SONDE_MAL_SCOPE_SERVICE_RELATION || n >= size)
		return;
	(void)snprintf(buf + n, size - n, "%s%s%s%.12s -> %s%s%.12s (%s)", n ? ": " : "",
		       x->source_service, x->source_instance[0] ? "/" : "",
		       x->source_instance[0] ? x->source_instance : x->source_process,
		       x->dest_service, x->dest_instance[0] ? "/" : "",
		       x->dest_instance[0] ? x->dest_instance : x->dest_process,
		       x->side == SONDE_MAL_SERVER ? "server" : "client");
}

/* --- what comes out --- */

static void add_rows(struct eval *e, const struct sonde_mal_emission *m)
{
	char entity[NAME_BYTES_MAX], function[48];

	name_entity(m->entity, entity, sizeof(entity));
	sonde_mal_function_name(&m->rule->function, function);
	for (size_t i = 0; i < m->n_points; i++) {
		const struct sonde_mal_point *p = &m->points[i];

		sonde_table_addf(e->table, "%zu", e->scrape);
		sonde_table_add(e->table, m->rule->metric);
		sonde_table_add(e->table, sonde_mal_scope_name(m->entity->scope));
		sonde_table_add(e->table, entity);
		sonde_table_add(e->table, p->key[0] ? p->key : NULL);
		if (m->rule->function.kind >= SONDE_MAL_HISTOGRAM)
			sonde_table_addf(e->table, "%lld", (long long)p->bucket);
		else
			sonde_table_add(e->table, NULL);
		sonde_table_addf(e->table, "%lld", (long long)p->value);
		sonde_table_add(e->table, function);
	}
}

static json_t *entity_json(const struct sonde_mal_entity *x)
{
	static const char *const sides[] = {"CLIENT", "SERVER", "PROXY"};
	bool relation = x->scope >= SONDE_MAL_SCOPE_SERVICE_RELATION;
	const struct {
		const char *key, *value;
	} texts[] = {
		{"scope", sonde_mal_scope_name(x->scope)},
		{"service", x->service},
		{"instance", x->instance},
		{"endpoint", x->endpoint},
		{"process", x->process},
		{"source_service", x->source_service},
		{"source_instance", x->source_instance},
		{"source_process", x->source_process},
		{"dest_service", x->dest_service},
		{"dest_instance", x->dest_instance},
		{"dest_process", x->dest_process},
		{"layer", x->layer},
		{"side", relation ? sides[x->side] : ""},
	};
	json_t *out = json_object();

	for (size_t i = 0; i < ELEMENTS_OF(texts); i++)
		if (texts[i].value[0])
			(void)json_object_set_new(out, texts[i].key, json_string(texts[i].value));
	if (relation)
		(void)json_object_set_new(out, "component", json_integer(x->component));
	return out;
}

static void keep_rows(struct eval *e, const struct sonde_mal_emission *m)
{
	char function[48];
	json_t *points = json_array(), *one;

	sonde_mal_function_name(&m->rule->function, function);
	for (size_t i = 0; i < m->n_points; i++) {
		const struct sonde_mal_point *p = &m->points[i];

		one = json_pack("{s:s, s:I}", "key", p->key, "value", (json_int_t)p->value);
		if (one && m->rule->function.kind >= SONDE_MAL_HISTOGRAM)
			(void)json_object_set_new(one, "bucket", json_integer(p->bucket));
		e->no_memory |= json_array_append_new(points, one) < 0;
	}
	one = json_pack("{s:I, s:s, s:s, s:I, s:o, s:o}", "scrape", (json_int_t)e->scrape, "metric",
			m->rule->metric, "function", function, "timestamp_ms", (json_int_t)m->ts_ms,
			"entity", entity_json(m->entity), "points", points);
	e->no_memory |= json_array_append_new(e->rows, one) < 0;
}

static int on_emit(void *ctx, const struct sonde_mal_emission *m)
{
	struct eval *e = ctx;

	if (!is_wanted(e, m->rule))
		return 0;
	e->emitted++;
	if (e->rows)
		keep_rows(e, m);
	else
		add_rows(e, m);
	return 0;
}

static void on_failed(void *ctx, const struct sonde_mal_rule *rule, const char *message)
{
	struct eval *e = ctx;

	if (!is_wanted(e, rule))
		return;
	e->failed++;
	(void)sonde_cli_fail(e->cli, 0, "scrape %zu: %s: %s", e->scrape, rule->metric, message);
}

/* --- the explainer --- */

static void print_text(struct eval *e, const char *text, size_t len)
{
	_cleanup_buf_ struct sonde_buf safe = SONDE_BUF_INIT(1UL << 20);

	if (sonde_term_escape(text, len, &safe) == 0)
		(void)fputs(sonde_buf_str(&safe), e->cli->out);
}

/* A call as one line, whatever lines it is written in. */
static void print_call(struct eval *e, const char *text, size_t len)
{
	size_t from = 0, n;

	while (from < len) {
		for (n = 0; from + n < len && !strchr(" \t\r\n", text[from + n]);)
			n++;
		print_text(e, text + from, n);
		from += n;
		if (from < len)
			(void)fputc(' ', e->cli->out);
		while (from < len && strchr(" \t\r\n", text[from]))
			from++;
	}
}

static void print_sample(struct eval *e, const struct sonde_mal_sample *s)
{
	char value[SONDE_MAL_DOUBLE_SIZE];

	(void)fputs("      {", e->cli->out);
	for (size_t i = 0; i < s->n_labels; i++) {
		(void)fputs(i ? ", " : "", e->cli->out);
		print_text(e, s->labels[i].key, strlen(s->labels[i].key));
		(void)fputs("=", e->cli->out);
		print_text(e, s->labels[i].value, strlen(s->labels[i].value));
	}
	sonde_mal_double_text(s->value, value);
	(void)fprintf(e->cli->out, "} %s\n", value);
}

static void print_step(struct eval *e, const struct sonde_mal_step *s)
{
	if (strcmp(e->told, s->rule->metric) != 0) {
		char heading[400];

		(void)snprintf(heading, sizeof(heading), "scrape %zu: %s", e->scrape,
			       s->rule->metric);
		sonde_view_heading(e->cli, heading);
		e->cli->headed = true;
		(void)snprintf(e->told, sizeof(e->told), "%s", s->rule->metric);
	}
	(void)fprintf(e->cli->out, "  %-9s ", s->part);
	print_call(e, s->text, s->len);
	if (s->n_samples == 0)
		(void)fputs("  -> EMPTY", e->cli->out);
	if (s->n_entities > 0)
		(void)fprintf(e->cli->out, "  -> %zu %s", s->n_entities,
			      s->n_entities == 1 ? "entity" : "entities");
	(void)fputc('\n', e->cli->out);
	for (size_t i = 0; i < s->n_samples; i++)
		print_sample(e, &s->samples[i]);
}

static void keep_step(struct eval *e, const struct sonde_mal_step *s)
{
	json_t *samples = json_array(), *one;
	char value[SONDE_MAL_DOUBLE_SIZE];

	for (size_t i = 0; i < s->n_samples; i++) {
		json_t *labels = json_object();

		for (size_t k = 0; k < s->samples[i].n_labels; k++)
			(void)json_object_set_new(labels, s->samples[i].labels[k].key,
						  json_string(s->samples[i].labels[k].value));
		sonde_mal_double_text(s->samples[i].value, value);
		one = json_pack("{s:o, s:s, s:I, s:s}", "l", labels, "v", value, "t",
				(json_int_t)s->samples[i].ts_ms, "n", s->samples[i].name);
		e->no_memory |= json_array_append_new(samples, one) < 0;
	}
	one = json_pack("{s:I, s:s, s:s, s:s%, s:I, s:o}", "scrape", (json_int_t)e->scrape,
			"metric", s->rule->metric, "part", s->part, "text", s->text, s->len,
			"entities", (json_int_t)s->n_entities, "samples", samples);
	e->no_memory |= json_array_append_new(e->steps, one) < 0;
}

static void on_step(void *ctx, const struct sonde_mal_step *s)
{
	struct eval *e = ctx;

	if (!is_wanted(e, s->rule))
		return;
	if (e->steps)
		keep_step(e, s);
	else
		print_step(e, s);
}

/* --- files --- */

static void on_found(void *ctx, const struct sonde_mal_diagnostic *d)
{
	struct eval *e = ctx;

	e->errors++;
	(void)sonde_cli_fail(e->cli, 0, "%s:%u:%u: %s", d->file, d->line, d->column, d->message);
}

static int read_file(struct eval *e, const char *path, size_t max, char **ret, size_t *ret_len)
{
	int r = sonde_yaml_read_file(strcmp(path, "-") == 0 ? "/dev/stdin" : path, max, ret,
				     ret_len);

	if (r < 0)
		return sonde_cli_fail(e->cli, SONDE_CLI_USAGE, "%s: %s", path, strerror(-r));
	return 0;
}

static int load_rules(struct eval *e, const char *path, struct sonde_mal_rules **ret)
{
	_cleanup_free_ char *text = NULL;
	size_t len = 0;
	int status = read_file(e, path, SONDE_MAL_FILE_BYTES, &text, &len), r;

	if (status != 0)
		return status;
	r = sonde_mal_rules_load(path, text, len, (struct sonde_mal_report){on_found, e, 0, 0},
				 ret);
	if (r == -ENOMEM)
		return sonde_cli_broken(e->cli, r);
	return r < 0 ? SONDE_CLI_NO : 0;
}

/* One scrape, or a list of them. */
static int load_input(struct eval *e, const char *path, json_t **ret)
{
	_cleanup_free_ char *text = NULL;
	json_error_t error;
	size_t len = 0;
	json_t *in;
	int status = read_file(e, path, INPUT_BYTES_MAX, &text, &len);

	if (status != 0)
		return status;
	in = json_loadb(text, len, 0, &error);
	if (!in)
		return sonde_cli_fail(e->cli, SONDE_CLI_USAGE, "%s:%d:%d: expected JSON: %s", path,
				      error.line, error.column, error.text);
	if (json_is_object(in)) {
		*ret = json_pack("[o]", in);
		return *ret ? 0 : sonde_cli_broken(e->cli, -ENOMEM);
	}
	*ret = in;
	return 0;
}

/* --- the run --- */

static int run_scrape(struct eval *e, struct sonde_mal_engine *engine,
		      const struct sonde_mal_rules *rules, struct sonde_mal_batch *batch,
		      const json_t *scrape)
{
	const struct sonde_mal_sink sink = {on_emit, on_failed, e, e->explain ? on_step : NULL};
	bool seconds = sonde_cli_flag(e->cli, "seconds");
	const char *why = "";
	int r;

	e->told[0] = 0;
	r = sonde_mal_scrape_read(batch, scrape, &why);
	if (r < 0)
		return sonde_cli_fail(e->cli, SONDE_CLI_USAGE, "scrape %zu: %s", e->scrape, why);
	r = sonde_mal_engine_run(engine, rules, batch,
				 seconds ? SONDE_MAL_SECONDS : SONDE_MAL_MILLISECONDS, &sink, NULL);
	if (r < 0 || e->no_memory)
		return sonde_cli_broken(e->cli, -ENOMEM);
	return 0;
}

static int run_all(struct eval *e, const struct sonde_mal_rules *rules, const json_t *scrapes)
{
	_cleanup_(sonde_mal_engine_freep) struct sonde_mal_engine *engine = NULL;
	_cleanup_(sonde_mal_batch_freep) struct sonde_mal_batch *batch = NULL;
	int status = 0;

	if (sonde_mal_engine_new(NULL, &engine) < 0 || sonde_mal_batch_new(&batch) < 0)
		return sonde_cli_broken(e->cli, -ENOMEM);
	sonde_mal_engine_set_strict(engine, sonde_cli_flag(e->cli, "strict"));
	e->n_scrapes = json_array_size(scrapes);
	for (size_t i = 0; i < e->n_scrapes && status == 0; i++) {
		e->scrape = i + 1;
		status = run_scrape(e, engine, rules, batch, json_array_get(scrapes, i));
	}
	return status;
}

static int print_json(struct eval *e)
{
	json_t *all =
		json_pack("{s:O, s:I}", "emissions", e->rows, "failed", (json_int_t)e->failed);
	int r = all ? 0 : -1, status;

	if (all && e->steps)
		r = json_object_set(all, "steps", e->steps);
	status = r < 0 ? sonde_cli_broken(e->cli, -ENOMEM) : sonde_cli_print_value(e->cli, all);
	json_decref(all);
	return status;
}

static int eval_files(struct eval *e, const char *rules_path, const char *input)
{
	_cleanup_(sonde_mal_rules_freep) struct sonde_mal_rules *rules = NULL;
	json_t *scrapes = NULL;
	int status = load_rules(e, rules_path, &rules);

	if (status == 0)
		status = load_input(e, input, &scrapes);
	if (status == 0)
		status = run_all(e, rules, scrapes);
	json_decref(scrapes);
	if (status == 0 && e->rows)
		status = print_json(e);
	else if (status == 0 && e->emitted > 0) {
		if (e->explain)
			sonde_view_heading(e->cli, "emitted");
		status = sonde_view_table(e->cli, e->table);
	}
	if (status != 0)
		return status;
	if (!e->rows && e->emitted == 0)
		sonde_cli_note(
			e->cli,
			"nothing is emitted: no rule reads these metrics, or all gave EMPTY");
	return e->errors > 0 || e->failed > 0 ? SONDE_CLI_NO : SONDE_CLI_OK;
}

int sonde_cli_mal_eval_file(struct sonde_cli *cli, const char *input)
{
	static const struct sonde_column columns[] = {
		{"SCRAPE", true, false}, {"METRIC", false, true},     {"SCOPE", false, false},
		{"ENTITY", false, true}, {"LABELS", false, true},     {"BUCKET", true, false},
		{"VALUE", true, false},	 {"STORED AS", false, false}, {0}};
	struct eval e = {.cli = cli,
			 .only = sonde_cli_flag(cli, "rule"),
			 .explain = sonde_cli_flag(cli, "explain")};
	int status;

	if (sonde_cli_output(cli) == SONDE_CLI_JSON) {
		e.rows = json_array();
		e.steps = e.explain ? json_array() : NULL;
		if (!e.rows || (e.explain && !e.steps))
			e.no_memory = true;
	} else if (sonde_table_new(columns, &e.table) < 0) {
		e.no_memory = true;
	}
	status = e.no_memory ? sonde_cli_broken(cli, -ENOMEM)
			     : eval_files(&e, cli->operands[0], input);
	json_decref(e.rows);
	json_decref(e.steps);
	sonde_table_free(e.table);
	return status;
}

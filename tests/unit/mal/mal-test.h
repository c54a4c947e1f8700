/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the tests of the engine share: loading rules, filling a batch, and a sink that writes what it gets as text. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "mal/rules.h"
#include "mal/run.h"
#include "mal/sample.h"

#include "sonde-test.h"

#define TEST_TEXT_BYTES (8U << 20)

/* The findings, one a line: "12:34 rule: message". */
static inline void test_found(void *ctx, const struct sonde_mal_diagnostic *d)
{
	assert_ok(sonde_buf_printf(ctx, "%u:%u %s: %s\n", d->line, d->column,
				   d->rule ? d->rule : "-", d->message));
}

static inline struct sonde_mal_rules *test_rules(const char *text)
{
	_cleanup_buf_ struct sonde_buf found = SONDE_BUF_INIT(TEST_TEXT_BYTES);
	struct sonde_mal_rules *rules = NULL;
	int r = sonde_mal_rules_load("test.yaml", text, strlen(text),
				     (struct sonde_mal_report){test_found, &found}, &rules);

	if (r != 0)
		print_message("%s", sonde_buf_str(&found));
	assert_ok(r);
	return rules;
}

/* NULL: not there. */
static inline char *test_read(const char *path)
{
	_cleanup_buf_ struct sonde_buf b = SONDE_BUF_INIT(TEST_TEXT_BYTES);
	FILE *f = fopen(path, "re");
	char part[4096];
	size_t n;

	if (!f)
		return NULL;
	while ((n = fread(part, 1, sizeof(part), f)) > 0)
		assert_ok(sonde_buf_append(&b, part, n));
	(void)fclose(f);
	return strdup(sonde_buf_str(&b));
}

/* "a=1,b=2" as labels of one sample. */
static inline void test_add(struct sonde_mal_batch *b, const char *name, const char *labels,
			    double value, int64_t ts_ms)
{
	struct sonde_mal_label v[SONDE_MAL_LABELS_MAX];
	struct sonde_mal_sample s = {name, v, 0, value, ts_ms};
	_cleanup_free_ char *text = strdup(labels);
	char *save = NULL;

	assert_non_null(text);
	for (char *p = strtok_r(text, ",", &save); p; p = strtok_r(NULL, ",", &save)) {
		char *equals = strchr(p, '=');

		assert_non_null(equals);
		*equals = 0;
		v[s.n_labels++] = (struct sonde_mal_label){p, equals + 1};
	}
	assert_ok(sonde_mal_batch_add(b, &s));
}

/* --- a sink that writes lines --- */

static inline int test_emit(void *ctx, const struct sonde_mal_emission *e)
{
	struct sonde_buf *out = ctx;
	const struct sonde_mal_entity *x = e->entity;

	assert_ok(sonde_buf_printf(out, "%s %s", e->rule->metric, sonde_mal_scope_name(x->scope)));
	if (x->service[0])
		assert_ok(sonde_buf_printf(out, " %s", x->service));
	if (x->instance[0])
		assert_ok(sonde_buf_printf(out, "/%s", x->instance));
	if (x->endpoint[0])
		assert_ok(sonde_buf_printf(out, "#%s", x->endpoint));
	if (x->process[0])
		assert_ok(sonde_buf_printf(out, "!%s", x->process));
	if (x->source_service[0])
		assert_ok(sonde_buf_printf(out, " %s/%s>%s/%s", x->source_service,
					   x->source_instance, x->dest_service, x->dest_instance));
	if (x->source_process[0])
		assert_ok(sonde_buf_printf(out, " %.8s>%.8s", x->source_process, x->dest_process));
	assert_ok(sonde_buf_printf(out, " %d.%d", (int)x->side, x->component));
	for (size_t i = 0; i < e->n_points; i++)
		assert_ok(sonde_buf_printf(out, " %s%lld=%lld", e->points[i].key,
					   (long long)e->points[i].bucket,
					   (long long)e->points[i].value));
	assert_ok(sonde_buf_printf(out, "\n"));
	return 0;
}

static inline void test_failed(void *ctx, const struct sonde_mal_rule *rule, const char *message)
{
	assert_ok(sonde_buf_printf(ctx, "%s failed: %s\n", rule->metric, message));
}

static inline void test_run(const struct sonde_mal_host *host, const struct sonde_mal_rules *rules,
			    struct sonde_mal_batch *b, struct sonde_buf *out)
{
	_cleanup_(sonde_mal_engine_freep) struct sonde_mal_engine *e = NULL;
	struct sonde_mal_sink sink = {test_emit, test_failed, out};

	assert_ok(sonde_mal_engine_new(host, &e));
	assert_ok(sonde_mal_engine_run(e, rules, b, SONDE_MAL_MILLISECONDS, &sink, NULL));
}

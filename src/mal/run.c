/* SPDX-License-Identifier: Apache-2.0 */
#include "mal/run.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "mal/emit.h"
#include "mal/eval.h"
#include "mal/explain.h"
#include "mal/rules-private.h"

struct sonde_mal_engine {
	struct mal_eval eval;
	struct mal_window *window; /* owned */
	struct sonde_mal_host host;
};

/* One family of the batch behind the file's filter and prefix. */
struct prepared {
	bool filtered, prefixed;
	bool filter_failed;
	struct mal_family after_filter, after_prefix;
};

struct run {
	struct sonde_mal_engine *engine;
	const struct sonde_mal_rules *rules;
	struct sonde_mal_batch *batch;
	const struct sonde_mal_sink *sink;
	struct sonde_mal_run_stats *stats;
	struct prepared *prepared
		[2]; /* by source; [1]: for rules on which the filter failed, so that it is not used */
	bool unfiltered;
	struct mal_memo kept; /* by set: 1 + what the filter says */
	struct mal_explain explain;
};

int sonde_mal_engine_new(const struct sonde_mal_host *host, struct sonde_mal_engine **ret)
{
	_cleanup_(sonde_mal_engine_freep) struct sonde_mal_engine *e = NULL;
	int r;

	assert(ret);

	e = calloc(1, sizeof(*e));
	if (!e)
		return -ENOMEM;
	if (host)
		e->host = *host;
	r = mal_eval_init(&e->eval);
	if (r >= 0)
		r = mal_window_new(&e->window);
	if (r < 0)
		return r;
	e->eval.host = &e->host;
	e->eval.window = e->window;
	e->eval.cut_names = true;
	e->eval.need_address = true;
	*ret = TAKE_PTR(e);
	return 0;
}

struct sonde_mal_engine *sonde_mal_engine_free(struct sonde_mal_engine *e)
{
	if (!e)
		return NULL;
	mal_eval_done(&e->eval);
	mal_window_free(e->window);
	free(e);
	return NULL;
}

void sonde_mal_engine_set_strict(struct sonde_mal_engine *e, bool strict)
{
	assert(e);

	if (e->eval.strict != strict)
		mal_window_clear(e->window);
	e->eval.strict = strict;
}

void sonde_mal_engine_forget(struct sonde_mal_engine *e)
{
	mal_window_clear(e->window);
}

/* --- filter and prefix, once a (file, metric) --- */

static struct prepared *prepared_of(const struct run *run, uint32_t source)
{
	return &run->prepared[run->unfiltered][run->rules->program.strings.v[source].tag - 1];
}

/* 1: keep. -EINVAL: the filter fails on it. The filter sees labels only, so it runs once a set. */
static int keep(struct run *run, const struct mal_set *set)
{
	struct mal_eval *ev = &run->engine->eval;
	void **slot = mal_memo_slot(&run->kept, set->id);
	int r;

	if (!slot)
		return mal_eval_no_memory(ev);
	if (!*slot) {
		r = mal_closure_filter(ev, run->rules->filter, set);
		if (r < 0)
			return r;
		*slot = (void *)(uintptr_t)(1 + r);
	}
	return (int)(uintptr_t)*slot - 1;
}

/* -EINVAL: the filter failed on a sample. */
static int apply_filter(struct run *run, const struct mal_family *in, struct mal_family *ret)
{
	struct mal_eval *ev = &run->engine->eval;
	struct mal_sample *v = mal_arena_array(ev->arena, in->n ? in->n : 1, sizeof(*v));
	size_t n = 0;
	int r;

	if (!v)
		return mal_eval_no_memory(ev);
	for (size_t i = 0; i < in->n; i++) {
		r = keep(run, in->v[i].labels);
		if (r < 0)
			return r;
		if (r > 0)
			v[n++] = in->v[i];
	}
	*ret = *in;
	ret->v = v;
	ret->n = n;
	return 0;
}

static int family_of(struct run *run, uint32_t source, struct mal_family *ret)
{
	struct mal_eval *ev = &run->engine->eval;
	const struct mal_batch_family *f;
	uint32_t name;
	int r = mal_eval_const(ev, source, &name);

	if (r < 0)
		return r;
	f = mal_batch_find(run->batch, name);
	*ret = (struct mal_family){.milliseconds = ev->milliseconds};
	if (f) {
		ret->v = f->v;
		ret->n = f->n;
	}
	return 0;
}

static int filtered_family(struct run *run, uint32_t source, struct prepared *p)
{
	struct mal_eval *ev = &run->engine->eval;
	struct mal_family in;
	int r;

	if (p->filtered)
		return 0;
	r = family_of(run, source, &in);
	if (r < 0)
		return r;
	p->after_filter = in;
	if (run->rules->filter && !run->unfiltered) {
		ev->arena = &ev->run_arena;
		r = apply_filter(run, &in, &p->after_filter);
		ev->arena = &ev->rule_arena;
		if (r == -ENOMEM)
			return r;
		p->filter_failed = r < 0;
	}
	p->filtered = true;
	return 0;
}

/* The evaluator's hook where a sink wants to see each step. */
static void on_step(struct mal_eval *ev, const struct mal_expr *e, const struct mal_family *f)
{
	const struct run *run = ev->metric_ctx;

	mal_explain_expr(ev, &run->explain, e, f);
}

static int explain_metric(struct run *run, uint32_t source, const struct prepared *p)
{
	struct mal_eval *ev = &run->engine->eval;
	struct mal_explain x = run->explain;
	struct mal_family in;
	int r = family_of(run, source, &in);

	if (r < 0)
		return r;
	mal_explain_named(ev, &x, mal_strings_text(&run->rules->program.strings, source), &in);
	x.part = "filter";
	if (run->rules->filter)
		mal_explain_named(ev, &x, run->unfiltered ? "failed, so not used" : "{ … }",
				  &p->after_filter);
	return 0;
}

/* The evaluator's hook: a metric reference of a rule. */
static int metric_of(struct mal_eval *ev, const struct mal_expr *e, struct mal_family *ret)
{
	struct run *run = ev->metric_ctx;
	struct prepared *p = prepared_of(run, e->metric.name);
	struct mal_family saved = ev->head;
	const struct mal_explain explain = run->explain;
	struct mal_arena *arena = ev->arena;
	int r = filtered_family(run, e->metric.name, p);

	if (r >= 0 && run->sink->step)
		r = explain_metric(run, e->metric.name, p);
	if (r < 0)
		return r;
	if (!e->metric.prefixed || !run->rules->prefix) {
		*ret = p->after_filter;
		return 0;
	}
	if (p->prefixed && !run->sink->step) {
		*ret = p->after_prefix;
		return 0;
	}
	ev->head = p->after_filter;
	if (run->rules->prefix_is_pure)
		ev->arena = &ev->run_arena;
	run->explain.part = "expPrefix";
	run->explain.text = run->rules->prefix_text;
	r = mal_eval_expr(ev, run->rules->prefix, &p->after_prefix);
	run->explain = explain;
	ev->arena = arena;
	ev->head = saved;
	if (r < 0)
		return r;
	p->prefixed = run->rules->prefix_is_pure;
	*ret = p->after_prefix;
	return 0;
}

/* --- one rule --- */

/* 1: there is something to evaluate; decides whether the filter counts for this rule. */
static int prepare_sources(struct run *run, const struct mal_rule *rule)
{
	bool failed = false, any = false;
	int r;

	run->unfiltered = false;
	for (size_t i = 0; i < rule->is.n_sources; i++) {
		struct prepared *p = prepared_of(run, rule->sources[i]);

		r = filtered_family(run, rule->sources[i], p);
		if (r < 0)
			return r;
		failed |= p->filter_failed;
		any |= p->after_filter.n > 0;
	}
	run->unfiltered = failed; /* OAP's filter fails open, for all metrics of the rule */
	return failed || any;
}

static int evaluate(struct run *run, const struct mal_rule *rule, struct mal_family *ret)
{
	struct mal_eval *ev = &run->engine->eval;
	int r;

	ev->rule = &rule->is;
	run->explain = (struct mal_explain){run->sink, &rule->is, "exp", rule->is.exp};
	r = mal_eval_expr(ev, rule->exp, ret);
	if (r < 0 || !run->rules->suffix)
		return r;
	ev->head = *ret;
	run->explain.part = "expSuffix";
	run->explain.text = run->rules->suffix_text;
	return mal_eval_expr(ev, run->rules->suffix, ret);
}

static void run_rule(struct run *run, const struct mal_rule *rule)
{
	struct mal_eval *ev = &run->engine->eval;
	struct mal_family result;
	int r = prepare_sources(run, rule);

	if (r == 0)
		return;
	if (r > 0) {
		run->stats->rules_run++;
		r = evaluate(run, rule, &result);
	}
	if (r >= 0)
		r = mal_emit(ev, rule, &result, run->sink, &run->stats->emissions);
	if (r < 0) {
		run->stats->rules_failed++;
		if (run->sink->failed)
			run->sink->failed(run->sink->ctx, &rule->is, ev->message);
	}
	mal_arena_reset(&ev->rule_arena);
}

/* --- all rules --- */

/* Marks the rules that read a metric of the batch. */
static int find_rules(struct run *run, bool **ret)
{
	struct mal_eval *ev = &run->engine->eval;
	const struct mal_strings *strings = &run->rules->program.strings;
	bool *touched = mal_arena_zalloc(&ev->run_arena, run->rules->n ? run->rules->n : 1);
	const struct mal_batch_family *families;
	size_t n = mal_batch_families(run->batch, &families);

	if (!touched)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		uint32_t name = families[i].name, id;
		const struct mal_readers *readers;

		id = mal_strings_find(strings, mal_strings_text(ev->strings, name),
				      mal_strings_len(ev->strings, name));
		if (id == MAL_STR_NULL || !strings->v[id].tag || families[i].n == 0)
			continue;
		readers = &run->rules->readers[strings->v[id].tag - 1];
		for (size_t k = 0; k < readers->n; k++)
			touched[readers->rules[k]] = true;
	}
	*ret = touched;
	return 0;
}

static int begin(struct run *run, enum sonde_mal_unit unit)
{
	struct mal_eval *ev = &run->engine->eval;
	size_t sources = run->rules->n_readers;
	int r = mal_eval_begin(ev, run->batch, &run->rules->program);

	if (r < 0)
		return r;
	ev->milliseconds = unit == SONDE_MAL_MILLISECONDS;
	ev->layers = run->rules->layers;
	ev->metric = metric_of;
	ev->metric_ctx = run;
	ev->step = run->sink->step ? on_step : NULL;
	run->kept = MAL_MEMO_INIT(&ev->run_arena);
	for (size_t i = 0; i < ELEMENTS_OF(run->prepared); i++) {
		run->prepared[i] =
			mal_arena_zalloc(&ev->run_arena, sources * sizeof(*run->prepared[i]));
		if (!run->prepared[i])
			return -ENOMEM;
	}
	return 0;
}

static int64_t now_s(const struct sonde_mal_engine *e)
{
	if (e->host.now_s)
		return e->host.now_s(e->host.ctx);
	return (int64_t)(sonde_mono_ns() / SONDE_NS_PER_S);
}

int sonde_mal_engine_run(struct sonde_mal_engine *e, const struct sonde_mal_rules *rules,
			 struct sonde_mal_batch *b, enum sonde_mal_unit unit,
			 const struct sonde_mal_sink *sink, struct sonde_mal_run_stats *stats)
{
	struct sonde_mal_run_stats unused = {0};
	struct run run = {e,	 rules, b,  sink, stats ? stats : &unused, {NULL, NULL},
			  false, {0},	{0}};
	uint64_t refused;
	bool *touched;
	int r;

	assert(e && rules && b && sink && sink->emit);

	if (rules->n == 0)
		return 0;
	mal_window_begin(e->window, now_s(e));
	refused = mal_window_refused(e->window);
	r = begin(&run, unit);
	if (r >= 0)
		r = find_rules(&run, &touched);
	if (r < 0)
		return r;
	for (size_t i = 0; i < rules->n; i++)
		if (touched[i])
			run_rule(&run, rules->v[i]);
	run.stats->window_refused += mal_window_refused(e->window) - refused;
	return 0;
}

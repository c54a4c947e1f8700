/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Samples: the input says which ones, in what order and in how many batches, and every function of the language
 * runs over them. The same samples go through a second engine in another order of interning (a label is put
 * into its batch first), and have to give the same: what is kept by the ids of a run must not depend on them.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "mal/run.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char rules_text[] =
	"metricPrefix: t\n"
	"filter: \"{ tags -> tags.job == 'x' || tags.job in ['', 'y'] }\"\n"
	"expPrefix: |-\n  forEach(['a', 'b'], { k, tags -> if (tags[k + '_id'] != null) { return }\n"
	"    tags[k + '_id'] = ProcessRegistry.generateVirtualRemoteProcess(tags.s, tags.i, tags[k]) })"
	".tag({ tags -> tags.c = tags.p == 'http' ? '49' : tags.q ?: 'd' })\n"
	"expSuffix: service(['s', 'i'], '-', Layer.GENERAL)\n"
	"metricsRules:\n"
	"  - {name: sum, exp: \"m.sum(['s', 'i', 'a_id'])\"}\n"
	"  - {name: avg, exp: \"m.avg(['s', 'i', 'b_id', 'zz']).multiply(2)\"}\n"
	"  - {name: max, exp: \"(m + n).max(['s', 'i'])\"}\n"
	"  - {name: min, exp: \"m.min(['s', 'i', 'p']) / n.min(['s', 'i', 'p'])\"}\n"
	"  - {name: safe, exp: \"m.safeDiv(n).downsampling(LATEST)\"}\n"
	"  - {name: count, exp: \"count(m, ['s', 'i', 'a'])\"}\n"
	"  - {name: rate, exp: \"m.sum(['s', 'i']).rate('PT1M')\"}\n"
	"  - {name: grow, exp: \"m.increase('PT1M') - n.irate()\"}\n"
	"  - {name: hist, exp: \"h.sum(['s', 'i', 'le']).histogram().histogram_percentile([50, 99])\"}\n"
	"  - {name: unit, exp: \"h.histogram('le', TimeUnit.SECONDS).downsampling(SUM)\"}\n"
	"  - {name: match, exp: \"m.tagMatch('a', '(x|y)*z?').tagNotEqual('b', '')\"}\n"
	"  - {name: text, exp: \"m.tag({ tags -> tags.a = tags.a?.replaceAll('[.:].*', '').trim() })\"}\n"
	"  - {name: inst, exp: \"m.instance(['s'], '', ['i'], '', Layer.K8S, { tags -> ['p': tags.p] })\"}\n"
	"  - {name: rel, exp: \"m.processRelation('side', ['s'], ['i'], 'a_id', 'b_id', 'c')\"}\n"
	"  - {name: svc, exp: \"m.serviceRelation(DetectPoint.SERVER, ['s'], ['i'], Layer.MESH)\"}\n"
	"  - {name: deco, exp: \"m.service(['s'], Layer.VM).decorate({ me -> me.attr0 = me.serviceName })\"}\n"
	"  - {name: pod, exp: \"n.retagByK8sMeta('svc', K8sRetagType.Pod2Service, 'a', 'b').sum(['svc', 's'])\"}\n";

static const char *const keys[] = {"s",	 "i",	"a",	"b",	"p",	"q",
				   "le", "job", "side", "a_id", "b_id", "zz"};
static const char *const values[] = {"",  "x",	 "y",	     "http", "10.0.0.1:80", "0.5", "1.0",
				     "1", "1e3", "Infinity", "NaN",  "server",	    "s1",  "s2"};
static const double numbers[] = {0, 1, -1, 0.5, 100, 1e300, -0.0, 12345.678, 1.0 / 3, 7, 8, 9};
static const char *const names[] = {"m", "n", "h"};

struct bytes {
	const uint8_t *p;
	size_t left;
};

static uint8_t next(struct bytes *b)
{
	if (b->left == 0)
		return 0;
	b->left--;
	return *b->p++;
}

/* A value from the table, or up to 15 bytes of the input. */
static const char *next_text(struct bytes *b, char buf[static 16])
{
	uint8_t c = next(b);
	size_t n = 0;

	if (c < 0xe0)
		return values[c % ELEMENTS_OF(values)];
	for (; n < (c & 15U) && b->left > 0; n++) {
		buf[n] = (char)next(b);
		if (!buf[n])
			break;
	}
	buf[n] = 0;
	return buf;
}

static int add(struct sonde_mal_batch *batch, struct bytes *b, int64_t *ts_ms)
{
	struct sonde_mal_label labels[8];
	char text[8][16];
	struct sonde_mal_sample s = {.labels = labels};
	uint8_t what = next(b);
	uint32_t seen = 0;

	s.name = names[what % ELEMENTS_OF(names)];
	s.value = numbers[next(b) % ELEMENTS_OF(numbers)];
	*ts_ms += (int64_t)(what >> 4) * 1000;
	s.ts_ms = *ts_ms;
	for (size_t n = next(b) % 9; n > 0; n--) {
		size_t key = next(b) % ELEMENTS_OF(keys);

		if (seen & (1U << key))
			continue;
		seen |= 1U << key;
		labels[s.n_labels].key = keys[key];
		labels[s.n_labels].value = next_text(b, text[s.n_labels]);
		s.n_labels++;
	}
	return sonde_mal_batch_add(batch, &s);
}

static int emit(void *ctx, const struct sonde_mal_emission *e)
{
	const struct sonde_mal_entity *x = e->entity;
	struct sonde_buf *out = ctx;
	int r;

	r = sonde_buf_printf(out, "%s %d %s|%s|%s|%s|%s|%s %s %d %d %lld", e->rule->metric,
			     x->scope, x->service, x->instance, x->source_service, x->dest_service,
			     x->source_process, x->dest_process, x->layer, x->side, x->component,
			     (long long)e->ts_ms);
	for (size_t i = 0; i < e->n_points && r >= 0; i++)
		r = sonde_buf_printf(out, " %s:%lld=%lld", e->points[i].key,
				     (long long)e->points[i].bucket, (long long)e->points[i].value);
	return r < 0 ? r : sonde_buf_printf(out, "\n");
}

static int64_t now_s(void *ctx)
{
	(void)ctx;
	return 1700000000;
}

/* All batches of the input. @other: strings and sets get other ids than they had else. */
static int run(const struct sonde_mal_rules *rules, struct bytes b, bool other,
	       struct sonde_buf *out)
{
	static const struct sonde_mal_label first[] = {{"y", "http"}, {"s2", "a_id"}};
	const struct sonde_mal_sample unused = {"unused", first, 2, 1, 1};
	const struct sonde_mal_host host = {.now_s = now_s};
	const struct sonde_mal_sink sink = {.emit = emit, .ctx = out};
	_cleanup_(sonde_mal_engine_freep) struct sonde_mal_engine *e = NULL;
	_cleanup_(sonde_mal_batch_freep) struct sonde_mal_batch *batch = NULL;
	int64_t ts_ms = 1700000000000;
	int r;

	r = sonde_mal_engine_new(&host, &e);
	if (r == 0)
		r = sonde_mal_batch_new(&batch);
	while (r == 0 && b.left > 0) {
		sonde_mal_batch_reset(batch);
		if (other)
			r = sonde_mal_batch_add(batch, &unused);
		for (unsigned n = next(&b) % 32; n > 0 && b.left > 0 && r == 0; n--)
			r = add(batch, &b, &ts_ms);
		if (r == 0)
			r = sonde_mal_engine_run(e, rules, batch, SONDE_MAL_SECONDS, &sink, NULL);
	}
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct sonde_mal_rules *rules; /* the same for all inputs, so made once */
	_cleanup_buf_ struct sonde_buf one = SONDE_BUF_INIT(16U << 20),
				       two = SONDE_BUF_INIT(16U << 20);
	int r, r2;

	if (!rules && sonde_mal_rules_load("fuzz.yaml", rules_text, sizeof(rules_text) - 1,
					   (struct sonde_mal_report){0}, &rules) != 0)
		abort(); /* the rules above are good ones */
	r = run(rules, (struct bytes){data, size}, false, &one);
	r2 = run(rules, (struct bytes){data, size}, true, &two);
	if (r != r2 || one.len != two.len ||
	    (one.len > 0 && memcmp(one.data, two.data, one.len) != 0))
		abort();
	return 0;
}

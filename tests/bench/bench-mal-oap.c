/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shapes on which OAP's engine was measured, run by ours: bench-mal-oap RULES-DIR [SECONDS [FILE]]. RULES-DIR holds
 * OAP's own rule files (otel-rules/oap.yaml, …). Each source metric of a file comes twice a host, or once, for 1
 * and 50 hosts; 15 s lie between two batches, so counter windows fill as they do in service. The time is that of the
 * run of all rules; unlike OAP's figure it has the file's filter, the entities and the values of each of them in it.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/num.h"
#include "mal/rules.h"
#include "mal/run.h"
#include "mal/sample.h"
#include "mal/vector.h"

#define STEP_MS 15000
#define TURNS 5 /* of which the fastest counts: others use this machine too */
#define FILE_BYTES (1U << 20)

struct shape {
	const char *file;
	enum sonde_mal_unit unit;
	unsigned a_host; /* samples of a metric and host */
	/* "key=value" each; %h is the host, %i the sample's number on it */
	const char *labels[10];
	/* What OAP took: ns a sample, for one host and for 50. */
	unsigned oap_ns[2];
};

static const struct shape shapes[] = {
	{"meter-analyzer-config/network-profiling.yaml",
	 SONDE_MAL_MILLISECONDS,
	 2,
	 {"service=svc", "instance=svc-%h", "side=client", "client_local=true",
	  "server_address=10.0.%i.%h:8080", "protocol=http", "is_ssl=false"},
	 {3036, 756}},
	{"otel-rules/oap.yaml",
	 SONDE_MAL_SECONDS,
	 2,
	 {"job_name=skywalking-so11y", "service=oap", "host_name=oap-%h", "gc=Copy",
	  "state=RUNNABLE", "dimensionality=minute", "level=%i"},
	 {2390, 2032}},
	{"otel-rules/vm.yaml",
	 SONDE_MAL_SECONDS,
	 1,
	 {"job_name=vm-monitoring", "service=vm", "node_identifier_host_name=vm-%h", "mode=user",
	  "device=sda", "mountpoint=/", "fstype=ext4"},
	 {1300, 626}},
};

static bool is_histogram(const struct sonde_mal_rule *rule)
{
	return rule->function.kind >= SONDE_MAL_HISTOGRAM;
}

/* @out: "key\0value" of the pattern. */
static void expand(const char *pattern, unsigned host, unsigned i, char out[static 64],
		   struct sonde_mal_label *ret)
{
	size_t n = 0;

	for (const char *p = pattern; *p && n < 40; p++) {
		if (*p == '=')
			out[n++] = 0;
		else if (*p != '%')
			out[n++] = *p;
		else
			n += (size_t)snprintf(out + n, 12, "%u", *++p == 'h' ? host : i);
	}
	out[n] = 0;
	*ret = (struct sonde_mal_label){out, out + strlen(out) + 1};
}

static int add(struct sonde_mal_batch *b, const struct shape *s, const char *metric, bool le,
	       unsigned host, unsigned i, int64_t ts_ms)
{
	char text[ELEMENTS_OF(s->labels)][64];
	struct sonde_mal_label labels[ELEMENTS_OF(s->labels) + 1];
	struct sonde_mal_sample sample = {
		.name = metric,
		.labels = labels,
		.value = (double)(ts_ms % 1000000000) / 100 + host + i,
		.ts_ms = ts_ms,
	};

	for (; sample.n_labels < ELEMENTS_OF(s->labels) && s->labels[sample.n_labels];
	     sample.n_labels++)
		expand(s->labels[sample.n_labels], host, i, text[sample.n_labels],
		       &labels[sample.n_labels]);
	if (le)
		labels[sample.n_labels++] = (struct sonde_mal_label){"le", i ? "Infinity" : "0.5"};
	return sonde_mal_batch_add(b, &sample);
}

static bool seen_before(const struct sonde_mal_rules *rules, size_t rule, size_t source)
{
	const char *name = sonde_mal_rules_get(rules, rule)->sources[source];

	for (size_t i = 0; i <= rule; i++) {
		const struct sonde_mal_rule *r = sonde_mal_rules_get(rules, i);

		for (size_t k = 0; k < (i == rule ? source : r->n_sources); k++)
			if (strcmp(r->sources[k], name) == 0)
				return true;
	}
	return false;
}

static int fill(struct sonde_mal_batch *b, const struct shape *s,
		const struct sonde_mal_rules *rules, const bool *skip, unsigned hosts,
		int64_t ts_ms)
{
	size_t at = 0;
	int r = 0;

	sonde_mal_batch_reset(b);
	for (size_t i = 0; i < sonde_mal_rules_count(rules); i++) {
		const struct sonde_mal_rule *rule = sonde_mal_rules_get(rules, i);

		for (size_t k = 0; k < rule->n_sources; k++) {
			if (skip[at++])
				continue;
			for (unsigned n = 0; n < hosts * s->a_host && r == 0; n++)
				r = add(b, s, rule->sources[k], is_histogram(rule), n / s->a_host,
					n % s->a_host, ts_ms);
		}
	}
	return r;
}

static int count(void *ctx, const struct sonde_mal_emission *e)
{
	*(uint64_t *)ctx += e->n_points;
	return 0;
}

/* What the run itself took, whoever else has the processor meanwhile. */
static uint64_t cpu_ns(void)
{
	struct timespec t = {0};

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * SONDE_NS_PER_S + (uint64_t)t.tv_nsec;
}

struct result {
	size_t samples;
	double run_ns, fill_ns; /* a sample */
	uint64_t points, passes;
};

/* One turn of @limit_ns. */
static int turn(const struct shape *s, const struct sonde_mal_rules *rules, const bool *skip,
		unsigned hosts, uint64_t limit_ns, struct result *ret)
{
	_cleanup_(sonde_mal_engine_freep) struct sonde_mal_engine *e = NULL;
	_cleanup_(sonde_mal_batch_freep) struct sonde_mal_batch *b = NULL;
	struct sonde_mal_run_stats stats = {0};
	struct result out = {0};
	struct sonde_mal_sink sink = {.emit = count, .ctx = &out.points};
	uint64_t run_ns = 0, fill_ns = 0;
	int64_t ts_ms = 1700000000000;
	int r;

	r = sonde_mal_engine_new(&sonde_mal_vector_host, &e);
	if (r == 0)
		r = sonde_mal_batch_new(&b);
	while (r == 0 && run_ns < limit_ns) {
		uint64_t start = cpu_ns(), filled;

		r = fill(b, s, rules, skip, hosts, ts_ms);
		filled = cpu_ns();
		if (r == 0)
			r = sonde_mal_engine_run(e, rules, b, s->unit, &sink, &stats);
		run_ns += cpu_ns() - filled;
		fill_ns += filled - start;
		out.samples = sonde_mal_batch_count(b);
		out.passes++;
		ts_ms += STEP_MS;
	}
	if (r < 0)
		return r;
	if (stats.rules_failed > 0 || stats.rules_run != out.passes * sonde_mal_rules_count(rules))
		return -EINVAL; /* that would be no measurement of these rules */
	out.run_ns = (double)run_ns / (double)out.passes / (double)out.samples;
	out.fill_ns = (double)fill_ns / (double)out.passes / (double)out.samples;
	*ret = out;
	return 0;
}

static int measure(const struct shape *s, const struct sonde_mal_rules *rules, uint64_t limit_ns)
{
	static const unsigned hosts[] = {1, 50};
	_cleanup_free_ bool *skip = NULL;
	size_t n = 0;
	int r = 0;

	for (size_t i = 0; i < sonde_mal_rules_count(rules); i++)
		n += sonde_mal_rules_get(rules, i)->n_sources;
	skip = calloc(n + 1, sizeof(*skip));
	if (!skip)
		return -ENOMEM;
	n = 0;
	for (size_t i = 0; i < sonde_mal_rules_count(rules); i++)
		for (size_t k = 0; k < sonde_mal_rules_get(rules, i)->n_sources; k++)
			skip[n++] = seen_before(rules, i, k);
	for (size_t h = 0; h < ELEMENTS_OF(hosts) && r == 0; h++) {
		struct result best = {.run_ns = INFINITY};

		for (int t = 0; t < TURNS && r == 0; t++) {
			struct result now;

			r = turn(s, rules, skip, hosts[h], limit_ns, &now);
			if (r == 0 && now.run_ns < best.run_ns)
				best = now;
		}
		if (r < 0)
			break;
		printf("%-45s %5zu %8zu %8u %8.1f %6.1fx %8.1f\n", s->file,
		       sonde_mal_rules_count(rules), best.samples, s->oap_ns[h], best.run_ns,
		       s->oap_ns[h] / best.run_ns, best.fill_ns);
	}
	return r;
}

static int load(const char *dir, const char *name, struct sonde_mal_rules **ret)
{
	_cleanup_free_ char *path = NULL, *text = NULL;
	size_t n;
	FILE *f;

	text = malloc(FILE_BYTES);
	if (asprintf(&path, "%s/%s", dir, name) < 0)
		path = NULL;
	if (!path || !text)
		return -ENOMEM;
	f = fopen(path, "re");
	if (!f)
		return sonde_log_err(-errno, "cannot read %s", path);
	n = fread(text, 1, FILE_BYTES, f);
	(void)fclose(f);
	return sonde_mal_rules_load(name, text, n, (struct sonde_mal_report){0}, ret);
}

int main(int argc, char **argv)
{
	const char *only = argc > 3 ? argv[3] : "";
	uint64_t seconds = 1;
	int r = 0;

	if (argc < 2 || (argc > 2 && sonde_parse_u64(argv[2], 1, 600, &seconds) < 0)) {
		(void)fprintf(stderr, "usage: bench-mal-oap RULES-DIR [SECONDS [FILE]]\n");
		return 2;
	}
	printf("%-45s %5s %8s %8s %8s %7s %8s\n", "", "rules", "samples", "OAP ns", "ours ns",
	       "ratio", "+fill ns");
	for (size_t i = 0; i < ELEMENTS_OF(shapes) && r == 0; i++) {
		_cleanup_(sonde_mal_rules_freep) struct sonde_mal_rules *rules = NULL;

		if (!strstr(shapes[i].file, only))
			continue;
		r = load(argv[1], shapes[i].file, &rules);
		if (r == 0)
			r = measure(&shapes[i], rules, seconds * SONDE_NS_PER_S / TURNS);
	}
	if (r < 0)
		return sonde_log_err(r, "cannot measure") != 0;
	return 0;
}

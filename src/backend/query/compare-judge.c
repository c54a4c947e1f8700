/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/query/compare-judge.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "base/num.h"

#define NONE _SONDE_COMPARE_SOURCE_MAX
#define QUANTILE(name_, hist_, percent_, meter_)                                                   \
	{                                                                                          \
		.name = (name_), .unit = "us", .kind = SONDE_COMPARE_QUANTILE, .events = NONE,     \
		.of = {NONE, NONE}, .histogram = (hist_), .percent = (percent_), .meter = (meter_) \
	}
#define RATIO(name_, events_, of_, and_, meter_, udp_, client_)                                    \
	{                                                                                          \
		.name = (name_), .unit = "ratio", .kind = SONDE_COMPARE_RATIO,                     \
		.events = (events_), .of = {(of_), (and_)}, .meter = (meter_), .udp = (udp_),      \
		.client_only = (client_)                                                           \
	}
#define RATE(name_, unit_, kind_, events_, meter_, udp_)                                           \
	{                                                                                          \
		.name = (name_), .unit = (unit_), .kind = (kind_), .events = (events_),            \
		.of = {NONE, NONE}, .meter = (meter_), .udp = (udp_)                               \
	}

/* clang-format off */
const struct sonde_compare_quantity sonde_compare_quantities[] = {
	QUANTILE("rtt_p50_us", SONDE_COMPARE_RTT, 50, SONDE_METER_RTT),
	QUANTILE("rtt_p99_us", SONDE_COMPARE_RTT, 99, SONDE_METER_RTT),
	RATIO("retransmit_ratio", SONDE_COMPARE_RETRANSMITS, SONDE_COMPARE_SENT_SEGMENTS, NONE,
	      SONDE_METER_RETRANSMITTED_SEGMENTS, false, false),
	RATIO("drop_ratio", SONDE_COMPARE_DROPS, SONDE_COMPARE_SENT_SEGMENTS, SONDE_COMPARE_RECEIVED_SEGMENTS,
	      SONDE_METER_RECEIVE_DROPPED, false, false),
	RATE("sent_bytes_per_second", "bytes_per_second", SONDE_COMPARE_AMOUNT_PER_SECOND, SONDE_COMPARE_SENT_BYTES,
	     SONDE_METER_SENT_BYTES, false),
	RATE("received_bytes_per_second", "bytes_per_second", SONDE_COMPARE_AMOUNT_PER_SECOND,
	     SONDE_COMPARE_RECEIVED_BYTES, SONDE_METER_RECEIVED_BYTES, false),
	RATE("connects_per_second", "per_second", SONDE_COMPARE_PER_SECOND, SONDE_COMPARE_CONNECTS,
	     SONDE_METER_CONNECTIONS_OPENED, false),
	RATIO("connect_failure_ratio", SONDE_COMPARE_FAILURES, SONDE_COMPARE_CONNECTS, SONDE_COMPARE_FAILURES,
	      SONDE_METER_CONNECT_FAILURES, false, true),
	QUANTILE("write_time_p50_us", SONDE_COMPARE_WRITE_TIME, 50, SONDE_METER_WRITE_TIME),
	QUANTILE("write_time_p99_us", SONDE_COMPARE_WRITE_TIME, 99, SONDE_METER_WRITE_TIME),
	QUANTILE("read_time_p50_us", SONDE_COMPARE_READ_TIME, 50, SONDE_METER_READ_TIME),
	QUANTILE("read_time_p99_us", SONDE_COMPARE_READ_TIME, 99, SONDE_METER_READ_TIME),
	RATE("sent_datagrams_per_second", "per_second", SONDE_COMPARE_PER_SECOND, SONDE_COMPARE_SENT_SEGMENTS,
	     SONDE_METER_UDP_SENT_DATAGRAMS, true),
	RATE("received_datagrams_per_second", "per_second", SONDE_COMPARE_PER_SECOND,
	     SONDE_COMPARE_RECEIVED_SEGMENTS, SONDE_METER_UDP_RECEIVED_DATAGRAMS, true),
	RATE("sent_bytes_per_second", "bytes_per_second", SONDE_COMPARE_AMOUNT_PER_SECOND, SONDE_COMPARE_SENT_BYTES,
	     SONDE_METER_UDP_SENT_BYTES, true),
	RATE("received_bytes_per_second", "bytes_per_second", SONDE_COMPARE_AMOUNT_PER_SECOND,
	     SONDE_COMPARE_RECEIVED_BYTES, SONDE_METER_UDP_RECEIVED_BYTES, true),
	RATIO("drop_ratio", SONDE_COMPARE_DROPS, SONDE_COMPARE_RECEIVED_SEGMENTS, SONDE_COMPARE_DROPS,
	      SONDE_METER_UDP_BUFFER_DROPPED, true, false),
	RATIO("send_error_ratio", SONDE_COMPARE_FAILURES, SONDE_COMPARE_SENT_SEGMENTS, SONDE_COMPARE_FAILURES,
	      SONDE_METER_UDP_SEND_ERRORS, true, false),
};
/* clang-format on */
const size_t sonde_compare_n_quantities = ELEMENTS_OF(sonde_compare_quantities);

const char *sonde_compare_verdict_name(enum sonde_compare_verdict v)
{
	static const char *const names[] = {"differs", "below_threshold", "noise", "too_few",
					    "absent"};

	_Static_assert(ELEMENTS_OF(names) == _SONDE_COMPARE_VERDICT_MAX, "a name for each");
	return names[v];
}

static int by_bound(const void *a, const void *b)
{
	const struct sonde_compare_cell *x = a, *y = b;

	if (x->bound != y->bound)
		return x->bound < y->bound ? -1 : 1;
	return (x->slice > y->slice) - (x->slice < y->slice);
}

void sonde_compare_sort(struct sonde_compare_side *s)
{
	for (size_t i = 0; i < _SONDE_COMPARE_HISTOGRAM_MAX; i++) {
		if (s->histogram[i].n > 0)
			qsort(s->histogram[i].cell, s->histogram[i].n,
			      sizeof(*s->histogram[i].cell), by_bound);
	}
}

static int64_t samples(const struct sonde_compare_cells *h)
{
	int64_t n = 0;

	for (size_t i = 0; i < h->n; i++)
		n = sonde_add_i64(n, h->cell[i].count);
	return n;
}

/* By nearest rank, as the topology has it. */
static int quantile(const struct sonde_compare_cells *h, int32_t percent, double *ret)
{
	_cleanup_free_ struct sonde_mal_bin *bin = calloc(h->n + 1, sizeof(*bin));

	if (!bin)
		return -ENOMEM;
	for (size_t i = 0; i < h->n; i++)
		bin[i] = (struct sonde_mal_bin){h->cell[i].bound, h->cell[i].count};
	*ret = (double)sonde_mal_nearest_rank(bin, h->n, percent);
	return 0;
}

static double whole(const struct sonde_compare_quantity *q, const struct sonde_compare_side *s,
		    size_t slice)
{
	double sum = 0;

	for (size_t i = 0; i < ELEMENTS_OF(q->of); i++)
		sum += q->of[i] != NONE ? (double)s->count[q->of[i]][slice] : 0;
	return sum;
}

int sonde_compare_measure(const struct sonde_compare_quantity *q,
			  const struct sonde_compare_window *w, const struct sonde_compare_side *s,
			  struct sonde_compare_value *ret)
{
	const struct sonde_compare_cells *h = &s->histogram[q->histogram];

	*ret = (struct sonde_compare_value){0};
	if (json_object_get(s->absent, sonde_meter_info(q->meter)->name))
		return 0;
	if (q->kind == SONDE_COMPARE_QUANTILE) {
		ret->count = samples(h);
		ret->have = ret->count > 0;
		return ret->have ? quantile(h, q->percent, &ret->value) : 0;
	}
	ret->count = s->total[q->events];
	for (size_t i = w->first; i <= w->last; i++)
		ret->of += q->kind == SONDE_COMPARE_RATIO ? whole(q, s, i) : w->seconds[i];
	ret->have = ret->of > 0;
	ret->value = ret->have ? (double)ret->count / ret->of : 0;
	return 0;
}

struct slices {
	struct sonde_slice slice[SONDE_COMPARE_SLICES_MAX];
	size_t n;
};

static void slices_of_counts(const struct sonde_compare_quantity *q,
			     const struct sonde_compare_window *w,
			     const struct sonde_compare_side *s, struct slices *ret)
{
	ret->n = 0;
	for (size_t i = w->first; i <= w->last; i++)
		ret->slice[ret->n++] = (struct sonde_slice){
			.events = (double)s->count[q->events][i],
			.exposure = q->kind == SONDE_COMPARE_RATIO ? whole(q, s, i) : w->seconds[i],
		};
}

/* How far a share is from another, in log odds: of rare events a few more or less are much. */
static double distance(double share, double want)
{
	return share > 0 && share < 1 ? fabs(log(share / (1 - share)) - log(want / (1 - want)))
				      : INFINITY;
}

/*
 * The cut at which both windows together have the quantile: samples above it are the events. A bucket cannot be
 * divided, so it lies at that edge of it which leaves a share nearer to the wanted one. Samples of both decide alike:
 * if there is no difference, neither is favoured.
 */
static int64_t find_cut(const struct sonde_compare_cells *a, const struct sonde_compare_cells *b,
			int32_t percent)
{
	double n = (double)samples(a) + (double)samples(b), left = n, best = INFINITY;
	int64_t cut = INT64_MAX;
	size_t i = 0, j = 0;

	while (i < a->n || j < b->n) {
		bool of_a = j == b->n || (i < a->n && a->cell[i].bound <= b->cell[j].bound);
		const struct sonde_compare_cell *c = of_a ? &a->cell[i++] : &b->cell[j++];
		bool more = (i < a->n && a->cell[i].bound == c->bound) ||
			    (j < b->n && b->cell[j].bound == c->bound);
		double d;

		left -= (double)c->count;
		d = distance(left / n, (100 - percent) / 100.0);
		if (more || d >= best)
			continue;
		best = d;
		cut = c->bound;
	}
	return cut;
}

static void slices_of_cut(const struct sonde_compare_window *w, const struct sonde_compare_cells *h,
			  int64_t cut, struct slices *ret)
{
	*ret = (struct slices){.n = w->n_slices};
	for (size_t i = 0; i < h->n; i++) {
		struct sonde_slice *s = &ret->slice[h->cell[i].slice];

		s->exposure += (double)h->cell[i].count;
		s->events += h->cell[i].bound > cut ? (double)h->cell[i].count : 0;
	}
}

/* A rate of a thing that never was, or of seconds, needs the events themselves; others the whole. */
static bool enough(const struct sonde_compare_quantity *q, const struct sonde_compare_value *a,
		   const struct sonde_compare_value *b, uint64_t min_samples)
{
	double n = (double)min_samples;

	switch (q->kind) {
	case SONDE_COMPARE_QUANTILE:
		return (double)a->count >= n && (double)b->count >= n;
	case SONDE_COMPARE_RATIO:
		return a->of >= n && b->of >= n;
	case SONDE_COMPARE_PER_SECOND:
	case SONDE_COMPARE_AMOUNT_PER_SECOND:
		return (double)a->count >= n || (double)b->count >= n;
	}
	return false;
}

static enum sonde_rate_kind rate_kind(const struct sonde_compare_quantity *q,
				      const struct slices *a, const struct slices *b)
{
	if (q->kind == SONDE_COMPARE_AMOUNT_PER_SECOND)
		return SONDE_RATE_AMOUNT;
	if (q->kind == SONDE_COMPARE_PER_SECOND)
		return SONDE_RATE_EVENTS;
	/* A segment may be sent, or dropped, more often than it was counted in its slice. */
	for (size_t i = 0; i < a->n; i++) {
		if (a->slice[i].events > a->slice[i].exposure)
			return SONDE_RATE_EVENTS;
	}
	for (size_t i = 0; i < b->n; i++) {
		if (b->slice[i].events > b->slice[i].exposure)
			return SONDE_RATE_EVENTS;
	}
	return SONDE_RATE_SHARE;
}

static void test(const struct sonde_compare_quantity *q, const struct sonde_compare_window *wa,
		 const struct sonde_compare_side *sa, const struct sonde_compare_window *wb,
		 const struct sonde_compare_side *sb, struct sonde_compare_result *ret)
{
	const struct sonde_compare_cells *ha = &sa->histogram[q->histogram],
					 *hb = &sb->histogram[q->histogram];
	struct sonde_rate_test t;
	struct slices a, b;

	if (q->kind == SONDE_COMPARE_QUANTILE) {
		int64_t cut = find_cut(ha, hb, q->percent);

		slices_of_cut(wa, ha, cut, &a);
		slices_of_cut(wb, hb, cut, &b);
	} else {
		slices_of_counts(q, wa, sa, &a);
		slices_of_counts(q, wb, sb, &b);
	}
	if (sonde_rate_test(a.slice, a.n, b.slice, b.n, rate_kind(q, &a, &b), &t) < 0)
		return;
	ret->tested = true;
	ret->p = t.p;
	ret->dispersion = t.dispersion;
	ret->verdict = SONDE_COMPARE_NOISE;
}

int sonde_compare_judge(const struct sonde_compare_quantity *q,
			const struct sonde_compare_window *wa, const struct sonde_compare_side *sa,
			const struct sonde_compare_window *wb, const struct sonde_compare_side *sb,
			uint64_t min_samples, struct sonde_compare_result *ret)
{
	int r;

	*ret = (struct sonde_compare_result){.quantity = q, .verdict = SONDE_COMPARE_ABSENT};
	r = sonde_compare_measure(q, wa, sa, &ret->a);
	if (r == 0)
		r = sonde_compare_measure(q, wb, sb, &ret->b);
	if (r < 0 || !ret->a.have || !ret->b.have)
		return r;
	ret->verdict = SONDE_COMPARE_TOO_FEW;
	if (enough(q, &ret->a, &ret->b, min_samples))
		test(q, wa, sa, wb, sb, ret);
	return 0;
}

/* What was counted of an edge at all: segments or datagrams, connects, failures. */
static const enum sonde_compare_source evidence[] = {
	SONDE_COMPARE_SENT_SEGMENTS,
	SONDE_COMPARE_RECEIVED_SEGMENTS,
	SONDE_COMPARE_CONNECTS,
	SONDE_COMPARE_FAILURES,
};

void sonde_compare_judge_presence(const struct sonde_compare_window *w,
				  const struct sonde_compare_side *s,
				  const struct sonde_compare_window *without, uint64_t min_samples,
				  struct sonde_compare_result *ret)
{
	struct slices there = {0}, none = {0};
	struct sonde_rate_test t;
	double events = 0;

	*ret = (struct sonde_compare_result){.verdict = SONDE_COMPARE_TOO_FEW};
	for (size_t i = w->first; i <= w->last; i++) {
		struct sonde_slice *slice = &there.slice[there.n++];

		slice->exposure = w->seconds[i];
		for (size_t k = 0; k < ELEMENTS_OF(evidence); k++)
			slice->events += (double)s->count[evidence[k]][i];
		events += slice->events;
	}
	for (size_t i = without->first; i <= without->last; i++)
		none.slice[none.n++].exposure = without->seconds[i];
	if (events < (double)min_samples ||
	    sonde_rate_test(there.slice, there.n, none.slice, none.n, SONDE_RATE_EVENTS, &t) < 0)
		return;
	ret->tested = true;
	ret->p = t.p;
	ret->dispersion = t.dispersion;
	ret->verdict = SONDE_COMPARE_NOISE;
}

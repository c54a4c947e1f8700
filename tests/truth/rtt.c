/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RTT: each sample lies between what the wire's clock says of its segment and its ACK, and what the application's
 * clock says of the exchange around them; so does each quantile, the sum and the mean.
 */
#include "scenes.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "bpf/rest.h"
#include "model/hist.h"

#define EXCHANGES 200

struct samples {
	uint64_t wire[2 * EXCHANGES]; /* ns, not more than the kernel's */
	uint64_t own[EXCHANGES];      /* ns, not less */
	size_t n;
	size_t repeats; /* segments that were sent twice: their samples are the kernel's guess, not a measurement */
};

static int by_value(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static uint64_t sum_us(const uint64_t *ns, size_t n)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += ns[i];
	return sum / 1000;
}

/* Lower edge of the bucket in which that share of the samples ends. */
static uint64_t quantile_us(const struct sonde_tcp_hist *hist, size_t percent)
{
	const uint64_t total = fixture_hist_total(hist);
	const uint64_t rank = total * percent / 100 < total ? total * percent / 100 : total - 1;
	uint64_t seen = 0;

	for (uint32_t b = 0; b < SONDE_HIST_BUCKETS; b++) {
		seen += hist->count[b];
		if (seen > rank)
			return sonde_hist_lower_us(b);
	}
	return 0;
}

static uint64_t edge_us(uint64_t us)
{
	return sonde_hist_lower_us(sonde_hist_bucket_of(us));
}

/* Sorted: the i-th smallest of ours lies between the i-th smallest of both. Missing ones move a rank by that much. */
static void compare_quantiles(struct samples *s, const struct sonde_tcp_hist *hist, size_t missing)
{
	static const struct {
		const char *metric;
		size_t percent;
	} quantiles[] = {
		{"RTT min us", 0},  {"RTT p50 us", 50},	 {"RTT p90 us", 90},
		{"RTT p99 us", 99}, {"RTT max us", 100},
	};

	qsort(s->wire, s->n, sizeof(s->wire[0]), by_value);
	qsort(s->own, s->n, sizeof(s->own[0]), by_value);
	for (size_t i = 0; i < ELEMENTS_OF(quantiles); i++) {
		size_t at = s->n * quantiles[i].percent / 100;
		size_t low = at, high;

		low = low < s->n ? low : s->n - 1;
		low = low > missing ? low - missing : 0;
		high = at + missing < s->n ? at + missing : s->n - 1;
		truth_between(quantiles[i].metric, edge_us(s->wire[low] / 1000 - 1),
			      edge_us(s->own[high] / 1000 + 1), "wire, own clock",
			      quantile_us(hist, quantiles[i].percent), "bucket's edge");
	}
}

/*
 * Mean change of consecutive samples. Each of ours differs from the wire's by at most what our own clock has more,
 * so a change does by at most both ends'.
 */
static void compare_jitter(const struct samples *s, const struct sonde_tcp_cell *c)
{
	const uint64_t pairs = c->rtt_count - c->rtt_firsts;
	uint64_t change = 0, slack = 0;

	for (size_t i = 1; i < s->n; i++) {
		const uint64_t a = s->wire[i - 1], b = s->wire[i];

		change += a > b ? a - b : b - a;
		slack += s->own[i] - s->wire[i] + s->own[i - 1] - s->wire[i - 1];
	}
	truth_exact("first samples", 1, "own count", c->rtt_firsts);
	if (pairs == 0)
		return;
	truth_within("RTT jitter us", change / 1000 / (s->n - 1), "wire",
		     c->rtt_change_sum_us / pairs, slack / 1000 / (s->n - 1) + 1,
		     slack / 1000 / (s->n - 1) + 1, "own clock's share");
}

/* Standard deviation; that of ours and of the wire's differ by at most the root mean square of the difference. */
static void compare_deviation(const struct samples *s, const struct sonde_tcp_cell *c)
{
	double mean = 0, square = 0, slack = 0, ours, ours_mean;
	const double n = (double)s->n;

	for (size_t i = 0; i < s->n; i++) {
		const double us = (double)s->wire[i] / 1000;
		const double more = (double)(s->own[i] - s->wire[i]) / 1000 + 1;

		mean += us / n;
		square += us * us / n;
		slack += more * more / n;
	}
	ours_mean = (double)c->rtt_sum_us / (double)c->rtt_count;
	ours = (double)c->rtt_square_sum_us2 / (double)c->rtt_count - ours_mean * ours_mean;
	truth_within("RTT standard deviation us", (uint64_t)sqrt(fmax(square - mean * mean, 0)),
		     "wire", (uint64_t)sqrt(fmax(ours, 0)), (uint64_t)sqrt(slack) + 1,
		     (uint64_t)sqrt(slack) + 1, "own clock's share");
}

static void compare_samples(struct fixture *f, struct samples *s, uint16_t port)
{
	const struct fixture_cell *cell;
	uint64_t missing, low, largest = 0;

	fixture_snapshot(f);
	cell = fixture_cell(f, 0, CLIENT, port);
	assert_non_null(cell);
	truth_seen("RTT samples", s->n, "capture's ACKs", cell->now.rtt_count,
		   cell->now.rtt_missed);
	missing = s->n > cell->now.rtt_count ? s->n - cell->now.rtt_count : 0;
	missing += s->repeats;
	if (missing == 0) {
		compare_jitter(s, &cell->now);
		compare_deviation(s, &cell->now);
	}
	for (size_t i = 0; i < s->n; i++)
		if (s->own[i] > largest)
			largest = s->own[i];
	low = sum_us(s->wire, s->n);
	low -= low < s->n + missing * (largest / 1000) ? low : s->n + missing * (largest / 1000);
	truth_between("RTT sum us", low,
		      sum_us(s->own, s->n) + s->n + s->repeats * (largest / 1000),
		      "wire, own clock", cell->now.rtt_sum_us, "");
	truth_between("RTT mean us", low / s->n,
		      (sum_us(s->own, s->n) + s->repeats * (largest / 1000)) / s->n + 1,
		      "wire, own clock", cell->now.rtt_sum_us / cell->now.rtt_count, "");
	compare_quantiles(s, &cell->hists[SONDE_PROBE_HIST_RTT], missing);
}

static void over_a_wire(struct fixture *f, int family, uint64_t hold_ms, uint64_t jitter_ms)
{
	const struct sonde_test_faults faults = {.hold_ns = hold_ms * SONDE_NS_PER_MS,
						 .jitter_ns = jitter_ms * SONDE_NS_PER_MS};
	struct samples s = {.n = hold_ms > 10 ? EXCHANGES / 10 : EXCHANGES};
	struct sonde_test_capture capture;
	struct link l = link_open(family, hold_ms * SONDE_NS_PER_MS);
	size_t n;

	truth_case("IPv%d, %u+%u ms, jitter %u ms", family == AF_INET ? 4 : 6,
		   (unsigned int)hold_ms, (unsigned int)hold_ms, (unsigned int)jitter_ms);
	sonde_test_wire_set(l.wire, SONDE_TEST_CLIENT, &faults);
	link_exchange(&l, s.n, s.own);
	capture = link_capture(&l);
	n = sonde_test_capture_rtts(&capture, SONDE_TEST_CLIENT, s.wire, ELEMENTS_OF(s.wire));
	s.repeats = sonde_test_capture_repeats(&capture, SONDE_TEST_CLIENT).segments;
	link_capture_done(&capture);
	assert_int_equal(n, s.n); /* an ACK each: the exchange makes it so */
	if (truth_has(f, "RTT samples", "RTT samples of new connections"))
		compare_samples(f, &s, l.port);
	link_close(&l);
}

TRUTH_SCENE(rtt)
{
	over_a_wire(f, AF_INET, 1, 0);
	over_a_wire(f, AF_INET6, 1, 0);
	over_a_wire(f, AF_INET, 2, 4);
	over_a_wire(f, AF_INET, 20, 0);
}

/* Of a connection that is quiet, so that TCP_INFO and the snapshot say the same. */
TRUTH_SCENE(rtt_gauges)
{
	struct link l = link_open(AF_INET, 3 * SONDE_NS_PER_MS);
	uint64_t ns[20];
	struct tcp_info infos[2], info;
	struct sonde_tcp_cell c;

	truth_case("client, quiet");
	link_exchange(&l, ELEMENTS_OF(ns), ns);
	rest_snapshot(f, (const int[]){l.client, -1}, infos);
	info = infos[0];
	c = fixture_sum(f, 0, CLIENT, l.port);
	truth_exact("connections with an RTT", 1, "own count", c.rtt_sockets);
	truth_exact("smoothed RTT us", info.tcpi_rtt, "tcpi_rtt", c.srtt_sum_us);
	truth_exact("RTT deviation us", info.tcpi_rttvar, "tcpi_rttvar", c.rttvar_sum_us);
	truth_exact("windowed minimum RTT us", info.tcpi_min_rtt, "tcpi_min_rtt", c.rtt_min_us);
	link_close(&l);
}

/* netem where the kernel has it: the delay is the lower bound, the application's clock the upper one. */
TRUTH_SCENE(rtt_netem)
{
	const uint64_t delay_ms = 20;
	const struct fixture_cell *cell;
	uint64_t sum = 0, n = 40;
	struct fixture_pair p;

	truth_case("netem, %u ms each way", (unsigned int)delay_ms);
	if (!veth_run(&truth_veth, VETH_CLIENT,
		      "tc qdisc add dev sondec root netem delay %ums 2>/dev/null",
		      (unsigned int)delay_ms)) {
		truth_not_run("RTT min us", "tc: this kernel has no netem; the wire's rows stand");
		return;
	}
	assert_true(veth_run(&truth_veth, VETH_SERVER,
			     "tc qdisc add dev sondes root netem delay %ums",
			     (unsigned int)delay_ms));
	p = veth_pair(&truth_veth, AF_INET);
	for (uint64_t i = 0; i < n; i++) {
		uint64_t began = sonde_mono_ns();

		fixture_send(p.client, 100);
		fixture_recv(p.server, 100);
		fixture_send(p.server, 100);
		fixture_recv(p.client, 100);
		sum += sonde_mono_ns() - began;
	}
	fixture_snapshot(f);
	cell = fixture_cell(f, 0, CLIENT, p.port);
	assert_non_null(cell);
	if (truth_has(f, "RTT samples", "RTT samples of new connections")) {
		truth_seen("RTT samples", n, "own count", cell->now.rtt_count, 0);
		truth_between("RTT mean us", 2 * delay_ms * 1000, sum / n / 1000 + 1,
			      "netem, own clock", cell->now.rtt_sum_us / cell->now.rtt_count, "");
		truth_between("RTT min us", 2 * delay_ms * 1000, sum / n / 1000 + 1,
			      "netem, own clock",
			      quantile_us(&cell->hists[SONDE_PROBE_HIST_RTT], 0), "bucket's edge");
	}
	fixture_pair_done(&p);
	assert_true(veth_run(&truth_veth, VETH_CLIENT, "tc qdisc del dev sondec root"));
	assert_true(veth_run(&truth_veth, VETH_SERVER, "tc qdisc del dev sondes root"));
}

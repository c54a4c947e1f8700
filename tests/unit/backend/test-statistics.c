/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The expected values are SciPy's (1.17.1) and statsmodels' (0.14): special.betainc, stats.t.sf, stats.binom,
 * stats.hypergeom, multipletests(method='holm'); the whole test was written down again in NumPy from the words of
 * the header.
 */
#include "sonde-test.h"

#include <errno.h>
#include <math.h>

#include "backend/query/statistics.h"

static void assert_close(double got, double want)
{
	if (!(fabs(got - want) <= 1e-9 * fmax(fabs(want), 1e-9)))
		fail_msg("%.17g is not %.17g", got, want);
}

static void beta_and_student_are_those_of_scipy(void **state)
{
	assert_close(sonde_beta_regularised(0.5, 0.5, 0.3), 0.36901011956554536);
	assert_close(sonde_beta_regularised(2, 3, 0.4), 0.5248);
	assert_close(sonde_beta_regularised(30, 70, 0.35), 0.8615754758661092);
	assert_close(sonde_beta_regularised(5000, 5000, 0.51), 0.9772579676754254);
	assert_close(sonde_beta_regularised(3, 0.5, 0.99), 0.81374624999999);
	assert_true(fabs(sonde_beta_regularised(1e6, 2e6, 0.3335) - 0.7298824325036775) < 1e-8);
	assert_true(sonde_beta_regularised(1, 2, 0) == 0 && sonde_beta_regularised(1, 2, 1) == 1);
	assert_close(sonde_student_p(2.2281388519649385, 10), 0.05000000000180864);
	assert_close(sonde_student_p(1, 1), 0.5);
	assert_close(sonde_student_p(-6, 6), 0.0009645351944151325);
	assert_close(sonde_student_p(44, 2), 0.0005161290666397389);
	assert_close(sonde_student_p(0, 5), 1);
}

static void exact_tests_are_those_of_scipy(void **state)
{
	assert_close(sonde_poisson_p(31, 790, 0, 812), 6.066412829912414e-10);
	assert_close(sonde_poisson_p(5, 60, 5, 60), 1);
	assert_close(sonde_poisson_p(0, 30, 6, 60), 0.1755829903978052);
	assert_close(sonde_poisson_p(1000, 60, 1100, 60), 0.03072070786424249);
	assert_close(sonde_poisson_p(3, 1, 9, 2), 0.7861493561844125);
	assert_close(sonde_poisson_p(0, 1, 0, 1), 1);
	assert_close(sonde_fisher_p(8, 50, 1, 50), 0.030857822974463094);
	assert_close(sonde_fisher_p(0, 20, 20, 20), 1.4508889103849688e-11);
	assert_close(sonde_fisher_p(500, 1000, 520, 1000), 0.3953996780940261);
	assert_close(sonde_fisher_p(3, 790, 31, 812), 8.894058273095154e-07);
	assert_close(sonde_fisher_p(10, 100, 10, 100), 1);
	assert_close(sonde_fisher_p(0, 100, 0, 100), 1);
	assert_close(sonde_fisher_p(100, 100, 90, 90), 1);
}

static void holm_is_that_of_statsmodels(void **state)
{
	double p[] = {0.01, 0.04, 0.03, 0.005, 0.5, 0.011};
	static const double want[] = {0.05, 0.09, 0.09, 0.03, 0.5, 0.05};
	size_t order[ELEMENTS_OF(p)];

	sonde_holm(p, order, ELEMENTS_OF(p));
	for (size_t i = 0; i < ELEMENTS_OF(p); i++)
		assert_close(p[i], want[i]);
	sonde_holm(p, order, 0);
}

static void a_test_of_slices_is_what_its_words_say(void **state)
{
	static const struct sonde_slice a[] = {{4, 1000}, {2, 1100}, {9, 950}, {0, 0}, {3, 1020}};
	static const struct sonde_slice b[] = {{12, 1000}, {15, 900}, {20, 1050}, {11, 990}};
	struct sonde_rate_test t;

	assert_ok(sonde_rate_test(a, 5, b, 4, SONDE_RATE_EVENTS, &t));
	assert_close(t.a, 0.004422604422604423);
	assert_close(t.b, 0.014720812182741117);
	assert_close(t.dispersion, 1.7766740521576647);
	assert_close(t.p, 0.012087810770756827);
	assert_ok(sonde_rate_test(a, 5, b, 4, SONDE_RATE_SHARE, &t));
	assert_close(t.dispersion, 1.789721246077398);
	assert_close(t.p, 0.01203047207088603);
	assert_ok(sonde_rate_test(a, 5, b, 4, SONDE_RATE_AMOUNT, &t));
	assert_close(t.p, 0.012087810770756827);
}

static void waves_make_it_doubt_more(void **state)
{
	static const struct sonde_slice a[] = {{4, 1000}, {5, 1100}, {9, 950}, {10, 1020}};
	static const struct sonde_slice b[] = {{12, 1000}, {15, 900}, {20, 1050}, {21, 990}};
	struct sonde_rate_test t;

	assert_ok(sonde_rate_test(a, 4, b, 4, SONDE_RATE_EVENTS, &t));
	assert_close(t.dispersion, 1.1642346843043436);
	assert_close(t.p, 0.02075741809499877);
	assert_ok(sonde_rate_test(a, 4, b, 4, SONDE_RATE_SHARE, &t));
	assert_close(t.p, 0.020713715432998926);
}

static void without_slices_there_is_no_verdict(void **state)
{
	static const struct sonde_slice one[] = {{4, 1000}}, two[] = {{4, 1000}, {5, 1000}};
	static const struct sonde_slice none[] = {{0, 10}, {0, 10}}, odd[] = {{1e300, 1}, {0, 1}};
	struct sonde_rate_test t = {.p = -1};

	assert_err(sonde_rate_test(one, 1, two, 2, SONDE_RATE_EVENTS, &t), ENODATA);
	assert_err(sonde_rate_test(two, 2, one, 1, SONDE_RATE_EVENTS, &t), ENODATA);
	assert_err(sonde_rate_test(NULL, 0, NULL, 0, SONDE_RATE_EVENTS, &t), ENODATA);
	assert_err(sonde_rate_test(odd, 2, two, 2, SONDE_RATE_AMOUNT, &t), ERANGE);
	assert_true(t.p == -1);
	assert_ok(sonde_rate_test(none, 2, none, 2, SONDE_RATE_EVENTS, &t));
	assert_close(t.p, 1);
	assert_close(t.dispersion, 1);
}

/* --- many runs of one truth; the seed is fixed, so the outcome is too --- */

#define RUNS 4000
#define SLICES 7

static uint64_t seed;

static double uniform(void)
{
	seed ^= seed << 13; /* xorshift64 */
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return ((double)(seed >> 11) + 0.5) / 9007199254740992.0;
}

static double normal(void)
{
	return sqrt(-2 * log(uniform())) * cos(2 * M_PI * uniform());
}

static double poisson(double mean)
{
	double limit = exp(-mean), product = uniform();
	int n = 0;

	for (; product > limit && n < 100000; n++)
		product *= uniform();
	return n;
}

/* Losses in bursts: each event of a Poisson process brings 1 to 20. */
static void burst_slice(struct sonde_slice *s, double rate)
{
	int bursts = (int)poisson(rate);

	s->exposure = 5000;
	s->events = 0;
	for (int i = 0; i < bursts; i++)
		s->events += floor(1 + 20 * uniform());
}

/* RTTs of a first-order autoregression (0.9 from one to the next), counted above the cut @above. */
static void rtt_slice(struct sonde_slice *s, double *state, double shift, double above)
{
	s->exposure = 200;
	s->events = 0;
	for (int i = 0; i < 200; i++) {
		*state = 0.9 * *state + sqrt(1 - 0.81) * normal();
		s->events += *state + shift > above ? 1 : 0;
	}
}

/* Bytes: a few transfers a slice, of very different sizes. */
static void bytes_slice(struct sonde_slice *s, double scale)
{
	int transfers = (int)poisson(4);

	s->exposure = 10;
	s->events = 0;
	for (int i = 0; i < transfers; i++)
		s->events += scale * 1000 * exp(0.7 * normal());
}

static void connect_slice(struct sonde_slice *s, double rate)
{
	s->exposure = 10;
	s->events = poisson(10 * rate);
}

enum world {
	BURSTS,
	RTT_MEDIAN,
	RTT_TAIL,
	BYTES,
	CONNECTS,
	FEW_CONNECTS,
	_WORLDS
};
static const enum sonde_rate_kind kinds[_WORLDS] = {
	SONDE_RATE_EVENTS, SONDE_RATE_SHARE,  SONDE_RATE_SHARE,
	SONDE_RATE_AMOUNT, SONDE_RATE_EVENTS, SONDE_RATE_EVENTS,
};

/* @more: 0 = nothing is different. */
static void make_window(enum world world, struct sonde_slice *s, double more)
{
	double state = normal();

	for (size_t i = 0; i < SLICES; i++) {
		if (world == BURSTS)
			burst_slice(&s[i], 3 * (1 + more));
		else if (world == RTT_MEDIAN)
			rtt_slice(&s[i], &state, more, 0);
		else if (world == RTT_TAIL)
			rtt_slice(&s[i], &state, more, 2.326);
		else if (world == BYTES)
			bytes_slice(&s[i], 1 + more);
		else
			connect_slice(&s[i], (world == CONNECTS ? 5 : 0.1) * (1 + more));
	}
}

static unsigned found(enum world world, double more)
{
	struct sonde_slice a[SLICES], b[SLICES];
	struct sonde_rate_test t;
	unsigned n = 0;

	for (int i = 0; i < RUNS; i++) {
		make_window(world, a, 0);
		make_window(world, b, more);
		assert_ok(sonde_rate_test(a, SLICES, b, SLICES, kinds[world], &t));
		n += t.p < 0.05 ? 1 : 0;
	}
	return n;
}

/* The nominal share: 5 % at most. */
static void of_one_truth_few_runs_differ(void **state)
{
	seed = 0x9e3779b97f4a7c15ULL;
	for (enum world w = 0; w < _WORLDS; w++) {
		unsigned n = found(w, 0);

		print_message("world %d: %u of %d\n", (int)w, n, RUNS);
		assert_true(n <= RUNS / 20);
	}
}

/* The test can find: of a real difference nearly all runs, each of its own size. */
static void a_real_difference_is_found(void **state)
{
	static const double more[_WORLDS] = {2, 1, 1.5, 5, 0.4, 5};

	seed = 0x243f6a8885a308d3ULL;
	for (enum world w = 0; w < _WORLDS; w++) {
		unsigned n = found(w, more[w]);

		print_message("world %d: %u of %d\n", (int)w, n, RUNS);
		assert_true(n >= RUNS * 9 / 10);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(beta_and_student_are_those_of_scipy),
		cmocka_unit_test(exact_tests_are_those_of_scipy),
		cmocka_unit_test(holm_is_that_of_statsmodels),
		cmocka_unit_test(a_test_of_slices_is_what_its_words_say),
		cmocka_unit_test(waves_make_it_doubt_more),
		cmocka_unit_test(without_slices_there_is_no_verdict),
		cmocka_unit_test(of_one_truth_few_runs_differ),
		cmocka_unit_test(a_real_difference_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

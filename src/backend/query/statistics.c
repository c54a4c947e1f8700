/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/query/statistics.h"

#include <assert.h>
#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdbool.h>

#define FRACTION_TERMS_MAX 100000 /* grows with the root of a and b: enough for 1e9 */
#define TAIL_TERMS_MAX 1000000
#define CORRELATION_MAX 0.9

static double log_gamma(double x)
{
	int sign;

	return lgamma_r(x, &sign);
}

/* Lentz's method for the continued fraction of the incomplete beta function (DLMF 8.17.22). */
static double beta_fraction(double a, double b, double x)
{
	double c = 1, d = 1 - (a + b) * x / (a + 1), h;

	d = 1 / (fabs(d) < DBL_MIN ? DBL_MIN : d);
	h = d;
	for (int m = 1; m <= FRACTION_TERMS_MAX; m++) {
		double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
		double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
		double step;

		d = 1 + even * d;
		d = 1 / (fabs(d) < DBL_MIN ? DBL_MIN : d);
		c = 1 + even / c;
		c = fabs(c) < DBL_MIN ? DBL_MIN : c;
		h *= d * c;
		d = 1 + odd * d;
		d = 1 / (fabs(d) < DBL_MIN ? DBL_MIN : d);
		c = 1 + odd / c;
		c = fabs(c) < DBL_MIN ? DBL_MIN : c;
		step = d * c;
		h *= step;
		if (fabs(step - 1) < 1e-15)
			break;
	}
	return h;
}

double sonde_beta_regularised(double a, double b, double x)
{
	double front;

	assert(a > 0 && b > 0);
	if (x <= 0)
		return 0;
	if (x >= 1)
		return 1;
	front = exp(log_gamma(a + b) - log_gamma(a) - log_gamma(b) + a * log(x) + b * log1p(-x));
	if (x < (a + 1) / (a + b + 2)) /* where the fraction converges fast */
		return front * beta_fraction(a, b, x) / a;
	return 1 - front * beta_fraction(b, a, 1 - x) / b;
}

double sonde_student_p(double t, double df)
{
	return sonde_beta_regularised(df / 2, 0.5, df / (df + t * t));
}

double sonde_poisson_p(double xa, double ta, double xb, double tb)
{
	double n = xa + xb, share = ta / (ta + tb), low, high;

	if (n <= 0)
		return 1;
	high = xa <= 0 ? 1 : sonde_beta_regularised(xa, n - xa + 1, share);
	low = xb <= 0 ? 1 : sonde_beta_regularised(xb, xa + 1, 1 - share);
	return fmin(1, 2 * fmin(low, high));
}

/* Log of the ways to choose. */
static double log_choose(double n, double k)
{
	return log_gamma(n + 1) - log_gamma(k + 1) - log_gamma(n - k + 1);
}

double sonde_fisher_p(double xa, double na, double xb, double nb)
{
	double k = xa + xb, n = na + nb, x = xa, term, sum;
	bool up = xa * n >=
		  k * na; /* the tail that begins at xa and leads away from what is expected */

	term = exp(log_choose(na, xa) + log_choose(nb, xb) - log_choose(n, k));
	sum = term;
	for (int i = 0; i < TAIL_TERMS_MAX && term > sum * DBL_EPSILON; i++) {
		if (up)
			term *= (na - x) * (k - x) / ((x + 1) * (nb - k + x + 1));
		else
			term *= x * (nb - k + x) / ((na - x + 1) * (k - x + 1));
		x += up ? 1 : -1;
		sum += term;
	}
	return fmin(1, 2 * sum);
}

struct window {
	double events, exposure, rate;
	size_t n; /* slices with exposure */
};

static void sum_up(const struct sonde_slice *s, size_t n, struct window *ret)
{
	*ret = (struct window){0};
	for (size_t i = 0; i < n; i++) {
		if (s[i].exposure <= 0)
			continue;
		ret->events += s[i].events;
		ret->exposure += s[i].exposure;
		ret->n++;
	}
	ret->rate = ret->exposure > 0 ? ret->events / ret->exposure : 0;
}

/* Variance of one unit of exposure, by the model. */
static double unit_variance(enum sonde_rate_kind kind, double rate)
{
	return kind == SONDE_RATE_SHARE ? rate * fmax(0, 1 - rate) : rate;
}

/* What the slices say about how far their window's rate wanders. */
struct spread {
	double own;		  /* variance of the windows' rates */
	double pearson;		  /* chi square */
	double squares, products; /* of scaled residuals, and of each with the one before it */
};

static void add_spread(struct spread *sp, const struct sonde_slice *s, size_t n,
		       const struct window *w, enum sonde_rate_kind kind)
{
	double unit = unit_variance(kind, w->rate), sum = 0, before = 0;

	for (size_t i = 0; i < n; i++) {
		double e = s[i].events - s[i].exposure * w->rate, square;

		if (s[i].exposure <= 0)
			continue;
		square = e * e / s[i].exposure;
		sum += e * e;
		sp->squares += square;
		sp->products += before * e / sqrt(s[i].exposure);
		before = e / sqrt(s[i].exposure);
		if (unit > 0)
			sp->pearson += square / unit;
	}
	sp->own += sum * (double)w->n / (double)(w->n - 1) / (w->exposure * w->exposure);
}

/* Slices that follow each other in a wave are fewer than they seem: (1 + r) / (1 - r), and never less than 1. */
static double wave_factor(const struct spread *sp)
{
	double r = sp->squares > 0 ? sp->products / sp->squares : 0;

	r = fmin(fmax(r, 0), CORRELATION_MAX);
	return (1 + r) / (1 - r);
}

static double exact_p(const struct window *a, const struct window *b, enum sonde_rate_kind kind)
{
	switch (kind) {
	case SONDE_RATE_EVENTS:
		return sonde_poisson_p(a->events, a->exposure, b->events, b->exposure);
	case SONDE_RATE_SHARE:
		return sonde_fisher_p(a->events, a->exposure, b->events, b->exposure);
	case SONDE_RATE_AMOUNT:
		break;
	}
	return 0;
}

int sonde_rate_test(const struct sonde_slice *a, size_t n_a, const struct sonde_slice *b,
		    size_t n_b, enum sonde_rate_kind kind, struct sonde_rate_test *ret)
{
	double model, variance, df, dispersion, p;
	struct spread spread = {0};
	struct window wa, wb;

	sum_up(a, n_a, &wa);
	sum_up(b, n_b, &wb);
	if (wa.n < SONDE_SLICES_MIN || wb.n < SONDE_SLICES_MIN)
		return -ENODATA;
	df = (double)(wa.n + wb.n - 2);
	add_spread(&spread, a, n_a, &wa, kind);
	add_spread(&spread, b, n_b, &wb, kind);
	/* By what both have together: that is what "no difference" means. */
	model = unit_variance(kind, (wa.events + wb.events) / (wa.exposure + wb.exposure)) *
		(1 / wa.exposure + 1 / wb.exposure);
	dispersion = fmax(1, spread.pearson / df);
	variance = fmax(spread.own, model * dispersion) * wave_factor(&spread);
	if (!isfinite(variance))
		return -ERANGE;
	p = variance > 0 ? sonde_student_p((wa.rate - wb.rate) / sqrt(variance), df) : 1;
	p = fmax(p, exact_p(&wa, &wb, kind));
	if (!isfinite(p))
		return -ERANGE;
	*ret = (struct sonde_rate_test){
		.a = wa.rate, .b = wb.rate, .dispersion = dispersion, .p = p};
	return 0;
}

/* Ascending by @p. Insertion by halves of the gap: no allocation, no recursion. */
static void sort_by_p(const double *p, size_t *order, size_t n)
{
	for (size_t i = 0; i < n; i++)
		order[i] = i;
	for (size_t gap = n / 2; gap > 0; gap /= 2) {
		for (size_t i = gap; i < n; i++) {
			size_t moved = order[i], at = i;

			for (; at >= gap && p[order[at - gap]] > p[moved]; at -= gap)
				order[at] = order[at - gap];
			order[at] = moved;
		}
	}
}

void sonde_holm(double *p, size_t *order, size_t n)
{
	double least = 0;

	sort_by_p(p, order, n);
	for (size_t i = 0; i < n; i++) {
		least = fmax(least, fmin(1, p[order[i]] * (double)(n - i)));
		p[order[i]] = least;
	}
}

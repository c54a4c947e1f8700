/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Statistics: whether two windows differ beyond noise. Every question is brought into one form: events among an
 * exposure, slice of time by slice of time (retransmits among segments, connects among seconds, RTT samples above a
 * cut among all samples). Pure; no allocation.
 *
 * Samples of a network are no independent draws: RTTs follow each other, losses come in bursts, traffic comes in
 * waves. So the spread is not taken from the model alone. The slices of a window say how far its rate wanders by
 * itself, and the largest of three variances counts: that of the model (Poisson, or binomial for shares), the
 * model's times the slices' dispersion (Pearson's chi square by its degrees of freedom), and the slices' own
 * (residuals squared, which asks nothing of the model); where neighbouring slices resemble each other it is made larger
 * by (1 + r) / (1 - r) of their correlation. The difference of the rates by that is held against Student's t. Where events are few its normal approximation is not to be trusted, so the exact test (binomial
 * conditional on the sum, or Fisher's) is made too, and the larger p is the answer. All of it errs towards "noise".
 * What it cannot see: waves longer than the windows.
 */

#include <stddef.h>

#include "base/cleanup.h"

/* Slices with exposure that both windows must have together for a verdict, and each. */
#define SONDE_SLICES_MIN 2

struct sonde_slice {
	double events, exposure; /* neither is negative */
};

enum sonde_rate_kind {
	SONDE_RATE_EVENTS, /* counts of single events by an exposure: Poisson */
	SONDE_RATE_SHARE, /* part of a whole, never more than the exposure, which is a count: binomial */
	SONDE_RATE_AMOUNT, /* bytes: no unit is an event of its own, so only the slices speak */
};

struct sonde_rate_test {
	double a, b;	   /* events by exposure */
	double dispersion; /* of the slices by the model's; 1 at least */
	double p;	   /* two-sided */
};

/* Return: 0, -ENODATA (fewer than SONDE_SLICES_MIN slices with exposure in a window), -ERANGE (not finite). */
int sonde_rate_test(const struct sonde_slice *a, size_t n_a, const struct sonde_slice *b,
		    size_t n_b, enum sonde_rate_kind kind,
		    struct sonde_rate_test *ret) _must_check_;

/* Holm's step-down correction: @p becomes the adjusted ones, in their order. @order: room for @n. Any dependence. */
void sonde_holm(double *p, size_t *order, size_t n);

/* The parts, for tests. I_x(a, b), the regularised incomplete beta function; a, b > 0, 0 <= x <= 1. */
double sonde_beta_regularised(double a, double b, double x);
/* Two-sided p of Student's t. */
double sonde_student_p(double t, double df);
/* Twice the smaller tail of a binomial: events xa, xb by exposures ta, tb, given their sum. */
double sonde_poisson_p(double xa, double ta, double xb, double tb);
/* Twice the smaller tail of the hypergeometric distribution: xa of na against xb of nb. Whole numbers. */
double sonde_fisher_p(double xa, double na, double xb, double nb);
